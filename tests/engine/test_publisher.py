"""The queue of events against a stream that refuses, is away, or does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from common import subjects
from common.bus import Conflict, Draft, StoreUnavailable
from coordinator.engine.publisher import BATCH_BYTES, BATCH_EVENTS, Item, Publisher
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.time import virtual
from tests.engine.stored import OTHER, TASK, bus_in_memory


def item(
    name: str,
    task: str = TASK,
    event_type: str = "node.succeeded",
    *,
    once: bool = False,
    is_last: bool = False,
    is_progress: bool = False,
    size: int = 0,
) -> Item:
    """An event of which only the id matters."""
    payload = msgspec.json.encode({"id": name, "filler": "x" * size})
    subject = subjects.event(event_type, task)
    return Item(task, subject, name, payload, once, is_last, is_progress)


def created(task: str = TASK) -> Item:
    """A task's first event."""
    return item(f"{task}/created", task, "task.created", once=True)


def last(task: str = TASK) -> Item:
    """A task's last event."""
    return item(f"{task}/completed", task, "task.completed", once=True, is_last=True)


class Queue:
    """A publisher that may be started and ended, and what it said."""

    def __init__(self, bus: VirtualBus) -> None:
        self.bus = bus
        self.lasts: list[str] = []
        self.refuse_lasts = 0
        self.held = True
        self.publisher = Publisher(bus, self._on_last, lambda: self.held)
        self.working: asyncio.Task[None] | None = None

    async def _on_last(self, task: str) -> None:
        self.lasts.append(task)
        if self.refuse_lasts:
            self.refuse_lasts -= 1
            raise StoreUnavailable("away")

    def start(self) -> None:
        """Let it work."""
        self.working = asyncio.create_task(self.publisher.run())

    def put(self, *items: Item) -> None:
        """Queue these."""
        for one in items:
            self.publisher.put(one)

    async def kept(self) -> list[str]:
        """The ids of all events in the stream, in its order."""
        return [
            msgspec.json.decode(record.data)["id"]
            async for records in self.bus.replay(subjects.EVENTS)
            for record in records
        ]


@asynccontextmanager
async def queue() -> AsyncIterator[Queue]:
    """A publisher at work."""
    async with bus_in_memory() as bus:
        it = Queue(bus)
        it.start()
        yield it
        assert it.working is not None
        it.working.cancel()
        await asyncio.wait([it.working])


def ids(items: Sequence[Item]) -> list[str]:
    """Their ids."""
    return [one.id for one in items]


@virtual
async def test_all_that_is_put_is_published_in_that_order() -> None:
    """Whether once or not, of whichever task; and whoever waits for the last one is told."""
    async with queue() as it:
        items = [created(), created(OTHER), item("1"), item("2", OTHER), item("3"), last()]
        it.put(*items)
        await asyncio.sleep(1)
        assert await it.kept() == ids(items)
        assert it.lasts == [TASK]
        it.put(item("4", OTHER))
        await asyncio.sleep(1)
        assert (await it.kept())[-1] == "4"


@virtual
async def test_a_lost_answer_doubles_nothing_and_loses_nothing() -> None:
    """Whichever write it is: what landed is read back, and the rest follows in its order."""
    items = [created(), item("1"), item("2"), created(OTHER), item("3", OTHER), item("4"), last()]
    for unlucky in range(5):
        async with bus_in_memory() as bus:
            it = Queue(bus)
            it.start()
            for number, some in enumerate(
                (items[:1], items[1:3], items[3:4], items[4:6], items[6:])
            ):
                bus.link.answers_to_lose = int(number == unlucky)
                it.put(*some)
                await asyncio.sleep(0.01)
            await asyncio.sleep(30)
            assert await it.kept() == ids(items)
            assert it.lasts == [TASK]
            assert it.working is not None
            it.working.cancel()
            await asyncio.wait([it.working])


@virtual
async def test_many_lost_answers_in_a_row() -> None:
    """Also of what is sent again."""
    async with queue() as it:
        it.bus.link.answers_to_lose = 5
        items = [created(), *(item(str(number)) for number in range(500)), last()]
        it.put(*items)
        await asyncio.sleep(60)
        assert await it.kept() == ids(items)
        assert it.bus.link.answers_to_lose == 0


@virtual
async def test_a_stream_that_refuses_is_waited_for() -> None:
    """Nothing overtakes what waits, above all not the end."""
    async with queue() as it:
        it.put(created())
        await asyncio.sleep(0.1)
        it.bus.jetstream.refuse(subjects.EVENTS)
        it.put(item("1"), item("2"), last())
        await asyncio.sleep(120)
        assert await it.kept() == ids([created()])
        assert it.lasts == []
        it.bus.jetstream.refuse(subjects.EVENTS, None)
        await asyncio.sleep(5)
        assert await it.kept() == ids([created(), item("1"), item("2"), last()])
        assert it.lasts == [TASK]


@virtual
async def test_the_end_waits_for_the_answer_to_what_comes_before_it() -> None:
    """A batch that may not have landed must not be behind the end."""
    async with queue() as it:
        it.bus.link.cut()
        it.put(item("1"), last())
        await asyncio.sleep(4)
        assert it.lasts == []
        it.bus.link.drop()
        it.bus.link.mend()
        await asyncio.sleep(30)
        assert await it.kept() == ids([item("1"), last()])


@virtual
async def test_what_was_published_before_is_not_published_again() -> None:
    """The former leader did; its last event counts as stored."""
    async with queue() as it:
        it.put(created(), last())
        await asyncio.sleep(1)
        it.put(created(), last())
        await asyncio.sleep(1)
        assert await it.kept() == ids([created(), last()])
        assert it.lasts == [TASK, TASK]


