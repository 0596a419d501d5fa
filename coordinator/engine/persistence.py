"""Work that needs the store, done as often as it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from common.backoff import Backoff
from common.bus import BusError
from common.logs import Log

T = TypeVar("T")
log = Log(__name__)

LONGEST_PAUSE_SECONDS = 4.0


class Persistently:
    """``await persistently(work)``: try again, with growing pauses, while the store is away."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def all(self, work: Callable[[], AsyncIterator[T]]) -> list[T]:
        """Return all that ``work`` yields, tried as ``__call__`` does."""

        async def gathered() -> list[T]:
            return [each async for each in work()]

        return await self(gathered)

    async def __call__(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what ``work`` does, which is called anew after each BusError; others pass."""
        pause: Backoff | None = None
        while True:
            try:
                return await work()
            except BusError as why:
                log.debug("the store is waited for", why=str(why))
            pause = pause or Backoff(LONGEST_PAUSE_SECONDS, self._rng)
            await asyncio.sleep(pause.next())
