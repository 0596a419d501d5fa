"""What is remembered, on a bus in memory: what is written, what is read of it, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec.structs import replace

from common import subjects
from common.bus import Conflict, KeyValue, StoreRefused, StoreUnavailable
from common.messages import Outcome
from common.subjects import AttemptKey
from common.texts import LIST_DAMAGED
from coordinator.core.run import UNDECODABLE
from coordinator.core.task import TaskStatus
from coordinator.port import TaskDamaged
from coordinator.store import (
    KEY_UNUSED_SECONDS,
    LIST_CHUNK_BYTES,
    NAMED,
    Gone,
    KeyRecord,
    Store,
    StoredHead,
)
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.refusals import STORE_FULL
from sandbox.virtual.time import virtual
from tests.core.stage import head, pulled
from tests.engine.following import OTHER, TASK, connected, numbered, outcome

DEEP = b'{"new":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
KEY = "idem." + "0" * 64


async def all_of(heads: AsyncIterator[StoredHead | Gone]) -> list[StoredHead | Gone]:
    """A finite reading."""
    return [stored async for stored in heads]


async def put(bus: VirtualBus, bucket: str, key: str, value: bytes) -> int:
    """Something that somebody else wrote."""
    return await bus.store(f"$KV.{bucket}.{key}", value, expect_last=None)


# ── heads ──


@virtual
async def test_a_head_is_created_once_and_swapped_by_whoever_read_it() -> None:
    """And keeps the order of its create."""
    async with connected() as bus:
        store = Store(bus)
        await store.create_head(head(OTHER))
        created = await store.create_head(head(TASK))
        assert (created.revision, created.order) == (2, 2)
        with pytest.raises(Conflict):
            await store.create_head(head(TASK))
        running = replace(created.head, status=TaskStatus.RUNNING)
        swapped = await store.swap_head(created, running)
        assert (swapped.revision, swapped.order) == (3, 2)
        with pytest.raises(Conflict):
            await store.swap_head(created, running)
        assert await store.load_head(TASK) == swapped
        assert await store.load_head(numbered(9)) is None


@virtual
async def test_a_deleted_head_is_gone_and_is_told_so() -> None:
    """Only its own revision is deleted."""
    async with connected() as bus:
        store = Store(bus)
        created = await store.create_head(head(TASK))
        with pytest.raises(Conflict):
            await store.delete_head(replace_revision(created, 7))
        assert not await store.was_deleted(TASK)
        await store.delete_head(created)
        assert await store.was_deleted(TASK)
        assert not await store.exists(TASK)
        assert not await store.was_deleted(OTHER)
        assert await all_of(store.load_heads()) == [Gone(TASK, 2)]


def replace_revision(stored: StoredHead, revision: int) -> StoredHead:
    """The same head at another place."""
    return StoredHead(stored.head, revision)


@virtual
async def test_heads_that_nobody_can_read_are_left_alone() -> None:
    """A newer version may have written them; the others are read."""
    async with connected() as bus:
        store = Store(bus)
        bad = [b"", b"null", b'{"id":7}', b"\xff", DEEP, msgspec.json.encode(head(OTHER))]
        for number, value in enumerate(bad, start=10):
            await put(bus, subjects.TASKS_BUCKET, numbered(number), value)
        created = await store.create_head(head(TASK))
        assert await all_of(store.load_heads()) == [created]
        assert await store.load_head(numbered(11)) is None
        assert await store.exists(numbered(11))


@virtual
async def test_changes_of_heads_are_watched() -> None:
    """From a revision on, deletions too; what cannot be read ends nothing."""
    async with connected() as bus:
        store, other, seen = Store(bus), Store(bus), list[StoredHead | Gone]()

        async def watch() -> None:
            async for stored in other.watch_heads(2):
                seen.append(stored)

        await store.create_head(head(OTHER))
        watching = asyncio.create_task(watch())
        created = await store.create_head(head(TASK))
        await asyncio.sleep(1.0)
        await put(bus, subjects.TASKS_BUCKET, numbered(3), DEEP)
        await store.delete_head(created)
        await asyncio.sleep(1.0)
        assert seen == [created, Gone(TASK, 4)]
        watching.cancel()
        await asyncio.wait([watching])


@virtual
async def test_what_was_written_here_is_no_news() -> None:
    """Whoever wrote a head knows it; what others make of it is told."""
    async with connected() as bus:
        store, other, seen = Store(bus), Store(bus), list[StoredHead | Gone]()

        async def watch() -> None:
            async for stored in store.watch_heads(1):
                seen.append(stored)

        replaced = await store.create_head(head(OTHER))
        newest = await other.swap_head(replaced, head(OTHER))
        watching = asyncio.create_task(watch())
        created = await store.create_head(head(TASK))
        await asyncio.sleep(1.0)
        swapped = await other.swap_head(created, head(TASK))
        await store.swap_head(swapped, head(TASK))
        await asyncio.sleep(1.0)
        assert seen == [newest, swapped]
        assert not store._own
        watching.cancel()
        await asyncio.wait([watching])


# ── lists ──


@virtual
async def test_a_list_of_any_length_comes_back_in_its_order() -> None:
    """No chunk exceeds what a message may hold."""
    async with connected() as bus:
        store = Store(bus)
        names = [f"{number:05d}." + "x" * 240 for number in range(10_000)]
        await store.save_list(TASK, NAMED, names)
        await store.save_list(TASK, "nodes-1-1", [])
        await store.save_list(OTHER, NAMED, ["n1"])
        chunks = await bus.subjects(f"KV_{subjects.LISTS_BUCKET}")
        assert len(chunks) > 10
        async for records in bus.replay(f"KV_{subjects.LISTS_BUCKET}"):
            assert all(len(r.data) < LIST_CHUNK_BYTES + 1024 for r in records)
        assert await store.load_list(TASK, NAMED) == names
        assert await store.load_list(TASK, "nodes-1-1") == []
        assert await store.load_list(TASK, "nodes-1-2") == []
        assert await store.tasks_with_lists() == {TASK, OTHER}


@virtual
async def test_what_is_no_chunk_of_a_list_is_left_out() -> None:
    """Its name says so, whatever is in it; it is counted."""
    async with connected() as bus:
        faults: list[str] = []
        store = Store(bus, faults.append)
        await store.save_list(TASK, NAMED, ["n1"])
        for key, value in (("1", b'["n2"]'), ("x", DEEP), ("y", b'["n3"]'), ("01", b'["n4"]')):
            await put(bus, subjects.LISTS_BUCKET, f"{TASK}.{NAMED}.{key}", value)
        assert await store.load_named(TASK) == ["n1", "n2"]
        assert faults == ["list"] * 3


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ({"0": b'["n1"]', "1": DEEP}, "part 1 is no list of node names"),
        ({"0": b'["n1"]', "1": b'["*"]'}, "part 1 is no list of node names"),
        ({"0": b'["n1"]', "1": b""}, "part 1 is no list of node names"),
        ({"0": b'["n1"]', "2": b'["n2"]'}, "a part of it is missing"),
        ({"0": b'["n1"]', "1": b'["n1"]'}, "it names a node twice"),
        ({}, "it is not there"),
    ],
)
def test_a_list_that_is_not_as_it_was_stored_is_damaged(chunks: dict[str, bytes], why: str) -> None:
    """It must not be taken for a shorter one; another task's list is not touched by it."""

    @virtual
    async def run() -> None:
        async with connected() as bus:
            faults: list[str] = []
            store = Store(bus, faults.append)
            await store.save_list(OTHER, NAMED, ["n1"])
            for key, value in chunks.items():
                await put(bus, subjects.LISTS_BUCKET, f"{TASK}.{NAMED}.{key}", value)
            with pytest.raises(TaskDamaged) as damage:
                await store.load_named(TASK)
            assert damage.value.text == LIST_DAMAGED(why=why)
            assert faults == ["list"]
            assert await store.load_named(OTHER) == ["n1"]

    run()


