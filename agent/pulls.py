"""Which images are wanted by whom, which are being pulled, and which wait for a place.

One image is one pull, whoever wants it: it runs as long as anybody does. What an interrupted pull
can be resumed from belongs to the image too, and stays while a retry may come for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from agent.instructions import Forget, Instruction, StartPull, StopPull
from agent.meter import Meter
from agent.runtime.protocol import Bytes
from common.messages import ImageOutcome, ImageState
from common.reasons import Reason

RESUMABLE_LIMIT = 1000
"""Interrupted pulls that are remembered. The runtime drops older ones by itself in time."""


class Listener(NamedTuple):
    """Who waits for a pull: the image at one place of an attempt's assignment."""

    task: str
    attempt: int
    place: int


@dataclass(slots=True)
class Wish:
    """What a listener asks of the pull. ``timeout`` counts from when the pull begins."""

    always: bool
    timeout: float
    deadline: float = inf


@dataclass(slots=True)
class Pull:
    """One image that somebody wants."""

    reference: str
    wishes: dict[Listener, Wish] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)
    began: float = 0.0

    def begin(self, now: float) -> StartPull:
        """Take a place."""
        self.began = now
        for wish in self.wishes.values():
            wish.deadline = now + wish.timeout
        always = any(wish.always for wish in self.wishes.values())
        keep = max(wish.timeout for wish in self.wishes.values())
        return StartPull(self.reference, always, keep)

    def failure(self, reason: Reason, limit: float, now: float) -> ImageOutcome:
        """The agent's own verdict on a pull that has gone on too long. ``limit`` in seconds."""
        text = "No byte has come for" if reason is Reason.STALLED else "Not done after"
        text += f" {limit:g} s."
        if self.meter.done is not None:
            text += f" {self.meter.done} of {self.meter.total or 'unknown'} bytes are here."
        return ImageOutcome(
            image=self.reference,
            state=ImageState.FAILED,
            seconds=round(now - self.began, 3),
            reason=reason,
            message=text,
        )


