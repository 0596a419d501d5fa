"""Pulls and removals of one name take turns: none begins while the other is at it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class ImageTurns:
    """Who pulls asks ``free`` first; who removes has looked that nobody pulls."""

    def __init__(self) -> None:
        self._removing: dict[str, asyncio.Event] = {}

    async def free(self, reference: str) -> None:
        """Wait until nobody removes the image of this name."""
        while (over := self._removing.get(reference)) is not None:
            await over.wait()

    @contextmanager
    def removing(self, names: Iterable[str]) -> Iterator[None]:
        """Keep pulls of these names waiting. One at a time."""
        over = asyncio.Event()
        mine = dict.fromkeys(names, over)
        self._removing.update(mine)
        try:
            yield
        finally:
            for name in mine:
                del self._removing[name]
            over.set()
