"""Pausing and repeating tasks in a whole fleet, by whichever coordinator is asked."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.core.task import TaskStatus
from coordinator.port import NoSuchTask, NotRunning
from sandbox.simulator.cluster import Cluster, Coordinator, task_of
from sandbox.virtual.time import virtual

NAMES = ("n1", "n2", "n3", "n4")


async def begun(cluster: Cluster) -> tuple[Coordinator, Coordinator, str]:
    """A task of four nodes, one at a time, that runs under two coordinators."""
    first = await cluster.leader()
    second = await cluster.coordinator("c2")
    for name in NAMES:
        await cluster.node(name, seconds=10.0)
    await cluster.until(lambda: second.service.not_ready() is None)
    await asyncio.sleep(15.0)
    task = (await first.service.create(task_of("a", batch_size=1), None)).head.id
    await asyncio.sleep(5.0)
    return first, second, task


def done(coordinator: Coordinator, task: str) -> int:
    """How many nodes have succeeded, as a coordinator tells it."""
    shot = coordinator.service.tasks.snapshot(task)
    assert shot is not None
    assert shot.run is not None
    return shot.run.counts().completed


@virtual
async def test_a_task_is_paused_and_resumed_by_either_coordinator() -> None:
    """The pull that runs ends, no other begins; both say so, and why it waits."""
    async with Cluster() as cluster:
        first, second, task = await begun(cluster)
        assert (await second.service.pause(task, paused=True)).paused
        await asyncio.sleep(100.0)
        for coordinator in (first, second):
            assert done(coordinator, task) == 1
            shot = coordinator.service.tasks.snapshot(task)
            assert shot is not None
            assert (shot.head.status, shot.head.paused) == (TaskStatus.RUNNING, True)
            assert shot.waiting_for is not None
            assert shot.waiting_for.code == "task.paused"
        assert (await first.service.pause(task, paused=True)).paused
        assert not (await first.service.pause(task, paused=False)).paused
        head = await cluster.over(second, task)
        assert (head.status, head.paused) == (TaskStatus.COMPLETED, False)
        with pytest.raises(NotRunning):
            await second.service.pause(task, paused=True)
        with pytest.raises(NoSuchTask):
            await second.service.pause("task-20200101-000000-00000000", paused=True)


@virtual
async def test_a_pause_outlives_its_leader() -> None:
    """The next one lets no node begin, and goes on when it is told to."""
    async with Cluster() as cluster:
        first, second, task = await begun(cluster)
        await first.service.pause(task, paused=True)
        await asyncio.sleep(20.0)
        await first.kill()
        await cluster.until(lambda: second.service.standing().leads, within=60.0)
        await asyncio.sleep(100.0)
        assert done(second, task) == 1
        await second.service.pause(task, paused=False)
        assert (await cluster.over(second, task)).status is TaskStatus.COMPLETED


@virtual
async def test_a_paused_task_can_be_cancelled() -> None:
    """And a pause that comes with its end changes nothing."""
    async with Cluster() as cluster:
        first, second, task = await begun(cluster)
        await first.service.pause(task, paused=True)
        cancelled = await second.service.cancel(task)
        assert (cancelled.status, cancelled.paused) == (TaskStatus.CANCELLED, False)
        with pytest.raises(NotRunning):
            await first.service.pause(task, paused=True)


@virtual
async def test_many_who_pause_and_resume_at_once_lose_nothing() -> None:
    """The last word counts, and the task ends."""
    async with Cluster() as cluster:
        first, second, task = await begun(cluster)
        await asyncio.gather(
            *(
                coordinator.service.pause(task, paused=paused)
                for coordinator in (first, second)
                for paused in (True, False, True)
            )
        )
        await second.service.pause(task, paused=False)
        assert (await cluster.over(first, task)).status is TaskStatus.COMPLETED


@virtual
async def test_every_coordinator_names_a_tasks_retries() -> None:
    """For as long as they are kept."""
    async with Cluster() as cluster:
        first, second, task = await begun(cluster)
        await second.service.cancel(task)
        again = (await second.service.create(task_of("a"), None, retry_of=task)).head.id
        await cluster.over(first, again)
        await cluster.over(second, again)
        for coordinator in (first, second):
            shot = coordinator.service.tasks.snapshot(task)
            assert shot is not None
            assert shot.retries == (again,)
            assert coordinator.replica is not None
            coordinator.replica.tasks.forget(again)
            shot = coordinator.service.tasks.snapshot(task)
            assert shot is not None
            assert shot.retries == ()
