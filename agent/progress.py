"""Says how far the attempts are, while something pulls and something has changed.

No more often than the assignments allow. What an attempt has said before is not repeated, except
after ``repeat``: a leader that has just started knows nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec

from agent.heartbeat import Speaker
from agent.ledger import Ledger
from common import subjects
from common.bus import NotConnected
from common.messages import AttemptProgress, Progress
from common.subjects import AgentAddress

ATTEMPTS_IN_ONE = 4
"""Attempts of 50 images each, of the longest names, that stay well below the limit of a message."""


class Reporter:
    """One agent's progress reports; keep ``run`` running."""

    def __init__(self, *, speaker: Speaker, ledger: Ledger, address: AgentAddress) -> None:
        self._speaker = speaker
        self._ledger = ledger
        self._subject = subjects.progress(*address)
        self._said: dict[tuple[str, int], AttemptProgress] = {}
        self._news = asyncio.Event()

    def notice(self) -> None:
        """Something may have changed."""
        self._news.set()

    def repeat(self) -> None:
        """Say everything again at the next occasion."""
        self._said.clear()
        self._news.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._ledger.pulling:
                self._report()
                await asyncio.sleep(self._ledger.progress_seconds)

    def _report(self) -> None:
        now = {(report.task, report.attempt): report for report in self._ledger.progress()}
        news = [report for key, report in now.items() if self._said.get(key) != report]
        self._said = now
        with suppress(NotConnected):
            for first in range(0, len(news), ATTEMPTS_IN_ONE):
                part = Progress(attempts=news[first : first + ATTEMPTS_IN_ONE])
                self._speaker.publish(self._subject, msgspec.json.encode(part))
