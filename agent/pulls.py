"""Which images are wanted by whom, which are being pulled, and which wait for a place.

One image is one pull, whoever wants it by the same credentials or by none: it runs as long as
anybody does. Who brings others waits until it is over. What an interrupted pull can be resumed from
belongs to the image too, and stays while a retry may come for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from agent.instructions import Forget, Grant, Instruction, StartPull, StopPull
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
    grant: Grant | None = None


@dataclass(slots=True)
class Pull:
    """One image that somebody wants."""

    reference: str
    key: str = ""
    """Of the credentials that all who want it share; empty for none."""
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
        grant = next(iter(self.wishes.values())).grant  # all have the same credentials
        return StartPull(self.reference, always, keep, grant)

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
        self._waiting: dict[tuple[str, str], Pull] = {}
        """By reference and key."""
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
        is_begun = reference in self._running or reference in self._stopping
        return is_begun or self._is_awaited(reference)

    def claims(self, reference: str) -> bool:
        """Whether what an interrupted pull of this image left is, or may be, needed."""
        places = (self._running, self._stopping, self._resumable)
        return any(reference in place for place in places) or self._is_awaited(reference)

    def _is_awaited(self, reference: str) -> bool:
        return any(reference == awaited for awaited, _ in self._waiting)

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
        pull, key = self._running.get(reference), wish.grant.key if wish.grant else ""
        if pull is not None and pull.key == key:
            wish.deadline = now + wish.timeout
        else:
            pull = self._waiting.setdefault((reference, key), Pull(reference, key))
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
                self._abandon(pull, {task})

    def withdraw_all(self) -> None:
        """Stop everything; what is half pulled stays for whoever comes next."""
        self._waiting.clear()
        for pull in list(self._running.values()):
            self._abandon(pull, {listener.task for listener in pull.wishes})

    def _abandon(self, pull: Pull, tasks: set[str], reason: Reason = Reason.CANCELLED) -> None:
        reference = pull.reference
        if self._waiting.get((reference, pull.key)) is pull:
            del self._waiting[reference, pull.key]
        elif self._running.get(reference) is pull:
            del self._running[reference]
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
        elif reference not in self._running and not self._is_awaited(reference):
            self._forgetting.add(reference)
            self._emit(Forget(reference))

    def forgotten(self, reference: str) -> None:
        """It is gone, and a new pull of the image may begin."""
        self._forgetting.discard(reference)

    # ── how the pulls go ──

    def start_waiting(self, now: float) -> None:
        """Fill the free places in the order in which the images were asked for."""
        for place, pull in list(self._waiting.items()):
            if len(self._running) + len(self._stopping) >= self._parallel:
                return
            reference = pull.reference
            busy = (self._running, self._stopping, self._forgetting)
            if not any(reference in each for each in busy):
                self._running[reference] = self._waiting.pop(place)
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
            again, place = Pull(pull.reference, pull.key, unasked), (pull.reference, pull.key)
            self._waiting = {place: again, **self._waiting}
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
                self._abandon(pull, {who.task for who in late}, reason)
        return verdicts

    def _stalled(self, pull: Pull, now: float) -> bool:
        still = pull.meter.still_since
        return still is not None and still + self._stall_seconds <= now
