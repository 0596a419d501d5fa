"""An ordered reading of a stream, the server's side: it sends as much as it was granted."""

from __future__ import annotations

import contextvars
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Protocol

from common.bus.records import Record

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from sandbox.virtual.stream import Stream
    from sandbox.virtual.subject_tree import Filter


class Reader(Protocol):
    """Who the records go to."""

    def receive(self, records: Sequence[Record], *, exhausted: bool) -> None:
        """Take what comes next; ``exhausted``: nothing else is there at this moment."""

    def removed(self, why: str) -> None:
        """Learn that nothing more will come."""


class Client(Protocol):
    """The session that the reader is on."""

    loop: asyncio.AbstractEventLoop

    def deliver(self, receive: Callable[..., None], *args: object) -> None:
        """Have something received there, in order."""


class Consumer:
    """Reads from a sequence on; ``last_per_subject`` leaves out what is overwritten at its start.

    What was the newest at its start is sent unless it is removed before its turn; then all that
    was stored later.
    """

    def __init__(
        self,
        stream: Stream,
        client: Client,
        reader: Reader,
        wanted: Filter,
        start: int,
        *,
        last_per_subject: bool,
    ) -> None:
        self.client = client
        self._stream = stream
        self._reader = reader
        self._wanted = wanted
        self._next = start
        self._newest: list[int] = []
        if last_per_subject:
            found = stream.newest(wanted, start)
            self._newest = [r.seq for r in reversed(found) if r.seq <= stream.readable]
            self._next = stream.readable + 1
        self._granted = 0
        self._due: asyncio.Handle | None = None
        self._context = contextvars.Context()

    def grant(self, records: int) -> None:
        """Allow so many more to be sent, and send what is there, if only that nothing is."""
        self._granted += records
        self._send(even_nothing=True)

    def notice(self) -> None:
        """Look for records soon: several that are stored at once go together."""
        if self._granted and self._due is None:
            self._due = self.client.loop.call_soon(self._send, context=self._context)

    def end(self, why: str = "") -> None:
        """Send nothing more; the reader is told a reason, where there is one."""
        self._granted = 0
        if why:
            self.client.deliver(self._reader.removed, why)

    def _send(self, *, even_nothing: bool = False) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if not self._granted:
            return
        records = self._collect()
        self._granted -= len(records)
        if records or even_nothing:
            self.client.deliver(self._receive, records, self._granted > 0)

    def _receive(self, records: Sequence[Record], exhausted: bool) -> None:
        self._reader.receive(records, exhausted=exhausted)

    def _collect(self) -> list[Record]:
        records: list[Record] = []
        while self._newest and len(records) < self._granted:
            if (record := self._stream.at(self._newest.pop())) is not None:
                records.append(record)
        if len(records) < self._granted:
            left = self._granted - len(records)
            end = self._stream.readable
            there = takewhile(
                lambda record: record.seq <= end, self._stream.read(self._wanted, self._next)
            )
            later = list(islice(there, left))
            records += later
            self._next = later[-1].seq + 1 if len(later) == left else max(self._next, end + 1)
        return records
