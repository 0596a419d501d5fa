"""What this agent has accepted, and what is to be done about it: events in, instructions out.

No clock, no network, no disk and no log: the time comes with each event.

Of each task only the newest attempt counts: it is held until its outcome is stored, then
remembered for an hour, so that a command that is late or repeated has no effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from agent.attempt import Attempt
from agent.events import (
    BytesArrived,
    CommandReceived,
    DownloadBegan,
    Event,
    Forgotten,
    OutcomeFound,
    OutcomeSettled,
    PullEnded,
    ShutdownRequested,
    TimePassed,
)
from agent.instructions import (
    Announce,
    Deliver,
    Discard,
    Grant,
    Instruction,
    SendReply,
    WakeAt,
)
from agent.meter import Meter
from agent.pulls import Listener, Pulls, Wish
from common.messages import (
    MOST_HOLDS,
    Assign,
    AssignedImage,
    AttemptProgress,
    Cancel,
    Hold,
    ImageOutcome,
    Reply,
    Report,
)
from common.subjects import AttemptKey, is_task_id

REMEMBER_SECONDS = 3600.0
EPOCH_SECONDS = 600.0
"""After so long without a word of a leader its epoch no longer keeps others out: the one before it
has ended long ago, and it may never have been."""
REMEMBER_LIMIT = 10_000
"""Tasks that are remembered after they are decided or cancelled."""


@dataclass(frozen=True, slots=True)
class ClosedTask:
    """A task that nothing is held of any more.

    ``attempt``: the newest that is decided, None if the task is cancelled. ``until``: when it is
    forgotten.
    """

    attempt: int | None
    until: float


class Ledger:
    """What one agent instance holds and remembers; changed by ``handle`` alone."""

    def __init__(self, *, node: str, instance: str, parallel: int, stall_seconds: float) -> None:
        self._node = node
        self._instance = instance
        self._held: dict[str, Attempt] = {}
        self._closed: dict[str, ClosedTask] = {}
        self._epoch = 0
        self._epoch_until = -inf
        """As long as older epochs are refused."""
        self._stopping = False
        self._wakes_at = inf
        self._out: list[Instruction] = []
        self._pulls = Pulls(parallel=parallel, stall_seconds=stall_seconds, emit=self._out.append)

    # ── what is known ──

    @property
    def pulling(self) -> list[str]:
        """References that are being pulled now."""
        return self._pulls.running

    @property
    def progress_seconds(self) -> float:
        """Shortest time between two progress reports that every held assignment allows."""
        works = (held.work for held in self._held.values())
        return max((work.progress_seconds for work in works if work), default=1.0)

    def holds(self, now: float) -> list[Hold]:
        """Every attempt that was accepted and whose outcome is not stored yet."""
        return [attempt.hold(now) for attempt in self._held.values()]

    def progress(self) -> list[AttemptProgress]:
        """How far the attempts in work are: the images about which something is known."""
        reports = (attempt.progress(self._pulls.meter) for attempt in self._held.values())
        return [report for report in reports if report is not None]

    def is_pulled(self, reference: str) -> bool:
        """Whether an image is being pulled, or about to be."""
        return self._pulls.is_pulled(reference)

    def claims(self, reference: str) -> bool:
        """Whether what an interrupted pull of this image left is, or may be, needed."""
        return self._pulls.claims(reference)

    # ── events in, instructions out ──

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take in what has happened; return what is to be done, in this order.

        ``now``: seconds on a clock that never goes back.
        """
        self._apply(event, now)
        self._pulls.start_waiting(now)
        self._forget_old(now)
        self._schedule_wake_up()
        out = self._out.copy()
        self._out.clear()
        return out

    def _apply(self, event: Event, now: float) -> None:
        match event:
            case CommandReceived():
                self._command(event, now)
            case OutcomeFound(key):
                self._outcome_found(key, now)
            case OutcomeSettled(key):
                self._settled(key, now)
            case ShutdownRequested():
                self._stop()
            case _:
                self._apply_to_pulls(event, now)

    def _apply_to_pulls(
        self, event: DownloadBegan | BytesArrived | PullEnded | Forgotten | TimePassed, now: float
    ) -> None:
        match event:
            case DownloadBegan(reference, sees_bytes):
                if sees_bytes:
                    self._pulls.download_began(reference)
            case BytesArrived(reference, value):
                self._pulls.bytes_arrived(reference, value, now)
            case PullEnded(outcome):
                self._pull_ended(outcome, now)
            case Forgotten(reference):
                self._pulls.forgotten(reference)
            case TimePassed():
                self._time_passed(now)

    # ── commands ──

    def _command(self, event: CommandReceived, now: float) -> None:
        refusal = self._execute(event.command, now)
        if event.command.epoch >= self._epoch or now >= self._epoch_until:
            self._epoch, self._epoch_until = event.command.epoch, now + EPOCH_SECONDS
        if event.reply:
            reply = Reply(accepted=not refusal, refusal=refusal, epoch=self._epoch)
            self._out.append(SendReply(event.reply, reply))

    def _execute(self, command: Assign | Cancel | Report, now: float) -> str:
        """Carry out a command; why not, if it is refused, else empty."""
        if command.epoch < self._epoch and now < self._epoch_until:
            return f"epoch {command.epoch} is over, a leader of epoch {self._epoch} has spoken"
        match command:
            case Assign():
                return self._assign(command, now)
            case Cancel():
                self._cancel(command, now)
            case Report():
                self._out.append(Announce())
        return ""

    def _assign(self, work: Assign, now: float) -> str:
        known = self._newest(work.task)
        if refusal := self._refusal_of(work, known):
            return refusal
        if known != work.attempt:
            former = self._held.get(work.task)
            self._held[work.task] = Attempt(work.task, work.attempt, now, work)
            for place, image in enumerate(work.images):
                listener = Listener(work.task, work.attempt, place)
                grant = _grant(work, image)
                wish = Wish(work.always_pull, work.pull_timeout_seconds, grant=grant)
                self._pulls.want(listener, image.reference, wish, now)
            # Only now, so that a pull that goes on for the new attempt is not interrupted.
            self._drop(former)
        return ""

    def _refusal_of(self, work: Assign, known: int) -> str:
        closed = self._closed.get(work.task)
        if self._stopping:
            return "the agent is stopping"
        if closed is not None and closed.attempt is None:
            return "the task is cancelled"
        if work.attempt < known:
            return f"attempt {known} is known here"
        if work.task not in self._held and len(self._held) >= MOST_HOLDS:
            return f"{MOST_HOLDS} attempts are held here"
        if not is_task_id(work.task) or work.attempt < 1 or not work.images:
            return "not an assignment: it names no task, attempt or image"
        return ""

    def _newest(self, task: str) -> int:
        """The newest attempt of a task that is known here, 0 if none."""
        if held := self._held.get(task):
            return held.number
        closed = self._closed.get(task)
        return 0 if closed is None or closed.attempt is None else closed.attempt

    def _cancel(self, command: Cancel, now: float) -> None:
        held = self._held.get(command.task)
        if command.attempt is None:
            self._drop(self._held.pop(command.task, None))
            self._pulls.release(command.task)
            self._remember(command.task, None, now)
        elif held is not None and held.number == command.attempt:
            # The task lives on: what is half pulled is worth keeping for its next assignment.
            self._drop(self._held.pop(command.task))

    def _drop(self, attempt: Attempt | None) -> None:
        """End an attempt without an outcome."""
        if attempt is None:
            return
        if attempt.work is None:
            self._out.append(Discard(AttemptKey(attempt.task, self._node, attempt.number)))
        self._pulls.withdraw(attempt.task, attempt.number)

    # ── pulls and outcomes ──

    def _pull_ended(self, outcome: ImageOutcome, now: float) -> None:
        meter = self._pulls.meter(outcome.image)
        for listener in self._pulls.ended(outcome):
            self._conclude(listener, outcome, meter, now)

    def _time_passed(self, now: float) -> None:
        self._wakes_at = inf
        meters = {reference: self._pulls.meter(reference) for reference in self._pulls.running}
        for listener, outcome in self._pulls.overdue(now):
            self._conclude(listener, outcome, meters[outcome.image], now)

    def _conclude(
        self, listener: Listener, outcome: ImageOutcome, meter: Meter | None, now: float
    ) -> None:
        """One image of an attempt is over, and with the last one the attempt."""
        attempt = self._held[listener.task]
        attempt.conclude(listener.place, outcome, meter)
        if report := attempt.finish(self._instance, now):
            key = AttemptKey(attempt.task, self._node, attempt.number)
            self._out.append(Deliver(key, report))

    def _outcome_found(self, key: AttemptKey, now: float) -> None:
        if key.attempt > self._newest(key.task):
            self._drop(self._held.get(key.task))
            self._held[key.task] = Attempt(key.task, key.attempt, now)
        else:
            self._out.append(Discard(key))

    def _settled(self, key: AttemptKey, now: float) -> None:
        held = self._held.get(key.task)
        if held is not None and held.number == key.attempt:
            del self._held[key.task]
            self._remember(key.task, key.attempt, now)

    def _stop(self) -> None:
        """Hand back what runs; outcomes that are not stored yet are still held."""
        self._stopping = True
        self._pulls.withdraw_all()
        self._held = {task: held for task, held in self._held.items() if held.work is None}

    # ── closed tasks, and time ──

    def _remember(self, task: str, attempt: int | None, now: float) -> None:
        self._closed.pop(task, None)
        self._closed[task] = ClosedTask(attempt, now + REMEMBER_SECONDS)

    def _forget_old(self, now: float) -> None:
        while self._closed:
            oldest = next(iter(self._closed))
            if self._closed[oldest].until > now and len(self._closed) <= REMEMBER_LIMIT:
                return
            del self._closed[oldest]

    def _schedule_wake_up(self) -> None:
        """Ask to be woken for the next deadline; an alarm that comes too early does no harm."""
        deadline = self._pulls.next_deadline()
        if deadline < self._wakes_at:
            self._wakes_at = deadline
            self._out.append(WakeAt(deadline))


def _grant(work: Assign, image: AssignedImage) -> Grant | None:
    """What an image's registry is to be shown, of what came with the work."""
    if not image.credentials:
        return None
    references = tuple(each.reference for each in work.images)
    return Grant(image.credentials, work.sealed, work.task, work.attempt, references)