@virtual
async def test_a_list_whose_part_was_deleted_is_damaged() -> None:
    """A tombstone is no chunk."""
    async with connected() as bus:
        store = Store(bus)
        await store.save_list(TASK, NAMED, ["n1"])
        await KeyValue(bus, subjects.LISTS_BUCKET).delete(f"{TASK}.{NAMED}.0")
        with pytest.raises(TaskDamaged) as damage:
            await store.load_named(TASK)
        assert damage.value.text == LIST_DAMAGED(why="a part of it was deleted")


@virtual
async def test_a_started_task_s_list_has_as_many_names_as_its_head_says() -> None:
    """One that lost its last chunk would run on fewer."""
    async with connected() as bus:
        store = Store(bus)
        await store.save_list(TASK, "nodes", ["n1", "n2"])
        running = replace(head(TASK, status=TaskStatus.RUNNING), nodes=2, node_list="nodes")
        assert await store.load_nodes(running) == ["n1", "n2"]
        assert await store.load_nodes(head(OTHER, status=TaskStatus.RUNNING)) == []
        for wrong in (replace(running, nodes=3), replace(running, node_list="elsewhere")):
            with pytest.raises(TaskDamaged):
                await store.load_nodes(wrong)


@pytest.mark.parametrize("shown", [0, 1])
@virtual
async def test_a_copy_of_the_store_that_is_behind_damages_no_list(shown: int) -> None:
    """A consumer may be served by one; nothing is read from it before it has caught up."""
    async with connected() as bus:
        store = Store(bus)
        names = [f"{number:05d}." + "x" * 240 for number in range(2_000)]
        await store.save_list(TASK, NAMED, names[:shown])
        bus.jetstream.hold_copies(f"KV_{subjects.LISTS_BUCKET}")
        await store.save_list(TASK, NAMED, names)
        await store.save_list(TASK, "nodes", names)
        running = replace(head(TASK, status=TaskStatus.RUNNING), nodes=2_000, node_list="nodes")
        async with asyncio.TaskGroup() as reading:
            named = reading.create_task(store.load_named(TASK))
            nodes = reading.create_task(store.load_nodes(running))
            await asyncio.sleep(10)
            assert [named.done(), nodes.done()] == [False, False]
            bus.jetstream.catch_up(f"KV_{subjects.LISTS_BUCKET}")
        assert named.result() == names
        assert nodes.result() == names


