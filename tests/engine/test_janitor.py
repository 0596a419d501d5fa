"""What is removed, when, in which order, and what a store that comes and goes changes of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec.structs import replace

from common.bus import StoreUnavailable
from common.messages import Outcome
from common.subjects import AttemptKey
from coordinator.core.task import PendingNotification, TaskHead, TaskStatus
from coordinator.engine.janitor import BEING_CREATED_SECONDS, Janitor
from coordinator.engine.persistence import Persistently
from coordinator.engine.webhooks import GIVE_UP_SECONDS
from coordinator.store import KEY_UNUSED_SECONDS, NAMED, KeyRecord, Store, StoredHead
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.server import EPOCH
from sandbox.virtual.time import virtual
from tests.core.stage import head
from tests.engine.stored import HEADS_STREAM, OTHER, TASK, Table, bus_in_memory, failed, now, stored

RETENTION = 600.0


class LoopTime:
    """Time that counts as it passes."""

    def now(self) -> float:
        """Seconds since 1970."""
        return now()

    def unseen(self, since: float) -> float:
        """All of it was seen."""
        return 0.0 * since

    async def note(self) -> None:
        """Nothing to note."""


class Written(Store):
    """A store that keeps the order of what is removed; answers to deletes can be lost."""

    def __init__(self, bus: VirtualBus) -> None:
        super().__init__(bus)
        self.bus = bus
        self.removed: list[str] = []
        self.lose_next = 0
        self.crash_next = 0
        """Of so many of the next purges nothing comes: the store is away."""

    async def delete_head(self, stored: StoredHead) -> None:
        """As in the store."""
        self.bus.link.answers_to_lose, self.lose_next = self.lose_next, 0
        await super().delete_head(stored)
        self.removed.append(f"head {stored.head.id}")

    async def purge_task(self, task: str, key: str | None = None) -> None:
        """As in the store."""
        if self.crash_next:
            self.crash_next -= 1
            raise StoreUnavailable("away")
        await super().purge_task(task, key)
        self.removed.append(f"rest {task}")


class Cleaning:
    """A janitor at work."""

    def __init__(self, bus: VirtualBus) -> None:
        self.store, self.table = Written(bus), Table()
        self.janitor = Janitor(
            store=self.store,
            tasks=self.table,
            time=LoopTime(),
            retention_seconds=RETENTION,
            persistently=Persistently(random.Random(1)),
        )
        self.working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin a term."""
        self.working = asyncio.create_task(self.janitor.run())

    async def over(self, task: str = TASK, **changes: object) -> StoredHead:
        """A task that ends now is stored and known."""
        ended = replace(failed(task), finished_at=int(now() * 1000), **changes)
        found = await stored(self.store, ended)
        self.table.apply(found)
        self.janitor.on_final_head(found.head)
        return found

    async def is_there(self, task: str = TASK) -> bool:
        """Whether anything of a task is left."""
        return (
            await self.store.exists(task)
            or task in await self.store.tasks_with_outcomes()
            or task in await self.store.tasks_with_lists()
        )


@asynccontextmanager
async def cleaning(*, start: bool = True) -> AsyncIterator[Cleaning]:
    """A janitor on an empty store, at work unless a test starts it."""
    async with bus_in_memory() as bus:
        it = Cleaning(bus)
        if start:
            it.start()
        yield it
        assert it.working is not None
        it.working.cancel()
        await asyncio.wait([it.working])


# ── retention ──


@virtual
async def test_a_task_is_removed_after_its_retention_and_not_before() -> None:
    """Head, list, outcomes and key; the head first."""
    async with cleaning() as it:
        await it.store.claim_key("idem.k", KeyRecord(TASK, ""))
        await it.over(key="idem.k")
        await asyncio.sleep(RETENTION - 5)
        assert await it.store.exists(TASK)
        await asyncio.sleep(10)
        assert not await it.is_there()
        assert it.table.head(TASK) is None
        assert await it.store.load_key("idem.k") is None
        assert it.store.removed == [f"head {TASK}", f"rest {TASK}"]


