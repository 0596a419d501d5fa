"""Tasks or sets of which something has changed, for whoever waits for the first of them."""

from __future__ import annotations

import asyncio


class ChangedNames:
    """Names without an order, each once, until they are taken."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._is_any = asyncio.Event()

    def add(self, name: str) -> None:
        """Something of it has changed."""
        self._names.add(name)
        self._is_any.set()

    def discard(self, name: str) -> None:
        """It is of no interest any more."""
        self._names.discard(name)

    async def wait(self) -> None:
        """Return once there may be some."""
        await self._is_any.wait()

    def take(self) -> set[str]:
        """All of them; they count as told."""
        self._is_any.clear()
        names, self._names = self._names, set()
        return names
