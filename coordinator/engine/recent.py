"""What is costly to find out, and may be old: found out once for all who ask."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from math import inf
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps what was found out, of the ``most`` keys that were asked for last.

    For so many ``seconds`` on a ``clock``, or for ever.
    """

    def __init__(
        self,
        find_out: Callable[[K], Awaitable[V]],
        most: int,
        *,
        clock: Callable[[], float] = lambda: 0.0,
        seconds: float = inf,
    ) -> None:
        self._find_out = find_out
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._finding: WeakValueDictionary[K, asyncio.Lock] = WeakValueDictionary()

    def is_known(self, key: K) -> bool:
        """Whether ``get`` answers at once, or waits for what others have begun."""
        return key in self._finding or self._fresh(key) is not None

    def _fresh(self, key: K) -> tuple[float, V] | None:
        known = self._known.get(key)
        return known if known is not None and self._clock() < known[0] else None

    async def get(self, key: K) -> V:
        """What is so, or was so a moment ago. Raises what finding out raises."""
        async with self._finding.setdefault(key, asyncio.Lock()):
            fresh = self._fresh(key)
            if fresh is None:
                value = await self._find_out(key)
                fresh = self._clock() + self._seconds, value
                self._known[key] = fresh
            self._known.move_to_end(key)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
            return fresh[1]
