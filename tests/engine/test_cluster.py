"""The whole engine with real agents' logic, in virtual time."""

from __future__ import annotations

import asyncio

from coordinator.core.task import TaskStatus
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.core.stage import spec

NAMES = ("n1", "n2", "n3")


async def started(cluster: Cluster, nodes: tuple[str, ...] = NAMES) -> None:
    """Start agents and let them speak."""
    for name in nodes:
        await cluster.node(name)
    await asyncio.sleep(1.0)


@virtual
async def test_a_task_is_pulled_on_every_node() -> None:
    """Its events tell of each node once, in order, with one end."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await started(cluster)
        task = await cluster.create(leader)
        head = await cluster.over(leader, task)
        assert head.status is TaskStatus.COMPLETED
        assert head.counts is not None
        assert (head.counts.total, head.counts.completed) == (3, 3)
        await cluster.told(leader, task)
        told = await cluster.events(task)
        assert told[:2] == ["task.created", "task.started"]
        assert sorted(told[2:-1]) == [f"node.succeeded {name}" for name in NAMES]
        assert told[-1] == "task.completed"


@virtual
async def test_a_leader_that_is_killed_is_followed_by_one_that_goes_on() -> None:
    """No attempt is lost, nothing is pulled twice, and every event is told once and in order."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        for name in NAMES:
            await cluster.node(name, seconds=30.0)
        await asyncio.sleep(1.0)
        task = await cluster.create(first, spec("a", batch_size=2))
        await asyncio.sleep(31.0)
        second = await cluster.coordinator("c2")
        await first.kill()
        head = await cluster.over(second, task)
        assert head.status is TaskStatus.COMPLETED
        assert head.counts is not None
        assert head.counts.retry_count == 0
        assert await cluster.outcomes() == len(NAMES)
        await asyncio.sleep(5.0)
        told = await cluster.events(task)
        assert told[:2] == ["task.created", "task.started"]
        assert len(told) == len(set(told)) == len(NAMES) + 3
        assert told[-1] == "task.completed"


@virtual
async def test_a_cancel_stops_what_runs() -> None:
    """Head, agents and events agree."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1", seconds=60.0)
        await asyncio.sleep(1.0)
        task = await cluster.create(leader)
        await asyncio.sleep(3.0)
        head = await leader.service.cancel(task)
        assert head.status is TaskStatus.CANCELLED
        await cluster.told(leader, task)
        await cluster.until(lambda: not leader.service.nodes.get("n1").pulling)  # type: ignore[union-attr]
        assert (await cluster.events(task))[-1] == "task.cancelled"
