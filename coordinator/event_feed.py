"""Kept events for any number of readers: one reader of the store, fanned out, and replays.

A reader registers first and then reads from the store what was kept up to that moment; what comes
after it is in its queue by then. So nothing is missed and nothing is told twice. An event's
position is its sequence in the stream ``IPS_EVENTS``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from common import subjects, texts
from common.bus import BusError, Record, StoreUnavailable, StoreWentBack, StreamState
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from coordinator.core.task import PendingNotification, TaskHead
from coordinator.documents import FINAL_EVENT_TYPES
from coordinator.port import StoreAway

QUEUE_BYTES: Final = 4 * 1024 * 1024
"""What may wait for one slow reader; the payloads are shared between all of them."""
WAITING_BYTES: Final = 32 * 1024 * 1024
"""What may wait for all readers together, each payload counted once."""
TAKEN_BYTES: Final = 16 * 1024
"""What a reader takes out of its queue at a time; one event at least."""
REPLAY_BYTES: Final = 64 * 1024
"""What a reader that begins has in memory of the events kept before; one event at least."""
REPLAYS_AT_A_TIME: Final = 8
"""Readers for whom the store is read at once; none of them waits for its client meanwhile."""

log = Log(__name__)


class EventLog(Protocol):
    """What of ``common.bus.Bus`` is needed here; errors as there."""

    async def wait_connected(self) -> None:
        """Return as soon as there is a connection."""

    async def stream_state(self, stream: str) -> StreamState:
        """How full a stream is."""

    async def last(self, stream: str, subject: str) -> Record | None:
        """The newest record on a subject."""

    def replay(
        self, stream: str, subjects: str, *, start: int, upto: int
    ) -> AsyncGenerator[list[Record], None]:
        """Everything stored from ``start`` to ``upto``, in order."""

    def follow(
        self, stream: str, subjects: str, *, start: int
    ) -> AsyncGenerator[list[Record], None]:
        """Every record from ``start`` on, as it is stored, without end."""


@dataclass(slots=True, eq=False)
class KeptEvent:
    """One event as it is stored."""

    position: int
    type: str
    about: str
    """A task, or ``set/<name>``."""
    data: bytes
    """The CloudEvent, JSON without line breaks."""
    readers: int = 0
    """In how many queues it waits."""

    @property
    def is_of_set(self) -> bool:
        """Whether it is about a warm set."""
        return self.type.startswith("set.")

    @property
    def is_last(self) -> bool:
        """Whether nothing of its task follows."""
        return self.type in FINAL_EVENT_TYPES


class NothingLeft(Exception):  # noqa: N818 -- an answer, not an error
    """The position is at or past the task's last event, or what there was is no longer kept."""


class _Envelope(msgspec.Struct):
    specversion: str
    type: str