@virtual
async def test_what_runs_or_waits_is_never_removed() -> None:
    """However old it is."""
    async with cleaning() as it:
        for task, status in ((TASK, TaskStatus.RUNNING), (OTHER, TaskStatus.PENDING)):
            it.table.apply(await it.store.create_head(head(task, status=status)))
        await asyncio.sleep(6 * 86400)
        assert await it.store.exists(TASK)
        assert await it.store.exists(OTHER)


@virtual
async def test_who_is_still_to_be_told_keeps_it_as_long_as_telling_is_tried() -> None:
    """A dead receiver keeps a task for a day, and no longer."""
    async with cleaning() as it:
        await it.over(notify=(PendingNotification.WEBHOOK,))
        await asyncio.sleep(GIVE_UP_SECONDS - 5)
        assert await it.store.exists(TASK)
        await asyncio.sleep(10)
        assert not await it.is_there()


@virtual
async def test_what_is_told_late_is_removed_at_once() -> None:
    """Its retention had passed: the change of the head wakes the janitor."""
    async with cleaning() as it:
        found = await it.over(notify=(PendingNotification.WEBHOOK,))
        await asyncio.sleep(2 * RETENTION)
        told = await it.store.swap_head(found, replace(found.head, notify=()))
        it.table.apply(told)
        it.janitor.on_final_head(told.head)
        await asyncio.sleep(5)
        assert not await it.is_there()


@virtual
async def test_tasks_that_end_at_different_times_go_at_different_times() -> None:
    """The next one is waited for, whichever that is."""
    async with cleaning() as it:
        await it.over(OTHER)
        await asyncio.sleep(100)
        await it.over(TASK)
        await asyncio.sleep(RETENTION - 95)
        assert (await it.is_there(OTHER), await it.is_there(TASK)) == (False, True)
        await asyncio.sleep(100)
        assert not await it.is_there(TASK)


# ── a store that comes and goes ──


@virtual
async def test_a_delete_whose_answer_is_lost_is_carried_through() -> None:
    """The head is gone, and its other records follow, whoever has noticed it first."""
    for watched in (False, True):
        async with cleaning() as it:
            await it.over()
            it.store.lose_next = 1
            await asyncio.sleep(RETENTION + 3)
            assert not await it.store.exists(TASK)
            if watched:
                it.table.forget(TASK)
            await asyncio.sleep(30)
            assert not await it.is_there()
            assert it.table.head(TASK) is None


@virtual
async def test_a_head_that_somebody_has_rewritten_is_looked_at_anew() -> None:
    """Nothing of it is removed while it is there: the newer one decides when it expires."""
    async with cleaning() as it:
        found = await it.over()
        newer = replace(found.head, notify=(PendingNotification.WEBHOOK,))
        swapped = await it.store.swap_head(found, newer)  # the watch has not brought it yet
        await asyncio.sleep(RETENTION + 30)
        assert await it.is_there()
        assert TASK in await it.store.tasks_with_outcomes()
        it.table.apply(swapped)
        await asyncio.sleep(RETENTION)
        assert TASK in await it.store.tasks_with_outcomes()


@virtual
async def test_what_could_not_be_purged_is_purged_later() -> None:
    """Its head is gone from the table by then, so it is remembered beside it."""
    async with cleaning() as it:
        await it.over()
        it.store.crash_next = 3
        await asyncio.sleep(RETENTION + 60)
        assert not await it.is_there()


@virtual
async def test_heads_that_cannot_be_deleted_now_are_deleted_later() -> None:
    """And what belongs to them stays until then: a task without outcomes would look undone."""
    async with cleaning() as it:
        await it.over()
        it.store.bus.jetstream.refuse(HEADS_STREAM)
        await asyncio.sleep(RETENTION + 60)
        assert TASK in await it.store.tasks_with_outcomes()
        assert TASK in await it.store.tasks_with_lists()
        it.store.bus.jetstream.refuse(HEADS_STREAM, None)
        await asyncio.sleep(30)
        assert not await it.is_there()


