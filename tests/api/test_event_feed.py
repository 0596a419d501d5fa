from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

import pytest

from common import subjects
from common.bus import Bus, StoreWentBack
from coordinator import event_feed
from coordinator.core.task import PendingNotification, TaskHead, TaskSpec, TaskStatus
from coordinator.event_feed import EventFeed, FeedReading, KeptEvent, NothingLeft
from coordinator.port import StoreAway
from tests.api.fake_event_log import FakeEventLog, away, event, unexpected
from tests.fixtures.patience import PATIENCE

A = "task-20260116-151234-0000000a"
B = "task-20260116-151234-0000000b"
WEB = "set/web"


class Log:
    """One of both logs, as tests use it."""

    def __init__(
        self,
        log: FakeEventLog | Bus,
        publish: Callable[[str, str, bytes], Awaitable[int]],
        forget: Callable[[int], Awaitable[None]],
    ) -> None:
        self.log = log
        self._publish = publish
        self.forget = forget
        self._number = 0

    async def publish(self, *events: tuple[str, str]) -> list[int]:
        """Store events (type, task); their positions."""
        return [await self._publish(kind, task, self._data(kind)) for kind, task in events]

    def _data(self, kind: str) -> bytes:
        self._number += 1
        return event(kind, self._number)


@pytest.fixture
def fake() -> Log:
    """Without a server."""
    log = FakeEventLog()

    async def forget(upto: int) -> None:
        log.forget(upto)
        await asyncio.sleep(0)

    return Log(log, log.publish, forget)


@pytest.fixture
def real(bus: Bus) -> Log:
    """On a real nats-server."""

    async def publish(kind: str, task: str, data: bytes) -> int:
        return await bus.store(subjects.event(kind, task), data, expect_last=None)

    async def forget(upto: int) -> None:
        request = b'{"seq": %d}' % (upto + 1)
        await bus.call(f"$JS.API.STREAM.PURGE.{subjects.EVENTS}", request, 5.0)

    return Log(bus, publish, forget)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.nats)])
def log(request: pytest.FixtureRequest) -> Log:
    """Both keep the same promises."""
    found: Log = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def feed(log: Log) -> AsyncIterator[EventFeed]:
    """A feed that runs over one of them."""
    feed = EventFeed(unexpected)
    running = asyncio.create_task(feed.run(log.log))
    await feed.running.wait()
    yield feed
    running.cancel()
    await asyncio.wait([running])


class Reader:
    """Reads as a client's connection does."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._wake = asyncio.Event()
        self._kept: list[KeptEvent] = []
        self.reading: FeedReading

    async def open(
        self, head: TaskHead | None, after: int | None = None, *, sets: bool = False
    ) -> Reader:
        """Begin."""
        self.reading = await self._feed.open(head, after, self._wake.set, sets=sets)
        async with aclosing(self.reading.kept()) as batches:
            async for events in batches:
                self._kept += events
        return self

    async def next(self, count: int) -> list[int]:
        """The positions of the next events, waited for."""
        async with asyncio.timeout(PATIENCE):
            while len(self._kept) < count and not self.reading.ended:
                await self._wake.wait()
                self._wake.clear()
                self._kept += self.reading.take()
        taken, self._kept = self._kept[:count], self._kept[count:]
        return [kept.position for kept in taken]

    async def is_ended(self) -> bool:
        """Wait for the end."""
        async with asyncio.timeout(PATIENCE):
            while not self.reading.ended:
                await self._wake.wait()
                self._wake.clear()
        return not self.reading.take()


def head(task: str, status: TaskStatus, notify: Sequence[PendingNotification] = ()) -> TaskHead:
    """A task's head, where its status is all that matters."""
    return TaskHead(
        id=task,
        spec=TaskSpec(images=("a",), work=()),
        created_at=0,
        status=status,
        notify=tuple(notify),
    )


RUNNING = head(A, TaskStatus.RUNNING)
DONE = head(A, TaskStatus.COMPLETED)
UNTOLD = head(A, TaskStatus.COMPLETED, [PendingNotification.EVENT])
LIFE = [("task.created", A), ("task.created", B), ("task.started", A), ("node.succeeded", A)]


async def test_one_task_begins_with_its_kept_events_and_goes_on(log: Log, feed: EventFeed) -> None:
    """Kept ones first, then what comes, of this task only, each once and in order."""
    kept = await log.publish(*LIFE)
    reader = await Reader(feed).open(RUNNING)
    assert await reader.next(3) == [kept[0], kept[2], kept[3]]
    more = await log.publish(("task.progress", B), ("task.progress", A), ("task.completed", A))
    assert await reader.next(2) == more[1:]
    assert reader.reading.reset_to is None