class FeedReading:
    """One reader's place. Read ``kept()`` to its end, then ``take()`` whenever woken."""

    def __init__(
        self, feed: EventFeed, task: str | None, wake: Callable[[], None], *, sets: bool = False
    ) -> None:
        """``sets``: events of sets too; whoever has not asked for them may not know them."""
        self._feed = feed
        self.task = task
        self._sets = sets
        self._wake = wake
        self._queue: deque[KeptEvent] = deque()
        self._waiting_bytes = 0
        self._start = 0
        self._upto = feed.position
        self.reset_to: int | None = None
        """Set where the wanted position cannot be resumed: where this reading begins instead."""
        self.ended = False
        """No more events will come; what waits can still be taken."""

    def begin(self, start: int | None, *, reset: bool) -> None:
        """Read from this position on; from now on where it is None."""
        self._start = self._upto + 1 if start is None else start
        if reset:
            self.reset_to = self.after

    @property
    def after(self) -> int:
        """The position after which this reading begins."""
        return self._start - 1

    @property
    def waiting(self) -> int:
        """Bytes that wait in this reader's queue."""
        return self._waiting_bytes

    def cut(self) -> None:
        """Let go of what waits: the reader is too slow, and comes back to resume."""
        self._forget_queue()
        self.end()

    def _forget_queue(self) -> None:
        for event in self._queue:
            self._feed.taken(event)
        self._queue.clear()
        self._waiting_bytes = 0

    def end(self) -> None:
        """Nothing comes any more: the term is over, the reader too slow, or the task done."""
        self.ended = True
        self._wake()

    def offer(self, event: KeptEvent) -> None:
        """Put an event into the queue; a reader that lets it grow too long is ended."""
        if self.ended or (event.is_of_set and not self._sets):
            return
        self._waiting_bytes += len(event.data)
        if self._waiting_bytes > QUEUE_BYTES:
            self.end()
            return
        self._queue.append(event)
        self._feed.queued(event)
        self._wake()

    async def kept(self) -> AsyncGenerator[list[KeptEvent], None]:
        """What the store had when this reading began."""
        if self._start <= self._upto:
            async with aclosing(self._feed.stored(self.task, self._start, self._upto)) as batches:
                async for events in batches:
                    yield [each for each in events if self._sets or not each.is_of_set]

    def take(self) -> list[KeptEvent]:
        """The first of what has come since, those before the wanted position left out.

        Empty where nothing waits. What stays in the queue is counted as waiting.
        """
        events, size = list[KeptEvent](), 0
        while self._queue and size < TAKEN_BYTES:
            event = self._queue.popleft()
            self._waiting_bytes -= len(event.data)
            self._feed.taken(event)
            if event.position >= self._start:
                events.append(event)
                size += len(event.data)
        return events

    def close(self) -> None:
        """Want no more."""
        self._forget_queue()
        self.ended = True
        self._feed.leave(self)


