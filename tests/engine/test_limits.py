"""Limits that no client can exceed: pending tasks, their names, and what finished ones leave."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable

import pytest

from coordinator.core.packed import pack, unpack
from coordinator.core.task import Creator, TaskHead, TaskStatus
from coordinator.engine.heads import Heads, KeptHead
from coordinator.port import IdempotencyKey, TooManyPending, TooManyPendingOfUser
from coordinator.store import StoredHead
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.core.stage import head, spec

ENDING = "." + "x" * 200
MANY = tuple(f"node-{number:05}{ENDING}" for number in range(2_000))


def names_in_memory() -> int:
    """How many of the names of ``MANY`` are alive, beside those that this module holds."""
    ours = {id(name) for name in MANY}
    held: set[int] = set()
    for container in gc.get_objects():
        if isinstance(container, list | tuple) and container is not MANY:
            names = (x for x in container if isinstance(x, str) and x.endswith(ENDING))
            held.update(map(id, names))
    return len(held - ours)


@virtual
async def test_as_many_tasks_wait_as_may() -> None:
    """One more is refused, also while others are being stored; a place that comes free is given."""
    async with Cluster(max_pending=2) as cluster:
        leader = await cluster.leader(max_concurrent_tasks=1)
        await cluster.node("n1", seconds=1000.0)
        running = await cluster.create(leader)
        await cluster.until(lambda: leader.service.active_tasks() == 1)
        waiting = [await cluster.create(leader) for _ in range(2)]
        with pytest.raises(TooManyPending):
            await cluster.create(leader)
        await leader.service.cancel(waiting[0])
        await cluster.create(leader)
        with pytest.raises(TooManyPending):
            await cluster.create(leader)
        await leader.service.cancel(running)
        await cluster.until(lambda: len(leader.service.tasks.ids(TaskStatus.PENDING)) == 1)
        await cluster.create(leader)


@virtual
async def test_as_many_tasks_of_one_user_wait_as_may() -> None:
    """Also while they are being stored, and after a change of leader; others are not in the way."""
    ann, same = Creator(user="ann", way="oidc"), Creator(user="ann", way="tokens")
    async with Cluster() as cluster:
        leader = await cluster.leader(max_concurrent_tasks=1, first_look=1e6)

        async def create(creator: Creator | None) -> TaskHead:
            return (await leader.service.create(spec("a"), None, creator=creator)).head

        made = await asyncio.gather(*(create(ann) for _ in range(150)), return_exceptions=True)
        refused = [each for each in made if isinstance(each, TooManyPendingOfUser)]
        assert (len(refused), refused[0].user, refused[0].most) == (50, "ann", 100)
        assert (await create(same)).created_by == same
        assert (await create(None)).created_by is None
        await leader.kill()
        leader = await cluster.leader(max_concurrent_tasks=1, first_look=1e6)
        with pytest.raises(TooManyPendingOfUser):
            await create(ann)
        [first, *_] = [each for each in made if isinstance(each, TaskHead)]
        await leader.service.cancel(first.id)
        assert (await create(ann)).created_by == ann


@virtual
async def test_a_known_key_is_answered_although_nothing_more_is_taken() -> None:
    """A new one is refused and claims nothing, so that it can be used later."""
    async with Cluster(max_pending=1) as cluster:
        leader = await cluster.leader(max_concurrent_tasks=1, first_look=1e6)
        known, new = IdempotencyKey("a" * 64, "b" * 64), IdempotencyKey("c" * 64, "d" * 64)
        first = await leader.service.create(spec("a"), None, key=known)
        again = await leader.service.create(spec("a"), None, key=known)
        assert (again.is_new, again.head.id) == (False, first.head.id)
        with pytest.raises(TooManyPending):
            await leader.service.create(spec("a"), None, key=new)
        await leader.service.cancel(first.head.id)
        later = await leader.service.create(spec("a"), None, key=new)
        assert later.is_new


@virtual
async def test_names_of_pending_tasks_stay_in_the_store() -> None:
    """Also over a restart; they are read when the task's turn comes, and pulled on those nodes."""
    async with Cluster() as cluster:
        leader = await cluster.leader(max_concurrent_tasks=1)
        await cluster.node("n1", seconds=5.0)
        await cluster.create(leader)
        for _ in range(5):
            await cluster.create(leader, names=[name[:1] + name[1:] for name in MANY])
        last = await cluster.create(leader, spec("a", priority=10), names=["n1"])
        # The bus in memory keeps bytes, not names.
        assert names_in_memory() == 0
        await leader.kill()
        second = await cluster.coordinator("c2", max_concurrent_tasks=1)
        await cluster.until(lambda: second.leads)
        assert names_in_memory() == 0
        over = await cluster.over(second, last)
        assert over.counts is not None
        assert (over.status, over.counts.total) == (TaskStatus.COMPLETED, 1)


def stored(number: int, status: TaskStatus, labels: int = 0) -> StoredHead:
    """A head with so many labels."""
    wanted = spec("a", node_selector={f"key-{n}": f"value-{n}" for n in range(labels)})
    return StoredHead(head(f"task-20260101-000000-{number:08x}", wanted, status), number)


def reachable(roots: Iterable[object]) -> int:
    """Bytes of everything that Python objects hold, each once."""
    seen: set[int] = set()
    pending, size = list(roots), 0
    while pending:
        found = pending.pop()
        if id(found) in seen or isinstance(found, type | TaskStatus):
            continue
        seen.add(id(found))
        size += found.__sizeof__()
        pending += gc.get_referents(found)
    return size


@pytest.mark.pure
def test_a_finished_head_is_kept_packed() -> None:
    """It takes less memory than its own JSON; nothing of it is lost."""
    over = stored(1, TaskStatus.COMPLETED, labels=2_000)
    packed = pack(over.head)
    assert unpack(packed) == over.head
    kept = KeptHead(over)
    assert kept.head == over.head
    assert kept.stored == over
    assert len(packed) * 10 < reachable([over.head.spec.node_selector])


@pytest.mark.pure
@pytest.mark.parametrize("labels", [0, 3, 500])
def test_heads_large_and_small_come_back_as_they_were(labels: int) -> None:
    """Whatever became of the task."""
    for status in TaskStatus:
        given = stored(7, status, labels)
        heads = Heads()
        assert heads.apply(given)
        found = heads.by_id.get("task-20260101-000000-00000007")
        assert found is not None
        assert found.head == given.head
        is_large = status is TaskStatus.PENDING and labels == 500
        assert (found.open is not None) is not (status.is_final or is_large)


@pytest.mark.pure
def test_heads_are_counted_by_status() -> None:
    """Each once, by its newest revision; what is removed is not."""
    heads = Heads()
    for number in range(1, 4):
        heads.apply(stored(number, TaskStatus.PENDING))
    changed = StoredHead(head("task-20260101-000000-00000002", spec("a"), TaskStatus.RUNNING), 9)
    assert heads.apply(changed)
    assert not heads.apply(stored(2, TaskStatus.PENDING))
    assert (heads.counts[TaskStatus.PENDING], heads.counts[TaskStatus.RUNNING]) == (2, 1)
    assert heads.newest_first(TaskStatus.PENDING) == [
        "task-20260101-000000-00000003",
        "task-20260101-000000-00000001",
    ]
    assert heads.remove("task-20260101-000000-00000003")
    assert not heads.remove("task-20260101-000000-00000003")
    assert heads.counts[TaskStatus.PENDING] == 1
    assert heads.newest_first(None) == [
        "task-20260101-000000-00000002",
        "task-20260101-000000-00000001",
    ]