# ── outcomes ──


@virtual
async def test_the_first_outcome_of_an_attempt_stays() -> None:
    """For ever."""
    async with connected() as bus:
        store, key = Store(bus), AttemptKey(TASK, "n1.example", 1)
        assert await store.outcomes_end() == 0
        await store.store_outcome(key, pulled())
        with pytest.raises(Conflict):
            await store.store_outcome(key, Outcome())
        assert await store.outcomes_end() == 1
        (event,) = [one async for one in store.load_outcomes(TASK, 1)]
        assert (event.key, event.outcome, event.seq, event.live) == (key, pulled(), 1, False)


@virtual
async def test_outcomes_of_one_task_are_read_up_to_a_place() -> None:
    """In their order; up to the very beginning there is none."""
    async with connected() as bus:
        store = Store(bus)
        for node, task in (("n1", TASK), ("n1", OTHER), ("n2", TASK), ("n3", TASK)):
            await store.store_outcome(AttemptKey(task, node, 1), pulled())
        nodes = [event.key.node async for event in store.load_outcomes(TASK, 3)]
        assert nodes == ["n1", "n2"]
        assert [event async for event in store.load_outcomes(TASK, 0)] == []
        assert await store.tasks_with_outcomes() == {TASK, OTHER}


@virtual
async def test_an_outcome_that_nobody_can_read_counts_as_a_failure() -> None:
    """It is that attempt's only; a subject that is none of ours is passed over."""
    async with connected() as bus:
        store, seen = Store(bus), list[tuple[str, Outcome, bool]]()

        async def watch() -> None:
            async for events, _ in store.watch_outcomes(1):
                seen.extend((event.key.node, event.outcome, event.live) for event in events)

        watching = asyncio.create_task(watch())
        await bus.store(subjects.result(TASK, "n1", 1), DEEP, expect_last=0)
        await bus.store(subjects.result(TASK, "n2", 1), b"\xff", expect_last=0)
        await bus.store(f"{subjects.PREFIX}.result.probe.probe.probe", b"{}", expect_last=None)
        await store.store_outcome(AttemptKey(TASK, "n3", 1), pulled())
        await asyncio.sleep(1.0)
        assert seen == [
            ("n1", UNDECODABLE, True),
            ("n2", UNDECODABLE, True),
            ("n3", pulled(), True),
        ]
        loaded = [event async for event in store.load_outcomes(TASK, 4)]
        assert [event.outcome for event in loaded] == [UNDECODABLE, UNDECODABLE, pulled()]
        watching.cancel()
        await asyncio.wait([watching])


# ── keys, and removal ──


