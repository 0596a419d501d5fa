"""Says how far the attempts are, while something pulls and something has changed.

No more often than the assignments allow. What an attempt has said before is not repeated, except
after ``repeat``: a leader that has just started knows nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from agent.bus import Publisher
from agent.ledger import Ledger
from common import subjects
from common.bus import NotConnected
from common.messages import AttemptProgress, Progress
from common.subjects import MAX_MESSAGE_BYTES, AgentAddress

ATTEMPTS_IN_ONE = 4
"""Attempts in one message; fewer where their names are long."""


class ProgressReporter:
    """One agent's progress reports; keep ``run`` running."""

    def __init__(self, *, publisher: Publisher, ledger: Ledger, address: AgentAddress) -> None:
        self._publisher = publisher
        self._ledger = ledger
        self._subject = subjects.progress(*address)
        self._reported: dict[tuple[str, int], AttemptProgress] = {}
        self._changed = asyncio.Event()

    def mark_changed(self) -> None:
        """Note that something may have changed since the last report."""
        self._changed.set()

    def repeat(self) -> None:
        """Say everything again at the next occasion."""
        self._reported.clear()
        self._changed.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._ledger.pulling:
                self._report()
                await asyncio.sleep(self._ledger.progress_seconds)

    def _report(self) -> None:
        now = {(report.task, report.attempt): report for report in self._ledger.progress()}
        changed = [report for key, report in now.items() if self._reported.get(key) != report]
        self._reported = now
        with suppress(NotConnected):
            for first in range(0, len(changed), ATTEMPTS_IN_ONE):
                for message in messages_of(changed[first : first + ATTEMPTS_IN_ONE]):
                    self._publisher.publish(self._subject, message)


def messages_of(reports: Sequence[AttemptProgress]) -> Iterator[bytes]:
    """The reports in as many messages as it takes for each to be one that the bus carries.

    One attempt may be in several: who reads them puts its images together again.
    """
    if not reports:
        return
    whole = msgspec.json.encode(Progress(attempts=list(reports)))
    if len(whole) <= MAX_MESSAGE_BYTES:
        yield whole
    elif len(reports) > 1:
        half = len(reports) // 2
        yield from messages_of(reports[:half])
        yield from messages_of(reports[half:])
    elif len(images := reports[0].images) > 1:
        half = len(images) // 2
        yield from messages_of([replace(reports[0], images=images[:half])])
        yield from messages_of([replace(reports[0], images=images[half:])])
