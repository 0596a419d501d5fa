"""What the core wants to look at again, and when: on the engine's clock, or on that of silence."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from common.subjects import AttemptKey
from coordinator.core.commands import StoreVerdict
from coordinator.core.fleet import SilenceClock


@dataclass(frozen=True, slots=True)
class LookAround:
    """Nothing in particular: a retry is due, or a refused start or finish is tried again."""

    task: str | None = None


@dataclass(frozen=True, slots=True)
class SendAgain:
    """An assignment was refused or not answered."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class DecideAgain:
    """A verdict was refused by the store."""

    verdict: StoreVerdict


@dataclass(frozen=True, slots=True)
class CheckSilence:
    """The agent of this attempt may have been silent for too long."""

    key: AttemptKey


Timer = LookAround | SendAgain | DecideAgain | CheckSilence


class Timers:
    """Two heaps, because the clock of silence stands still while the engine's goes on."""

    def __init__(self, clock: SilenceClock) -> None:
        self._clock = clock
        self._numbers = count()
        self._timed: list[tuple[float, int, Timer]] = []
        self._silent: list[tuple[float, int, Timer]] = []

    def at(self, when: float, timer: Timer) -> None:
        """Come back to this at a time of the engine's clock."""
        heapq.heappush(self._timed, (when, next(self._numbers), timer))

    def at_silence(self, when: float, timer: Timer) -> None:
        """Come back to this at a time of the clock of silence."""
        heapq.heappush(self._silent, (when, next(self._numbers), timer))

    def due(self, now: float) -> Iterator[Timer]:
        """Take out what is due; the heaps may grow meanwhile, so that is decided beforehand."""
        for heap, time in ((self._timed, now), (self._silent, self._clock.at(now))):
            ready = []
            while heap and heap[0][0] <= time:
                ready.append(heapq.heappop(heap)[2])
            yield from ready

    def next(self) -> float | None:
        """The engine's time at which something is due next."""
        times = [self._timed[0][0]] if self._timed else []
        if self._silent and not self._clock.stands:
            times.append(self._clock.when(self._silent[0][0]))
        return min(times, default=None)