class EventFeed:
    """The one reader of ``IPS_EVENTS``; ``run`` it for as long as readings shall live."""

    def __init__(self, on_poison: Callable[[str], None]) -> None:
        """``on_poison`` is called with the kind, ``event``, of each new record that is no event."""
        self._events: EventLog | None = None
        self._on_poison = on_poison
        self._readings: defaultdict[str | None, list[FeedReading]] = defaultdict(list)
        self.running = asyncio.Event()
        """Set while events are being handed out."""
        self._sparing = RateLimitedLog(log)
        self._replays = asyncio.Semaphore(REPLAYS_AT_A_TIME)
        self._waiting = 0
        """Bytes of all events that wait for any reader."""
        self.position = 0
        """Everything up to here has been handed out."""

    async def run(self, events: EventLog) -> None:
        """Hand out events until cancelled; then, or when the store loses data, readings end."""
        self._events = events
        while True:
            try:
                await events.wait_connected()
                self.position = (await events.stream_state(subjects.EVENTS)).last_seq
                await self._hand_out(events)
            except (StoreUnavailable, StoreWentBack) as why:
                log.warning("the event stream is read anew", why=str(why))
            finally:
                self.running.clear()
                self.end_all()

    async def _hand_out(self, events: EventLog) -> None:
        self.running.set()
        follow = events.follow(subjects.EVENTS, subjects.ALL_EVENTS, start=self.position + 1)
        async with aclosing(follow) as batches:
            async for records in batches:
                for record in records:
                    self._tell(record)

    def _tell(self, record: Record) -> None:
        self.position = record.seq
        event = self._decode(record)
        if event is None:
            self._on_poison("event")
            return
        for key in (None, event.about):
            for reading in self._readings.get(key, ()):
                reading.offer(event)
        while self._waiting > WAITING_BYTES:
            slowest = max(self._all_readings(), key=lambda reading: reading.waiting)
            self._sparing.warning("slow", "a reader of events is too slow: it is cut off")
            slowest.cut()

    def _all_readings(self) -> Iterator[FeedReading]:
        return (reading for readings in self._readings.values() for reading in readings)

    def queued(self, event: KeptEvent) -> None:
        """One more reader has yet to take an event."""
        if event.readers == 0:
            self._waiting += len(event.data)
        event.readers += 1

    def taken(self, event: KeptEvent) -> None:
        """A reader has taken an event, or is cut off."""
        event.readers -= 1
        if event.readers == 0:
            self._waiting -= len(event.data)

    def end_all(self) -> None:
        """End every reading: the clients come back and resume, maybe elsewhere."""
        for readings in list(self._readings.values()):
            for reading in readings:
                reading.end()

    async def open(
        self,
        head: TaskHead | None,
        after: int | None,
        wake: Callable[[], None],
        *,
        sets: bool = False,
    ) -> FeedReading:
        """Begin to read one task's events, or (``head`` None) those of all, of ``sets`` too.

        ``after`` is the position after which to go on; None for a reader that begins: at the first
        kept event of the task, or now. Close it in the end. Raises NothingLeft, StoreAway.
        """
        if self._events is None or not self.running.is_set():
            raise StoreAway(texts.EVENTS_NOT_READ())
        reading = FeedReading(self, None if head is None else head.id, wake, sets=sets)
        self._readings[reading.task].append(reading)
        try:
            await self._find_start(self._events, reading, head, after)
        except BusError as why:
            reading.close()
            raise StoreAway(texts.EVENTS_UNREADABLE(why=why.cause)) from why
        except BaseException:
            reading.close()
            raise
        return reading

    async def _find_start(
        self, events: EventLog, reading: FeedReading, head: TaskHead | None, after: int | None
    ) -> None:
        state = await events.stream_state(subjects.EVENTS)
        if head is not None and head.status.is_final:
            last = await _last_event(events, head)
            if last is None and PendingNotification.EVENT not in head.notify:
                # It was kept once, so it lies before everything that is kept now.
                last = state.first_seq - 1
                reading.end()
            if last is not None and (reading.ended if after is None else after >= last):
                raise NothingLeft
        if after is not None and state.first_seq - 1 <= after <= state.last_seq:
            reading.begin(after + 1, reset=False)
        else:
            start = None if head is None else state.first_seq
            reading.begin(start, reset=after is not None)

    async def stored(
        self, task: str | None, start: int, upto: int
    ) -> AsyncGenerator[list[KeptEvent], None]:
        """Kept events (of one task) from one position to another, both included.

        The store is let go while a client takes them: what a slow one has in memory is one part.
        """
        while self._events is not None and start <= upto:
            async with self._replays:
                records = await self._part(self._events, task, start, upto)
            if not records:
                return
            start = records[-1].seq + 1
            decoded = map(self._decode, records)
            yield [event for event in decoded if event is not None]

    async def _part(
        self, events: EventLog, task: str | None, start: int, upto: int
    ) -> list[Record]:
        """The first records from a position on that take so many bytes; none where none is left."""
        subject = subjects.ALL_EVENTS if task is None else subjects.events_of(task)
        replay = events.replay(subjects.EVENTS, subject, start=start, upto=upto)
        part, size = list[Record](), 0
        async with aclosing(replay) as batches:
            async for records in batches:
                for record in records:
                    part.append(record)
                    size += len(record.data)
                    if size >= REPLAY_BYTES:
                        return part
        return part

    def leave(self, reading: FeedReading) -> None:
        """Forget a reading."""
        readings = self._readings.get(reading.task, [])
        if reading in readings:
            readings.remove(reading)
        if not readings:
            self._readings.pop(reading.task, None)

    def _decode(self, record: Record) -> KeptEvent | None:
        key = subjects.parse_event(record.subject)
        try:
            envelope = _decode_envelope(record.data)
        except NOT_DECODABLE:
            envelope = None
        if key is None or envelope is None or envelope.type != key.type:
            self._sparing.warning("event", "a record is no event", subject=record.subject)
            return None
        data = record.data.replace(b"\r", b" ").replace(b"\n", b" ")
        return KeptEvent(record.seq, key.type, key.about, data)


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


async def _last_event(events: EventLog, head: TaskHead) -> int | None:
    subject = subjects.event(f"task.{head.status}", head.id)
    record = await events.last(subjects.EVENTS, subject)
    return None if record is None else record.seq
