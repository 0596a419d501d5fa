"""Each end is told by its event and by its webhook, whoever begins with it and whatever fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec.structs import replace

from common import subjects
from common.bus import StoreUnavailable
from common.text import Text
from coordinator.core.changes import TaskOver
from coordinator.core.events import Settled
from coordinator.core.scheduler import Decision
from coordinator.core.task import PendingNotification, TaskHead, TaskStatus
from coordinator.engine.end_notifications import AT_A_TIME, EndNotifications
from coordinator.engine.persistence import Persistently
from coordinator.engine.publisher import Publisher
from coordinator.engine.task_events import TaskEvents
from coordinator.engine.webhooks import Look
from coordinator.faults import Faults
from coordinator.port import NoSuchTask
from coordinator.snapshots import Snapshot
from coordinator.store import Store
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.stored import TASK, bus_in_memory, failed, now

EVENT, WEBHOOK = PendingNotification.EVENT, PendingNotification.WEBHOOK


class Telling:
    """Notifications over the bus in memory; heads, marks and webhooks are this object's own."""

    def __init__(self, bus: VirtualBus) -> None:
        self.bus = bus
        self.heads: dict[str, TaskHead] = {}
        self.marks: list[PendingNotification] = []
        self.refuse_marks = 0
        self.refuse_reads = 0
        self.delivered: list[str] = []
        self.receiver = asyncio.Event()
        self.receiver.set()
        self.reading = 0
        self.most_reading = 0
        self.jobs: list[asyncio.Task[Any]] = []
        store, persistently = Store(bus), Persistently(random.Random(1))
        self.publisher = Publisher(bus, self._last_told, lambda: True)
        self.events = TaskEvents(
            publisher=self.publisher,
            outcomes=store,
            tasks=self,
            runs={},
            source="/ips/test",
            epoch=1,
            clock=now,
            persistently=persistently,
            faults=Faults(),
        )
        self.notifications = EndNotifications(
            tasks=self,
            events=self.events,
            webhooks=self,
            mark_notified=self._mark,
            spawn=self._spawn,
            persistently=persistently,
            faults=Faults(),
        )
        self._publishing = asyncio.create_task(self.publisher.run())

    # ── what notifications need ──

    def head(self, task_id: str) -> TaskHead | None:
        """The newest known head."""
        return self.heads.get(task_id)

    def snapshot(self, task_id: str) -> Snapshot | None:
        """From memory."""
        found = self.heads.get(task_id)
        return None if found is None else Snapshot(found, int(now() * 1000))

    async def read_snapshot(self, task_id: str) -> Snapshot:
        """With nodes, from a store that takes a while."""
        self.reading += 1
        self.most_reading = max(self.reading, self.most_reading)
        await asyncio.sleep(0.1)
        self.reading -= 1
        if self.refuse_reads:
            self.refuse_reads -= 1
            raise StoreUnavailable("away")
        shot = self.snapshot(task_id)
        if shot is None:
            raise NoSuchTask(task_id)
        return shot

    async def deliver(self, head: TaskHead, look: Look) -> None:
        """Take a webhook as soon as the receiver does."""
        assert head.notify
        await self.receiver.wait()
        self.delivered.append((await look()).head.id)

    async def _mark(
        self, task: str, what: PendingNotification, refused: Text | None = None
    ) -> None:
        assert refused is None
        if self.refuse_marks:
            self.refuse_marks -= 1
            raise StoreUnavailable("away")
        self.marks.append(what)
        if task in self.heads:
            old = self.heads[task]
            left = tuple(other for other in old.notify if other is not what)
            self.heads[task] = replace(old, notify=left)

    async def _last_told(self, task: str) -> None:
        await self._mark(task, EVENT)
        self.events.forget(task)

    def _spawn(self, job: Coroutine[Any, Any, Any]) -> None:
        self.jobs.append(asyncio.create_task(job))

    # ── what tests do and see ──

    def know(self, *notify: PendingNotification, task: str = TASK) -> TaskHead:
        """A task is over, and these are to be told of it."""
        ended = int(now() * 1000)
        wanted = spec(webhook_url="http://h/")
        over = replace(failed(task), spec=wanted, created_at=ended, started_at=ended)
        self.heads[task] = over = replace(over, finished_at=ended, notify=notify, node_list=None)
        return over

    def ends(self, *heads: TaskHead) -> None:
        """The core says that these are over."""
        self.notifications.observe(Settled(), Decision([], [TaskOver(head) for head in heads]))

    async def settle(self, seconds: float = 30.0) -> None:
        """Let time pass; no job may die."""
        await asyncio.sleep(seconds)
        for job in self.jobs:
            if job.done():
                job.result()

    async def ends_told(self) -> list[str]:
        """The kept events that are ends."""
        found = []
        async for records in self.bus.replay(subjects.EVENTS, f"{subjects.PREFIX}.event.task.>"):
            found += [msgspec.json.decode(record.data)["type"] for record in records]
        return [told for told in found if told.removeprefix("task.") in set(TaskStatus)]

    async def close(self) -> None:
        """End it."""
        for job in (self._publishing, *self.jobs):
            job.cancel()
        await asyncio.wait([self._publishing, *self.jobs])


