"""What is stored comes in: at the start, and as it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from common import subjects
from common.bus import StoreUnavailable
from common.subjects import AttemptKey
from common.texts import LIST_DAMAGED
from coordinator.core.events import OutcomeStored, TaskCreated, TaskEnded, TaskStarted
from coordinator.core.task import TaskHead, TaskSpec, TaskStatus
from coordinator.engine.intake import Intake, Loaded
from coordinator.store import NAMED, Store, StoredHead
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.time import virtual
from tests.core.stage import head, pulled, spec
from tests.engine.following import NAMING, OTHER, TASK, Following, connected, numbered

PENDING, RUNNING, CANCELLED = TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.CANCELLED
LISTS = f"KV_{subjects.LISTS_BUCKET}"


@dataclass
class Written:
    """A store that others write to."""

    bus: VirtualBus
    store: Store

    async def create(self, task: str = TASK, wanted: TaskSpec | None = None) -> StoredHead:
        """Somebody creates a task."""
        return await self.store.create_head(head(task, wanted))

    async def start(self, task: str = TASK, *nodes: str) -> StoredHead:
        """Somebody starts it."""
        names = nodes or ("n1",)
        await self.store.save_list(task, "nodes", names)
        return await self.swap(task, status=RUNNING, nodes=len(names), node_list="nodes")

    async def swap(self, task: str, **fields: object) -> StoredHead:
        """Somebody rewrites its head."""
        stored = await self.store.load_head(task)
        assert stored is not None
        changed: TaskHead = replace(stored.head, **fields)
        return await self.store.swap_head(stored, changed)

    async def outcome(self, node: str = "n1", task: str = TASK, attempt: int = 1) -> None:
        """An agent hands over what it did."""
        await self.store.store_outcome(AttemptKey(task, node, attempt), pulled())


@asynccontextmanager
async def intake() -> AsyncIterator[tuple[Written, Following, Intake]]:
    """What is stored, and who takes it in."""
    async with connected() as bus:
        following = Following(Store(bus))
        written = Written(bus, Store(bus))
        taking = Intake(following.store, following.tasks, following.spawn)
        try:
            yield written, following, taking
        finally:
            following.drop_jobs()


@virtual
async def test_an_empty_store_is_read_from_its_very_beginning() -> None:
    """Where nothing is, nothing is told."""
    async with intake() as (_, following, taking):
        assert await taking.load() == Loaded(0, 0)
        assert following.fed == []


@virtual
async def test_everything_that_is_stored_is_known_afterwards() -> None:
    """Unfinished tasks are told in the order of their creation, as found; finished ones are not."""
    async with intake() as (written, following, taking):
        for number in range(1, 5):
            await written.create(numbered(number))
        await written.start(numbered(3), "n1", "n2")
        await written.outcome("n2", numbered(3))
        await written.outcome("n1", numbered(9))
        await written.swap(numbered(4), status=CANCELLED)
        await written.start(numbered(1), "n5")
        loaded = await taking.load()
        assert loaded == Loaded(heads=7, outcomes=2)
        told = [(type(e), e.head.id) for e in following.fed if not isinstance(e, OutcomeStored)]  # type: ignore[union-attr]
        assert told == [
            (TaskStarted, numbered(1)),
            (TaskCreated, numbered(2)),
            (TaskStarted, numbered(3)),
        ]
        assert following.fed[1] == TaskCreated(head(numbered(2)), 2, found=True)
        assert len(following.tasks) == 4
        assert following.phase("n2", numbered(3)) == "succeeded"
        assert following.tasks.outcomes_seen.upto == 2
        outcomes = [event for event in following.fed if isinstance(event, OutcomeStored)]
        assert [(event.key.node, event.live) for event in outcomes] == [("n2", False)]


@virtual
async def test_the_names_of_a_pending_task_are_not_loaded_with_it() -> None:
    """Ten thousand of them stay in the store until its turn comes."""
    async with intake() as (written, following, taking):
        await written.store.save_list(TASK, NAMED, ["n1", "n2"])
        created = await written.create(wanted=NAMING)
        await taking.load()
        assert following.fed == [TaskCreated(created.head, 1, found=True)]


@virtual
async def test_a_head_that_was_deleted_is_not_known_but_read_past() -> None:
    """Whoever watches from there on does not read it again."""
    async with intake() as (written, following, taking):
        created = await written.create()
        await written.create(OTHER)
        await written.store.delete_head(created)
        assert await taking.load() == Loaded(heads=3, outcomes=0)
        assert [one.head.id for one in following.tasks] == [OTHER]


@virtual
async def test_a_store_that_is_away_at_the_start_ends_the_load() -> None:
    """Whoever runs it begins anew."""
    async with intake() as (written, following, taking):
        await written.create()
        written.bus.jetstream.lead(subjects.RESULTS, leads=False)
        with pytest.raises(StoreUnavailable):
            await taking.load()
        assert following.fed == []


@virtual
async def test_a_store_that_goes_away_during_the_load_is_waited_for() -> None:
    """What is missing of a list would be missing of its task."""
    async with intake() as (written, following, taking):
        await written.create()
        await written.start(TASK, "n1", "n2")
        await written.store.save_list(OTHER, NAMED, ["n3"])
        await written.create(OTHER, NAMING)
        written.bus.jetstream.lead(LISTS, leads=False)
        loading = asyncio.create_task(taking.load())
        await asyncio.sleep(120.0)
        assert not loading.done()
        written.bus.jetstream.lead(LISTS, leads=True)
        await loading
        assert set(following.core.runs[TASK].by_name) == {"n1", "n2"}
        assert OTHER in following.core.waiting


@virtual
async def test_a_damaged_list_is_its_own_task_s_fault() -> None:
    """Found at the load or on the way: its task waits to be failed, the others go on."""
    async with intake() as (written, following, taking):
        noted: list[tuple[str, str]] = []
        following.tasks.listen_damage(lambda task, text: noted.append((task, text.code)))
        for number in (1, 2, 4):
            await written.create(numbered(number))
        await written.start(numbered(1), "n1", "n2")
        await written.swap(numbered(1), nodes=3)
        await written.start(numbered(2), "n1", "n2")
        loaded = await taking.load()
        assert noted == [(numbered(1), LIST_DAMAGED.code)]
        taking.follow(loaded)
        await written.start(numbered(4), "n1")
        await written.create(numbered(5))
        await written.swap(numbered(5), status=RUNNING, nodes=1, node_list="nowhere")
        await asyncio.sleep(1.0)
        assert noted[1:] == [(numbered(5), LIST_DAMAGED.code)]
        assert set(following.tasks.damaged) == {numbered(number) for number in (1, 5)}
        assert set(following.core.runs) == {numbered(2), numbered(4)}
        for number in (1, 5):
            await written.swap(numbered(number), status=TaskStatus.FAILED)
        await asyncio.sleep(1.0)
        assert not following.tasks.damaged
        assert not following.core.waiting
        assert set(following.core.runs) == {numbered(2), numbered(4)}


@virtual
async def test_what_is_written_after_the_load_comes_in() -> None:
    """Also what was written between the two; each once."""
    async with intake() as (written, following, taking):
        await written.create()
        loaded = await taking.load()
        await written.start(TASK, "n1", "n2")
        await written.outcome("n1")
        taking.follow(loaded)
        await asyncio.sleep(1.0)
        await written.outcome("n2")
        await asyncio.sleep(1.0)
        assert following.phase("n1") == "succeeded"
        assert following.phase("n2") == "succeeded"
        assert following.tasks.outcomes_seen.upto == 2
        assert [type(event) for event in following.fed].count(TaskStarted) == 1
        await written.swap(TASK, status=CANCELLED)
        await asyncio.sleep(1.0)
        assert not following.core.runs
        assert isinstance(following.fed[-1], TaskEnded)


@virtual
async def test_a_head_that_is_deleted_is_forgotten() -> None:
    """By hand or after its retention."""
    async with intake() as (written, following, taking):
        taking.follow(await taking.load())
        created = await written.create()
        await asyncio.sleep(1.0)
        assert following.tasks.head(TASK) is not None
        await written.store.delete_head(created)
        await asyncio.sleep(1.0)
        assert following.tasks.head(TASK) is None
        assert following.fed[-1] == TaskEnded(created.head)


@virtual
async def test_outcomes_that_outrun_their_start_count_all_the_same() -> None:
    """Two streams have no common order: the outcome was read before the head that started it."""
    async with intake() as (written, following, taking):
        taking.follow(await taking.load())
        await written.outcome("n1")
        await asyncio.sleep(1.0)
        await written.create()
        await written.start(TASK, "n1", "n2")
        await asyncio.sleep(1.0)
        assert following.phase("n1") == "succeeded"
        assert following.phase("n2") == "waiting"


@virtual
async def test_a_restarted_server_is_followed_on() -> None:
    """Nothing is missed and nothing told twice."""
    async with intake() as (written, following, taking):
        running = asyncio.create_task(written.bus.run())
        await written.create()
        await written.start(TASK, "n1", "n2")
        taking.follow(await taking.load())
        await asyncio.sleep(1.0)
        written.bus.server.kill()
        await asyncio.sleep(30.0)
        written.bus.server.start()
        await written.bus.wait_connected()
        await written.outcome("n1")
        await asyncio.sleep(10.0)
        assert following.phase("n1") == "succeeded"
        outcomes = [event for event in following.fed if isinstance(event, OutcomeStored)]
        assert len(outcomes) == 1
        running.cancel()
        await asyncio.wait([running])


@virtual
async def test_a_poisoned_outcome_fails_its_attempt_and_no_load() -> None:
    """A coordinator that ended by it would end at every start."""
    async with intake() as (written, following, taking):
        await written.store.create_head(head(TASK, spec(max_retries=0)))
        await written.start(TASK, "n1", "n2")
        deep = b'{"new":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        await written.bus.store(subjects.result(TASK, "n1", 1), deep, expect_last=0)
        await written.outcome("n2")
        await taking.load()
        assert (following.phase("n1"), following.phase("n2")) == ("failed", "succeeded")


@virtual
async def test_a_stranger_s_record_is_read_past() -> None:
    """Who waits for a task's newest record, whatever it is, does not wait for ever."""
    async with intake() as (written, following, taking):
        await written.create()
        await written.start(TASK, "n1", "n2")
        taking.follow(await taking.load())
        await written.outcome("n1")
        strange = f"{subjects.PREFIX}.result.{TASK}.n1.0"
        await written.bus.store(strange, b"{}", expect_last=None)
        newest = await written.store.outcomes_end_of(TASK)
        assert newest == 2
        async with asyncio.timeout(1.0):
            await following.tasks.outcomes_seen.wait(TASK, newest)
        assert following.phase("n1") == "succeeded"
