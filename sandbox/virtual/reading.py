"""Reading a stream in memory in order: what ``common.bus.reading`` is on a real server.

No heartbeats and no pulls without end: they would be most of what happens in a virtual day.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from common.backoff import Backoff
from common.bus.errors import NotConnected, StoreRefused, StoreUnavailable, StoreWentBack
from common.bus.reading import HEARTBEAT_SECONDS, PULL_RECORDS, REOPEN_CEILING
from common.logs import Log

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Callable, Sequence

    from common.bus.records import Record
    from sandbox.virtual.jetstream import JetStream
    from sandbox.virtual.session import VirtualSession

log = Log(__name__)

_Result = TypeVar("_Result")


class ReadingBus(Protocol):
    """What a reading needs of the bus."""

    random: random.Random

    @property
    def inbox(self) -> str:
        """The subject that is this program's own."""

    @property
    def session(self) -> VirtualSession:
        """The live session. Raises NotConnected."""

    @property
    def jetstream(self) -> JetStream:
        """The streams of the server."""

    def next_number(self) -> int:
        """Draw a number that is unique to the bus."""

    async def wait_connected(self) -> None:
        """Return as soon as there is a session."""

    async def operate(self, about: str, operation: Callable[[], _Result]) -> _Result:
        """Have the server's JetStream do something."""


class _Source:
    """One consumer on one session, read until something is amiss. What is sent waits here."""

    def __init__(self, bus: ReadingBus, stream: str) -> None:
        self.name = f"reading-{bus.next_number()}-{bus.inbox.rpartition('.')[2]}"
        self.exhausted = False
        """Whether nothing more was there when it was asked last."""
        self.amiss = ""
        self.session: VirtualSession = bus.session
        self._jetstream = bus.jetstream
        self._stream = stream
        self._records: list[Record] = []
        self._granted = 0
        self._wake = asyncio.Event()
        self.session.ended.add_done_callback(self._session_ended)

    async def take(self, *, to_the_end: bool) -> list[Record]:
        """Wait for records; at the end of what is there, if wanted, return with none.

        None either when something is amiss.
        """
        self._top_up()
        while not (self._records or self.amiss or (to_the_end and self.exhausted)):
            self._wake.clear()
            await self._wake.wait()
        records, self._records = self._records, []
        return records

    def _top_up(self) -> None:
        if self._granted <= PULL_RECORDS // 2 and not self.amiss:
            self._granted += PULL_RECORDS
            self.exhausted = False
            self.session.tell(partial(self._jetstream.grant, self._stream, self.name, PULL_RECORDS))

    def receive(self, records: Sequence[Record], *, exhausted: bool) -> None:
        """Take what comes next."""
        self._granted -= len(records)
        self._records += records
        self.exhausted = exhausted
        self._wake.set()

    def removed(self, why: str) -> None:
        """Learn that nothing more will come."""
        self.amiss = why
        self._wake.set()

    def stop(self) -> None:
        """Take nothing more, and remove the consumer without waiting for it."""
        self.session.ended.remove_done_callback(self._session_ended)
        self.session.tell(self._end)

    def _end(self) -> None:
        self._jetstream.end_reading(self._stream, self.name)

    def _session_ended(self, ended: asyncio.Future[str]) -> None:
        self.removed(ended.result())


class VirtualReading:
    """A place in a stream, and the consumer that reads on from there."""

    def __init__(
        self,
        bus: ReadingBus,
        stream: str,
        subjects: str | Sequence[str],
        start: int,
        *,
        last_per_subject: bool = False,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._subjects = [subjects] if isinstance(subjects, str) else list(subjects)
        self._next = max(start, 1)
        """The first sequence that is not handed out yet."""
        self._last_per_subject = last_per_subject
        self._source: _Source | None = None
        self._last_seq = -1
        """Where the stream ended when it was first asked; below 0: not yet."""
        self._backoff = Backoff(REOPEN_CEILING, bus.random)

    async def follow(self) -> AsyncGenerator[list[Record], None]:
        """Hand out records for ever."""
        try:
            while True:
                if records := await self._take(await self._opened(), to_the_end=False):
                    yield records
        finally:
            self._close()

    async def replay(self, upto: int | None) -> AsyncGenerator[list[Record], None]:
        """Hand out what is stored up to a sequence (None: up to where the stream ends now)."""
        try:
            while True:
                source = await self._opened()
                end = self._last_seq if upto is None else upto
                if self._next > end and not self._last_per_subject:
                    return
                records = await self._take(source, to_the_end=True)
                done = not source.amiss and source.exhausted
                if not self._last_per_subject:
                    records = [record for record in records if record.seq <= end]
                if records:
                    yield records
                if done and (self._next > end or await self._is_whole(end)):
                    return
                if done:
                    await asyncio.sleep(HEARTBEAT_SECONDS)  # its copy of the stream is behind
        finally:
            self._close()

    async def _is_whole(self, end: int) -> bool:
        """As ``common.bus.reading.Reading._is_whole``."""
        about = f"$JS.API.STREAM.MSG.GET.{self._stream}"
        jetstream, read = self._bus.jetstream, (self._stream, self._subjects, self._next)
        try:
            left = await self._bus.operate(about, partial(jetstream.next_seq, *read))
        except StoreUnavailable as error:
            log.info("its end is not known yet", stream=self._stream, why=str(error))
            return False
        return not left or (left > end and not self._last_per_subject)

    async def _take(self, source: _Source, *, to_the_end: bool) -> list[Record]:
        records = await source.take(to_the_end=to_the_end)
        if source.amiss and not records:
            log.info("reading anew", stream=self._stream, start=self._next, why=source.amiss)
            self._close()
        records = [record for record in records if record.seq >= self._next]
        if records:
            self._backoff.reset()
            self._next = records[-1].seq + 1
        return records

    async def _opened(self) -> _Source:
        while self._source is None:
            await self._bus.wait_connected()
            await asyncio.sleep(self._backoff.next())
            try:
                await self._open()
            except (NotConnected, StoreUnavailable) as error:
                self._close()
                log.info("cannot be read yet", stream=self._stream, why=str(error))
            except StoreRefused as error:
                self._close()
                if self._last_seq < 0:  # it never worked: no such stream
                    raise
                log.warning("cannot be read any more", stream=self._stream, why=str(error))
        return self._source

    async def _open(self) -> None:
        source = self._source = _Source(self._bus, self._stream)
        last_seq = await self._bus.operate(
            f"$JS.API.CONSUMER.CREATE.{self._stream}.{source.name}",
            partial(
                self._bus.jetstream.read,
                self._stream,
                source.name,
                source.session,
                source,
                self._subjects,
                self._next,
                last_per_subject=self._last_per_subject,
            ),
        )
        if last_seq < self._next - 1:
            raise StoreWentBack(
                f"{self._stream} ends at {last_seq}, but {self._next - 1} was read already"
            )
        if self._last_seq < 0:
            self._last_seq = last_seq

    def _close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.stop()