@asynccontextmanager
async def telling() -> AsyncIterator[Telling]:
    """Notifications at work."""
    async with bus_in_memory() as bus:
        it = Telling(bus)
        yield it
        await it.close()


@virtual
async def test_an_end_is_told_by_event_and_webhook_each_marked() -> None:
    """Once each."""
    async with telling() as it:
        it.ends(it.know(EVENT, WEBHOOK))
        await it.settle()
        assert await it.ends_told() == ["task.failed"]
        assert it.delivered == [TASK]
        assert it.heads[TASK].notify == ()
        assert sorted(it.marks) == [EVENT, WEBHOOK]


@virtual
async def test_only_what_is_to_be_told_is_told() -> None:
    """Without a webhook none; of a task that was removed by hand nothing."""
    async with telling() as it:
        it.ends(it.know(EVENT), it.know(task="task-20260101-000000-00000002"))
        await it.settle()
        assert await it.ends_told() == ["task.failed"]
        assert (it.delivered, it.marks) == ([], [EVENT])


@virtual
async def test_a_dead_receiver_delays_no_event() -> None:
    """The webhook's mark comes when it is taken."""
    async with telling() as it:
        it.receiver.clear()
        it.ends(it.know(EVENT, WEBHOOK))
        await it.settle()
        assert await it.ends_told() == ["task.failed"]
        assert it.heads[TASK].notify == (WEBHOOK,)
        it.receiver.set()
        await it.settle()
        assert it.heads[TASK].notify == ()


@virtual
async def test_marks_and_readings_are_tried_until_they_work() -> None:
    """Nothing is delivered or published twice for it."""
    async with telling() as it:
        it.refuse_reads, it.refuse_marks = 2, 5
        it.ends(it.know(EVENT, WEBHOOK))
        await it.settle(120)
        assert it.heads[TASK].notify == ()
        assert (await it.ends_told(), it.delivered) == (["task.failed"], [TASK])


@virtual
async def test_a_task_that_was_removed_before_it_was_told_of_ends_its_job() -> None:
    """And no other one."""
    async with telling() as it:
        gone = it.know(EVENT, WEBHOOK)
        del it.heads[TASK]
        it.ends(gone, it.know(EVENT, task="task-20260101-000000-00000002"))
        await it.notifications.tell_again(gone)
        await it.settle()
        assert len(await it.ends_told()) == 1
        assert all(job.done() for job in it.jobs)


@virtual
async def test_few_ends_are_read_at_once() -> None:
    """After a start with many untold ones."""
    async with telling() as it:
        it.ends(*(it.know(EVENT, task=f"{TASK[:-8]}{number:08x}") for number in range(40)))
        await it.settle()
        assert it.most_reading == AT_A_TIME
        assert len(await it.ends_told()) == 40


# ── what a leader before this one did not get to say ──


@virtual
async def test_an_end_whose_event_is_kept_is_only_marked() -> None:
    """The former leader died between the event and the mark."""
    async with telling() as it:
        it.ends(it.know(EVENT))
        await it.settle()
        untold = it.heads[TASK] = replace(it.heads[TASK], notify=(EVENT, WEBHOOK))
        it.marks.clear()
        it.refuse_marks = 2
        await it.notifications.tell_again(untold)
        await it.settle()
        assert await it.ends_told() == ["task.failed"]
        assert it.marks == [EVENT, WEBHOOK]
        assert it.delivered == [TASK]
        assert not it.events._kept


@virtual
async def test_an_end_whose_event_is_not_kept_is_told_behind_all_that_is_missing() -> None:
    """The former leader died before it told anything at all."""
    async with telling() as it:
        await it.notifications.tell_again(it.know(EVENT, WEBHOOK))
        await it.settle()
        kept = await it.publisher.kept_ids(TASK)
        assert {f"{TASK}/task.{name}" for name in ("created", "started", "failed")} <= kept
        assert it.heads[TASK].notify == ()
        assert it.delivered == [TASK]


@virtual
async def test_a_webhook_that_alone_is_missing_is_delivered_alone() -> None:
    """No event again."""
    async with telling() as it:
        await it.notifications.tell_again(it.know(WEBHOOK))
        await it.settle()
        assert await it.ends_told() == []
        assert (it.delivered, it.marks) == ([TASK], [WEBHOOK])