@virtual
async def test_a_term_that_begins_while_the_store_is_away_sweeps_and_removes_all_the_same() -> None:
    """It waits for the store, then does both."""
    async with cleaning(start=False) as it:
        it.table.apply(await stored(it.store, failed()))
        await it.store.store_outcome(AttemptKey(OTHER, "n1", 1), Outcome())  # left by a crash
        it.store.bus.server.kill()
        it.start()
        await asyncio.sleep(60)
        it.store.bus.server.start()
        await asyncio.sleep(60)
        assert not await it.is_there(TASK)
        assert not await it.is_there(OTHER)


# ── what crashes left ──


@virtual
async def test_what_belongs_to_no_task_is_swept_at_the_start() -> None:
    """Purges that were undone, and lists whose head never came; what has a head stays."""
    async with cleaning(start=False) as it:
        known, unreadable = drawn(9), drawn(10)
        for task in (TASK, OTHER, known, unreadable):
            await it.store.store_outcome(AttemptKey(task, "n1", 1), Outcome())
        await it.store.save_list(TASK, NAMED, ["n1"])
        it.table.apply(await it.store.create_head(failed_now(known)))
        await it.store.bus.store(
            f"$KV.IPS_TASKS.{unreadable}", b"of a newer version", expect_last=0
        )
        await asyncio.sleep(BEING_CREATED_SECONDS + 1)
        it.start()
        await asyncio.sleep(1)
        assert await it.store.tasks_with_outcomes() == {known, unreadable}
        assert await it.store.tasks_with_lists() == set()


@virtual
async def test_the_list_of_a_task_that_is_being_created_stays() -> None:
    """It is stored before its head."""
    async with cleaning(start=False) as it:
        await it.store.save_list(TASK, NAMED, ["n1"])
        await asyncio.sleep(BEING_CREATED_SECONDS - 60)
        it.start()
        await asyncio.sleep(1)
        assert await it.store.tasks_with_lists() == {TASK}


@virtual
async def test_keys_go_with_their_tasks() -> None:
    """Those of removed tasks, and those whose create nobody completed within a day."""
    async with bus_in_memory() as bus:
        store, here = Store(bus), now()
        await store.create_head(failed(TASK))
        await store.delete_head(await store.create_head(failed(OTHER)))
        tasks = {"idem.kept": TASK, "idem.removed": OTHER, "idem.underway": drawn(9)}
        for key, task in tasks.items():
            await store.claim_key(key, KeyRecord(task=task, body=""))
        is_known: Callable[[str], bool] = {TASK}.__contains__
        await store.release_keys(is_known, here)
        assert [key for key in tasks if await store.load_key(key)] == ["idem.kept", "idem.underway"]
        await store.release_keys(is_known, here + KEY_UNUSED_SECONDS + 60)
        assert [key for key in tasks if await store.load_key(key)] == ["idem.kept"]


@virtual
async def test_a_purge_that_a_crash_has_undone_is_done_again_by_the_next_term() -> None:
    """A purge is not crash-proof: after a kill of the store what was purged can be back."""
    async with cleaning() as it:
        await it.over()
        await asyncio.sleep(RETENTION + 5)
        it.store.bus.jetstream.undo_purges()
        assert await it.is_there()
        await asyncio.sleep(BEING_CREATED_SECONDS)
        assert it.working is not None
        it.working.cancel()
        it.start()
        await asyncio.sleep(5)
        assert not await it.is_there()


def drawn(number: int) -> str:
    """An id that was drawn when virtual time began."""
    return f"{TASK[:-8]}{number:08x}"


def failed_now(task: str) -> TaskHead:
    """A task that has just ended."""
    return replace(failed(task), finished_at=int(EPOCH * 1000 + BEING_CREATED_SECONDS * 1000))