@virtual
async def test_a_key_is_claimed_once() -> None:
    """Until its record is replaced by whoever read it."""
    async with connected() as bus:
        store = Store(bus)
        assert await store.load_key(KEY) is None
        await store.claim_key(KEY, KeyRecord(TASK, "body"))
        with pytest.raises(Conflict):
            await store.claim_key(KEY, KeyRecord(OTHER, "body"))
        found = await store.load_key(KEY)
        assert found == (KeyRecord(TASK, "body"), 1)
        await store.claim_key(KEY, KeyRecord(OTHER, "other"), 1)
        assert await store.load_key(KEY) == (KeyRecord(OTHER, "other"), 2)
        await put(bus, subjects.KEYS_BUCKET, KEY, DEEP)
        assert await store.load_key(KEY) is None


@virtual
async def test_nothing_stays_of_a_task_that_is_removed() -> None:
    """Its neighbours' records do, and a key that stands for another task by now."""
    async with connected() as bus:
        store = Store(bus)
        for task in (TASK, OTHER):
            await store.save_list(task, NAMED, ["n1"])
            await store.store_outcome(AttemptKey(task, "n1", 1), pulled())
        await store.claim_key(KEY, KeyRecord(OTHER, "body"))
        await store.purge_task(TASK, KEY)
        await store.purge_task(TASK, KEY)
        assert await store.tasks_with_outcomes() == {OTHER}
        assert await store.tasks_with_lists() == {OTHER}
        assert await store.load_key(KEY) is not None
        await store.purge_task(OTHER, KEY)
        assert await store.load_key(KEY) is None
        await store.claim_key(KEY, KeyRecord(TASK, "body"))


@virtual
async def test_keys_of_tasks_that_are_no_more_are_released() -> None:
    """Of a task that was deleted at once; of one that never came to be after a day."""
    async with connected() as bus:
        store = Store(bus)
        keys = {name: f"idem.{name}" for name in ("known", "deleted", "never", "unreadable", "bad")}
        tasks = {name: numbered(n) for n, name in enumerate(keys)}
        for name in ("known", "deleted"):
            stored = await store.create_head(head(tasks[name]))
            if name == "deleted":
                await store.delete_head(stored)
        await put(bus, subjects.TASKS_BUCKET, tasks["unreadable"], DEEP)
        for name, key in keys.items():
            await store.claim_key(key, KeyRecord(tasks[name], "body"))
        await put(bus, subjects.KEYS_BUCKET, keys["bad"], b"{}")

        async def left() -> set[str]:
            return {name for name, key in keys.items() if await store.load_key(key)}

        await store.release_keys({tasks["known"]}.__contains__, bus.server.now())
        assert await left() == {"known", "never", "unreadable"}
        later = bus.server.now() + KEY_UNUSED_SECONDS + 1
        await store.release_keys({tasks["known"]}.__contains__, later)
        assert await left() == {"known", "unreadable"}


# ── the store itself ──


@virtual
async def test_a_probe_leaves_nothing_that_anybody_reads() -> None:
    """However often it is made."""
    async with connected() as bus:
        store = Store(bus)
        created = await store.create_head(head(TASK))
        for _ in range(3):
            await store.probe()
        heads = await all_of(store.load_heads())
        assert [one for one in heads if isinstance(one, StoredHead)] == [created]
        assert await store.tasks_with_lists() == set()
        assert await store.tasks_with_outcomes() == set()
        assert (await bus.stream_state(subjects.RESULTS)).messages == 0


@pytest.mark.parametrize(
    "stream",
    ["KV_IPS_TASKS", "KV_IPS_LISTS", "KV_IPS_KEYS", subjects.RESULTS],
)
def test_a_probe_notices_whatever_does_not_take_writes(stream: str) -> None:
    """A full disk stops one stream after the other."""

    @virtual
    async def run() -> None:
        async with connected() as bus:
            store = Store(bus)
            bus.jetstream.refuse(stream, STORE_FULL)
            with pytest.raises(StoreRefused):
                await store.probe()
            bus.jetstream.refuse(stream, None)
            await store.probe()
            bus.jetstream.lead(stream, leads=False)
            with pytest.raises(StoreUnavailable):
                await store.probe()

    run()


@virtual
async def test_a_write_whose_answer_is_lost_has_landed() -> None:
    """Whoever repeats it is told of a conflict with himself."""
    async with connected() as bus:
        store = Store(bus)
        bus.link.answers_to_lose = 1
        with pytest.raises(StoreUnavailable):
            await store.store_outcome(AttemptKey(TASK, "n1", 1), pulled())
        with pytest.raises(Conflict):
            await store.store_outcome(AttemptKey(TASK, "n1", 1), pulled())
        (event,) = [event async for event in store.load_outcomes(TASK, 1)]
        assert event.key == outcome(1).key
