"""How far a replica has read the stored outcomes, and who waits for it to have read further."""

from __future__ import annotations

import asyncio
from collections import Counter


class OutcomesSeen:
    """The outcomes that have been taken in."""

    def __init__(self) -> None:
        self.upto = 0
        """The store's sequence up to which all have been."""
        self._earlier: Counter[str] = Counter()
        """Tasks of which those from before their start was known here are being read."""
        self._waiting: list[asyncio.Future[None]] = []

    def see(self, seq: int) -> None:
        """Everything up to here has been taken in, or is no outcome."""
        self.upto = max(self.upto, seq)
        self._wake()

    def expect_earlier(self, task: str) -> None:
        """What is stored of a task from before its start was known is about to be read."""
        self._earlier[task] += 1

    def earlier_seen(self, task: str) -> None:
        """It has been taken in, or never will be."""
        self._earlier[task] -= 1
        self._earlier += Counter()  # only those that are not 0 are kept
        self._wake()

    async def wait(self, task: str, upto: int) -> None:
        """Wait until all outcomes of a task up to a sequence have been taken in."""
        while self.upto < upto or task in self._earlier:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def _wake(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                if not each.done():
                    each.set_result(None)