async def test_all_tasks_begin_now(log: Log, feed: EventFeed) -> None:
    """Without a position nothing old is told."""
    before = await log.publish(*LIFE)
    everything = await Reader(feed).open(None, after=before[0] - 1)
    assert await everything.next(4) == before
    reader = await Reader(feed).open(None)
    after = await log.publish(("task.started", B), ("task.failed", B), ("task.created", A))
    assert await reader.next(3) == after


async def test_only_who_asks_for_sets_is_told_of_them(log: Log, feed: EventFeed) -> None:
    """Kept events and those that come alike: another client may not know them."""
    kept = await log.publish(("task.created", A), ("set.created", WEB), ("task.started", A))
    begin = kept[0] - 1
    plain = await Reader(feed).open(None, after=begin)
    asked = await Reader(feed).open(None, after=begin, sets=True)
    more = await log.publish(("set.node.warm", WEB), ("task.failed", A))
    assert await plain.next(3) == [kept[0], kept[2], more[1]]
    assert await asked.next(5) == [*kept, *more]


async def test_resuming_has_no_gap_and_no_double(log: Log, feed: EventFeed) -> None:
    """From every position on, exactly what follows it."""
    kept = await log.publish(*LIFE, ("task.completed", A))
    of_task = [kept[0], *kept[2:]]
    for number, position in enumerate(kept[:-1]):
        everything = await Reader(feed).open(None, after=position)
        assert await everything.next(len(kept) - number - 1) == kept[number + 1 :]
        one = await Reader(feed).open(DONE, after=position)
        rest = [other for other in of_task if other > position]
        assert await one.next(len(rest)) == rest


async def test_readers_that_come_while_events_flow(log: Log, feed: EventFeed) -> None:
    """The hand-over from the store to the queue neither loses nor repeats an event."""
    first = (await log.publish(("task.created", A)))[0]

    async def publish() -> None:
        for _ in range(60):
            await log.publish(("task.progress", A))
            await asyncio.sleep(0)

    publishing = asyncio.create_task(publish())
    readers = []
    while not publishing.done():
        readers.append(await Reader(feed).open(RUNNING, after=first - 1))
        await asyncio.sleep(0.002)
    await publishing
    assert readers
    for reader in readers:
        assert await reader.next(61) == list(range(first, first + 61))


async def test_a_position_that_is_no_longer_kept_is_reset(log: Log, feed: EventFeed) -> None:
    """One task begins anew with what is kept; that of all begins now."""
    kept = await log.publish(*LIFE)
    await log.forget(kept[1])
    one = await Reader(feed).open(RUNNING, after=kept[0])
    assert one.reading.reset_to == kept[1]
    assert await one.next(2) == kept[2:]
    everything = await Reader(feed).open(None, after=kept[0])
    assert everything.reading.reset_to is not None
    assert everything.reading.reset_to >= kept[1]
    fine = await Reader(feed).open(None, after=kept[1])
    assert fine.reading.reset_to is None
    assert await fine.next(2) == kept[2:]


@pytest.mark.parametrize("position", [-1, 10**9])
async def test_a_position_that_never_was_is_reset(log: Log, feed: EventFeed, position: int) -> None:
    """Whatever a client makes up, it is told to read anew."""
    kept = await log.publish(*LIFE)
    reader = await Reader(feed).open(RUNNING, after=position)
    assert reader.reading.reset_to is not None
    assert await reader.next(3) == [kept[0], kept[2], kept[3]]
    assert (await Reader(feed).open(None, after=position)).reading.reset_to is not None


async def test_nothing_is_left_after_a_tasks_last_event(log: Log, feed: EventFeed) -> None:
    """At or past it, whether the head knows of it already or not."""
    last = (await log.publish(*LIFE, ("task.completed", A)))[-1]
    for over in (DONE, UNTOLD):
        for position in (last, last + 1, last + 1000):
            with pytest.raises(NothingLeft):
                await feed.open(over, position, asyncio.Event().set)
    assert await (await Reader(feed).open(DONE)).next(4)