class Pulls:
    """The pulls of one agent: at most ``parallel`` at once, first come, first served."""

    def __init__(
        self, *, parallel: int, stall_seconds: float, emit: Callable[[Instruction], None]
    ) -> None:
        self._parallel = parallel
        self._stall_seconds = stall_seconds
        self._emit = emit
        self._waiting: dict[str, Pull] = {}
        self._running: dict[str, Pull] = {}
        # Stopped and not yet over, with whether to forget them then; they keep their place.
        self._stopping: dict[str, bool] = {}
        self._forgetting: set[str] = set()
        self._resumable: dict[str, set[str]] = {}

    # ── what is known ──

    @property
    def running(self) -> list[str]:
        """References that are being pulled for somebody."""
        return list(self._running)

    def meter(self, reference: str) -> Meter | None:
        """How far a running pull is; None where it does not run."""
        pull = self._running.get(reference)
        return None if pull is None else pull.meter

    def is_pulled(self, reference: str) -> bool:
        """Whether a pull runs, has yet to end, or waits for its place."""
        return any(reference in place for place in (self._waiting, self._running, self._stopping))

    def claims(self, reference: str) -> bool:
        """Whether what an interrupted pull of this image left is, or may be, needed."""
        places = (self._waiting, self._running, self._stopping, self._resumable)
        return any(reference in place for place in places)

    def next_deadline(self) -> float:
        """When ``overdue`` has to be asked next; infinity where nothing has a limit."""
        return min(
            (limit for pull in self._running.values() for limit in self._limits(pull)), default=inf
        )

    def _limits(self, pull: Pull) -> Iterator[float]:
        yield from (wish.deadline for wish in pull.wishes.values())
        if pull.meter.still_since is not None:
            yield pull.meter.still_since + self._stall_seconds

    # ── who wants what ──

    def want(self, listener: Listener, reference: str, wish: Wish, now: float) -> None:
        """Have one listener wait for an image."""
        pull = self._running.get(reference)
        if pull is not None:
            wish.deadline = now + wish.timeout
        else:
            pull = self._waiting.setdefault(reference, Pull(reference))
        pull.wishes[listener] = wish

    def withdraw(self, task: str, attempt: int) -> None:
        """The attempt's listeners go away, and what nobody else wants is stopped.

        What is half pulled is kept until ``release``.
        """
        for pull in [*self._waiting.values(), *self._running.values()]:
            leaving = [who for who in pull.wishes if who[:2] == (task, attempt)]
            for listener in leaving:
                del pull.wishes[listener]
            if leaving and not pull.wishes:
                self._abandon(pull.reference, {task})

    def withdraw_all(self) -> None:
        """Stop everything; what is half pulled stays for whoever comes next."""
        self._waiting.clear()
        for pull in list(self._running.values()):
            self._abandon(pull.reference, {listener.task for listener in pull.wishes})

    def _abandon(self, reference: str, tasks: set[str], reason: Reason = Reason.CANCELLED) -> None:
        self._waiting.pop(reference, None)
        if self._running.pop(reference, None) is not None:
            self._stopping[reference] = False
            self._emit(StopPull(reference, reason))
            self._keep(reference, tasks)

    # ── what can be resumed ──

    def _keep(self, reference: str, tasks: set[str]) -> None:
        self._resumable.setdefault(reference, set()).update(tasks)
        if len(self._resumable) > RESUMABLE_LIMIT:
            del self._resumable[next(iter(self._resumable))]

    def release(self, task: str) -> None:
        """The task does not come back for what it left half pulled."""
        for reference, tasks in list(self._resumable.items()):
            tasks.discard(task)
            if not tasks:
                del self._resumable[reference]
                self._forget(reference)

    def _forget(self, reference: str) -> None:
        """Drop what is resumable, unless a pull of the image has use for it."""
        self._resumable.pop(reference, None)
        if reference in self._stopping:
            self._stopping[reference] = True
        elif reference not in self._running and reference not in self._waiting:
            self._forgetting.add(reference)
            self._emit(Forget(reference))

    def forgotten(self, reference: str) -> None:
        """It is gone, and a new pull of the image may begin."""
        self._forgetting.discard(reference)

    # ── how the pulls go ──

    def start_waiting(self, now: float) -> None:
        """Fill the free places in the order in which the images were asked for."""
        for reference, pull in list(self._waiting.items()):
            if len(self._running) + len(self._stopping) >= self._parallel:
                return
            if reference not in self._stopping and reference not in self._forgetting:
                self._running[reference] = self._waiting.pop(reference)
                self._emit(pull.begin(now))

    def download_began(self, reference: str) -> None:
        """The runtime is asked for it, and will say how far it is."""
        if pull := self._running.get(reference):
            pull.meter.start()

    def bytes_arrived(self, reference: str, value: Bytes, now: float) -> None:
        """The runtime says how far it is."""
        if pull := self._running.get(reference):
            pull.meter.read(value, now)

    def ended(self, outcome: ImageOutcome) -> list[Listener]:
        """Close a pull; whom its outcome concerns."""
        reference = outcome.image
        pull = self._running.pop(reference, None)
        forget = self._stopping.pop(reference, False)
        listeners = [] if pull is None else self._satisfied(pull, outcome)
        if outcome.state is ImageState.PULLED:
            # The runtime itself keeps nothing of a pull that has succeeded.
            self._resumable.pop(reference, None)
        elif forget or self._is_of_no_more_use(outcome):
            self._forget(reference)
        elif outcome.reason is not None and listeners:
            self._keep(reference, {listener.task for listener in listeners})
        return listeners

    def _is_of_no_more_use(self, outcome: ImageOutcome) -> bool:
        """Whether nobody will resume what is half pulled: all is here, or never will be."""
        if outcome.reason is not None:
            return not outcome.reason.retry_makes_sense
        return outcome.state is ImageState.PRESENT and outcome.image in self._resumable

    def _satisfied(self, pull: Pull, outcome: ImageOutcome) -> list[Listener]:
        """All listeners, save those who want the registry asked when it was not."""
        unasked = {
            listener: wish
            for listener, wish in pull.wishes.items()
            if wish.always and outcome.state is ImageState.PRESENT
        }
        if unasked:
            again = Pull(pull.reference, unasked)
            self._waiting = {pull.reference: again, **self._waiting}
        return [listener for listener in pull.wishes if listener not in unasked]

    def overdue(self, now: float) -> list[tuple[Listener, ImageOutcome]]:
        """End what takes too long; whom that concerns."""
        verdicts: list[tuple[Listener, ImageOutcome]] = []
        for pull in list(self._running.values()):
            reason = Reason.STALLED if self._stalled(pull, now) else Reason.TIMEOUT
            late = {
                who: wish
                for who, wish in pull.wishes.items()
                if reason is Reason.STALLED or wish.deadline <= now
            }
            for listener, wish in late.items():
                del pull.wishes[listener]
                limit = self._stall_seconds if reason is Reason.STALLED else wish.timeout
                verdicts.append((listener, pull.failure(reason, limit, now)))
            if not pull.wishes:
                self._abandon(pull.reference, {who.task for who in late}, reason)
        return verdicts

    def _stalled(self, pull: Pull, now: float) -> bool:
        still = pull.meter.still_since
        return still is not None and still + self._stall_seconds <= now
