"""How often somebody may do something: a bucket for each that fills up steadily."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

MOST: Final = 10_000
"""Buckets that are kept; whoever was quiet for longest is forgotten first."""


class RateLimit:
    """So many times a minute, and as many at once."""

    def __init__(self, per_minute: int, clock: Callable[[], float], most: int = MOST) -> None:
        """``per_minute``: 0 is no limit. ``clock`` counts seconds and never jumps."""
        self._per_minute = per_minute
        self._clock = clock
        self._most = most
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        """What is left, and when that was so."""

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, who: Hashable) -> float:
        """Seconds until somebody may do it again; 0 where they may now."""
        if self._per_minute == 0:
            return 0.0
        left = self._left(who)
        return 0.0 if left >= 1 else (1 - left) * 60 / self._per_minute

    def take(self, who: Hashable) -> float:
        """Somebody does it; as ``wait``, and where that is not 0 it does not count."""
        wait = self.wait(who)
        if self._per_minute and not wait:
            left = self._left(who) - 1
            self._buckets[who] = left, self._clock()
            self._buckets.move_to_end(who)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        return wait

    def give_back(self, who: Hashable) -> None:
        """What somebody took last does not count after all."""
        if who in self._buckets:
            self._buckets[who] = self._left(who) + 1, self._clock()

    def _left(self, who: Hashable) -> float:
        left, then = self._buckets.get(who, (float(self._per_minute), 0.0))
        grown = left + (self._clock() - then) * self._per_minute / 60
        return min(grown, float(self._per_minute))
