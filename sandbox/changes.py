"""Waiting for a condition that any thread may bring about, on whatever loop one is."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Changes:
    """Whoever changes something says so; whoever waits then looks again."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[], object]] = set()

    def announce(self) -> None:
        """Let all waiting conditions be looked at again. From any thread."""
        for listener in tuple(self._listeners):
            listener()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at now and after each announcement."""
        changed = asyncio.Event()
        listener = partial(asyncio.get_running_loop().call_soon_threadsafe, changed.set)
        self._listeners.add(listener)
        try:
            while not condition():
                await changed.wait()
                changed.clear()
        finally:
            self._listeners.discard(listener)
