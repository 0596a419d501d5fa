"""The stream of events without a server: what ``event_feed.EventLog`` promises, over a list."""

# ruff: noqa: D102 -- EventLog says what each method is

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncGenerator

import msgspec

from common import subjects
from common.bus import Record, StoreUnavailable, StreamState


class FakeEventLog:
    """Sequences count from 1; ``forget`` drops the oldest, as a full stream does."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.last_seq = 0
        self.fault: Exception | None = None
        self._more = asyncio.Condition()

    async def publish(self, event_type: str, task: str, data: bytes | None = None) -> int:
        """Store an event; its position."""
        self.last_seq += 1
        if data is None:
            data = event(event_type, self.last_seq)
        subject = subjects.event(event_type, task)
        self.records.append(Record(subject=subject, data=data, seq=self.last_seq, time=0.0))
        async with self._more:
            self._more.notify_all()
        return self.last_seq

    def forget(self, upto: int) -> None:
        """Discard everything up to a position."""
        self.records = [record for record in self.records if record.seq > upto]

    async def break_off(self, fault: Exception) -> None:
        """Whoever follows gets this."""
        self.fault = fault
        async with self._more:
            self._more.notify_all()

    async def wait_connected(self) -> None:
        await asyncio.sleep(0)

    async def stream_state(self, _stream: str) -> StreamState:
        await asyncio.sleep(0)
        first = self.records[0].seq if self.records else self.last_seq + 1
        return StreamState(first, self.last_seq, len(self.records), 0)

    async def last(self, _stream: str, subject: str) -> Record | None:
        await asyncio.sleep(0)
        found = [record for record in self.records if record.subject == subject]
        return found[-1] if found else None

    async def replay(
        self, _stream: str, subjects: str, *, start: int, upto: int
    ) -> AsyncGenerator[list[Record], None]:
        for record in list(self.records):
            if start <= record.seq <= upto and _matches(subjects, record.subject):
                await asyncio.sleep(0)
                yield [record]

    async def follow(
        self, _stream: str, subjects: str, *, start: int
    ) -> AsyncGenerator[list[Record], None]:
        while True:
            new = [r for r in self.records if r.seq >= start and _matches(subjects, r.subject)]
            start = self.last_seq + 1
            if new:
                yield new
                continue
            async with self._more:
                if self.fault is None and self.last_seq < start:
                    await self._more.wait()
            if self.fault is not None:
                fault, self.fault = self.fault, None
                raise fault


def event(event_type: str, number: int) -> bytes:
    """A CloudEvent with a number in it."""
    return msgspec.json.encode(
        {"specversion": "1.0", "type": event_type, "id": str(number), "data": {}}
    )


def away() -> StoreUnavailable:
    """What the bus raises when nobody answers."""
    return StoreUnavailable("no leader")


def _matches(pattern: str, subject: str) -> bool:
    return fnmatch.fnmatchcase(subject, pattern.replace(">", "*"))


def unexpected(kind: str) -> None:
    """Fail: what is sent here is understood."""
    raise AssertionError(kind)
