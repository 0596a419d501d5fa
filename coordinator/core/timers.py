"""What the core wants to look at again, and when: on the engine's clock, or on that of silence."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from common.subjects import AttemptKey
from coordinator.core.fleet import SilenceClock


@dataclass(frozen=True, slots=True)
class Reconsider:
    """Nothing in particular: a retry is due, the first look ends, an end is to be stored again."""


@dataclass(frozen=True, slots=True)
class StartAgain:
    """The store refused the start of this task."""

    task: str


@dataclass(frozen=True, slots=True)
class SendAgain:
    """An assignment was refused or not answered."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class SilenceCheck:
    """The agent of this attempt may have been silent for too long."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class DecideAgain:
    """The store refused a verdict on this attempt."""

    key: AttemptKey


Timer = Reconsider | StartAgain | SendAgain | SilenceCheck | DecideAgain


class Timers:
    """Two heaps, because the clock of silence stands still while the engine's goes on."""

    def __init__(self, clock: SilenceClock) -> None:
        self._clock = clock
        self._numbers = count()
        self._timed: list[tuple[float, int, Timer]] = []
        self._silent: list[tuple[float, int, Timer]] = []
        self.changed = False
        """Whether ``next`` may answer otherwise than it did."""

    def at(self, when: float, timer: Timer) -> None:
        """Come back to this at a time of the engine's clock."""
        heapq.heappush(self._timed, (when, next(self._numbers), timer))
        self.changed = True

    def at_silence(self, when: float, timer: Timer) -> None:
        """Come back to this at a time of the clock of silence."""
        heapq.heappush(self._silent, (when, next(self._numbers), timer))
        self.changed = True

    def due(self, now: float) -> Iterator[Timer]:
        """Take out what is due; what is added meanwhile waits for the next time."""
        ready, self.changed = [], True
        while self._timed and self._timed[0][0] <= now:
            ready.append(heapq.heappop(self._timed)[2])
        while self._silent and self._clock.has_reached(self._silent[0][0], now):
            ready.append(heapq.heappop(self._silent)[2])
        return iter(ready)

    def next(self) -> float | None:
        """The engine's time at which something is due next."""
        self.changed = False
        timed = self._timed[0][0] if self._timed else None
        if not self._silent or self._clock.stands:
            return timed
        silent = self._silent[0][0] + self._clock.lost
        return silent if timed is None else min(timed, silent)