@virtual
async def test_a_last_event_is_noted_as_often_as_that_takes() -> None:
    """It is published once all the same, and the next tasks wait behind it."""
    async with queue() as it:
        it.refuse_lasts = 3
        it.put(last(), created(OTHER))
        await asyncio.sleep(10)
        assert await it.kept() == ids([last(), created(OTHER)])
        assert it.lasts == [TASK] * 4


class Recorded:
    """A stream that only keeps how large the batches are."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def store(self, subject: str, payload: bytes, *, expect_last: int | None) -> int:
        """Take one."""
        assert subject
        assert expect_last == 0
        self.batches.append([len(payload)])
        return 1

    async def store_batch(self, drafts: Sequence[Draft]) -> int:
        """Take them."""
        self.batches.append([len(draft.payload) for draft in drafts])
        return 1

    async def replay(self, _stream: str, _subjects: str) -> AsyncIterator[list[object]]:
        """Nothing is kept."""
        empty: list[list[object]] = []
        for nothing in empty:
            yield nothing


@virtual
async def test_batches_are_as_large_as_they_may_be() -> None:
    """In number and in bytes; what is published once goes alone."""
    bus = Recorded()

    async def on_last(_: str) -> None:
        return

    publisher = Publisher(bus, on_last, lambda: True)  # type: ignore[arg-type]
    for number in range(450):
        publisher.put(item(str(number)))
    publisher.put(created())
    for number in range(40):
        publisher.put(item(f"large {number}", size=subjects.MAX_MESSAGE_BYTES - 100))
    working = asyncio.create_task(publisher.run())
    await asyncio.sleep(1)
    working.cancel()
    counts = [len(batch) for batch in bus.batches]
    assert counts[:4] == [BATCH_EVENTS, BATCH_EVENTS, 50, 1]
    assert sum(counts[4:]) == 40
    assert all(sum(batch) <= BATCH_BYTES for batch in bus.batches)
    assert len(counts[4:]) == 3


@virtual
async def test_whether_progress_waits() -> None:
    """While it does there is no newer one; a doubt that is settled lets it go, too."""
    async with queue() as it:
        it.bus.link.answers_to_lose = 1
        it.put(item("p", event_type="task.progress", is_progress=True), item("1"))
        assert it.publisher.progress_waits(TASK)
        assert not it.publisher.progress_waits(OTHER)
        await asyncio.sleep(1)
        assert it.publisher.progress_waits(TASK)
        await asyncio.sleep(30)
        assert not it.publisher.progress_waits(TASK)
        assert await it.kept() == ["p", "1"]


@virtual
async def test_nothing_is_remembered_of_tasks_whose_events_are_published() -> None:
    """A coordinator runs for months."""
    async with queue() as it:
        for number in range(20):
            task = f"{TASK[:-8]}{number:08x}"
            progress = item("p", task, "task.progress", is_progress=True)
            it.put(created(task), progress, item("1", task))
            await asyncio.sleep(1)
            it.put(last(task))
        await asyncio.sleep(5)
        assert len(it.lasts) == 20
        assert not it.publisher._progress


@virtual
async def test_what_is_not_ours_in_the_stream_has_no_id() -> None:
    """One bad record is that record's fault."""
    async with queue() as it:
        it.put(created(), item("1"))
        await it.bus.store(subjects.event("node.failed", TASK), b"\xff{", expect_last=None)
        await asyncio.sleep(1)
        assert await it.publisher.kept_ids(TASK) == {f"{TASK}/created", "1"}


@virtual
async def test_what_was_sent_by_a_leader_that_is_none_any_more_is_refused() -> None:
    """Another one has published since: nothing is doubled, and nothing follows the last event."""
    async with bus_in_memory() as bus:
        old, new = Queue(bus), Queue(bus)
        old.put(created(), item("1"))
        old.start()
        await asyncio.sleep(1)
        new.put(item("1"), item("2"), last())
        new.start()
        await asyncio.sleep(1)
        old.held = False
        late = [Draft(one.subject, one.payload) for one in (item("2"), item("progress"))]
        drafts = old.publisher._drafts([item("2"), item("progress")])
        assert [(draft.subject, draft.payload) for draft in drafts] == [
            (draft.subject, draft.payload) for draft in late
        ]
        with pytest.raises(Conflict):
            await bus.store_batch(drafts)
        assert await old.kept() == [f"{TASK}/created", "1", "2", f"{TASK}/completed"]
        for queue in (old, new):
            assert queue.working is not None
            queue.working.cancel()
            await asyncio.wait([queue.working])


@virtual
async def test_who_holds_no_lease_publishes_nothing() -> None:
    """What is queued meanwhile goes as soon as it does."""
    async with queue() as it:
        it.held = False
        it.put(created(), item("1"), last())
        await asyncio.sleep(60)
        assert await it.kept() == []
        it.held = True
        await asyncio.sleep(2)
        assert await it.kept() == ids([created(), item("1"), last()])


@virtual
async def test_a_late_event_of_another_leader_is_read_back_and_not_doubled() -> None:
    """The next batch is refused once, and only what is missing of it is published."""
    async with queue() as it:
        it.put(created(), item("1"))
        await asyncio.sleep(1)
        await it.bus.store(item("2").subject, item("2").payload, expect_last=None)
        it.put(item("2"), item("3"), item("x", OTHER))
        await asyncio.sleep(1)
        assert await it.kept() == [f"{TASK}/created", "1", "2", "3", "x"]