async def test_a_finished_task_of_which_nothing_is_kept(log: Log, feed: EventFeed) -> None:
    """Nothing is left, except for who may have missed something: that is reset, then ended."""
    kept = await log.publish(*LIFE, ("task.completed", A), ("task.created", B))
    await log.forget(kept[4])
    for position in (None, kept[4], kept[5]):
        with pytest.raises(NothingLeft):
            await feed.open(DONE, position, asyncio.Event().set)
    reader = await Reader(feed).open(DONE, after=kept[0])
    assert reader.reading.reset_to == kept[4]
    assert await reader.is_ended()


async def test_a_task_that_is_over_before_its_last_event_is_published(
    log: Log, feed: EventFeed
) -> None:
    """Its stream waits for it."""
    kept = await log.publish(*LIFE)
    reader = await Reader(feed).open(UNTOLD, after=kept[-1])
    last = await log.publish(("task.completed", A))
    assert await reader.next(1) == last


async def test_what_is_no_event_is_passed_over() -> None:
    """Counted, never fatal; line breaks in JSON do not break frames."""
    heard: list[str] = []
    log, feed = FakeEventLog(), EventFeed(heard.append)
    running = asyncio.create_task(feed.run(log))
    await feed.running.wait()
    for data in (b"", b"\xff", b"[]", b'{"type": 1}', event("task.started", 1)):
        await log.publish("task.progress", A, data)
    last = await log.publish("task.progress", A, event("task.progress", 1)[:-1] + b"\r\n}")
    reader = await Reader(feed).open(RUNNING)
    assert await reader.next(1) == [last]
    assert heard == ["event"] * 5
    async with aclosing(feed.stored(A, last, last)) as batches:
        assert [b"\n" in kept.data async for events in batches for kept in events] == [False]
    running.cancel()
    await asyncio.wait([running])


async def test_a_reader_that_does_not_read_is_ended(
    log: Log, feed: EventFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue is bounded; what is in it is still told, so that it gets on when it comes back."""
    monkeypatch.setattr(event_feed, "QUEUE_BYTES", 500)
    slow, quick = await Reader(feed).open(None), await Reader(feed).open(None)
    for _ in range(20):
        sent = await log.publish(("task.progress", A))
        assert await quick.next(1) == sent
    assert slow.reading.ended
    waiting = slow.reading.take()
    assert 0 < len(waiting) < 20
    assert not quick.reading.ended


async def test_readers_that_leave_are_forgotten(log: Log, feed: EventFeed) -> None:
    """Nothing of them stays."""
    await log.publish(("task.created", A))
    readers = [await Reader(feed).open(which) for which in (RUNNING, RUNNING, None)]
    for reader in readers:
        reader.reading.close()
        reader.reading.close()
    assert not feed._readings


async def test_when_the_feed_stops_all_readers_end(log: Log) -> None:
    """Clients come back and resume; meanwhile nobody is taken."""
    feed = EventFeed(unexpected)
    with pytest.raises(StoreAway):
        await feed.open(None, None, asyncio.Event().set)
    running = asyncio.create_task(feed.run(log.log))
    await feed.running.wait()
    reader = await Reader(feed).open(None)
    running.cancel()
    assert await reader.is_ended()
    with pytest.raises(StoreAway):
        await feed.open(None, None, asyncio.Event().set)


@pytest.mark.parametrize("fault", [StoreWentBack("lost"), away()])
async def test_a_stream_that_breaks_off_is_read_anew(fault: Exception) -> None:
    """Readers end, and come back to a feed that runs again."""
    log, feed = FakeEventLog(), EventFeed(unexpected)
    running = asyncio.create_task(feed.run(log))
    await feed.running.wait()
    reader = await Reader(feed).open(None)
    await log.break_off(fault)
    assert await reader.is_ended()
    await feed.running.wait()
    again = await Reader(feed).open(None)
    assert await again.next(0) == []
    position = await log.publish("task.created", A)
    assert await again.next(1) == [position]
    running.cancel()
    await asyncio.wait([running])


async def test_a_store_that_does_not_answer_takes_no_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reader is told why, and nothing of it stays."""
    log, feed = FakeEventLog(), EventFeed(unexpected)
    running = asyncio.create_task(feed.run(log))
    await feed.running.wait()

    async def refuse(_stream: str) -> None:
        raise away()

    monkeypatch.setattr(log, "stream_state", refuse)
    with pytest.raises(StoreAway, match="no leader"):
        await feed.open(RUNNING, None, asyncio.Event().set)
    assert not feed._readings
    running.cancel()
    await asyncio.wait([running])
