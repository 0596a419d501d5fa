"""Agents that are killed, come back, or do not, under a leader that stays or changes."""

from __future__ import annotations

import asyncio

from common.reasons import Reason
from coordinator.core.task import TaskStatus
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.histories import NAMES, agents, hooked, is_whole


@virtual
async def test_an_agent_that_is_killed_and_restarted_does_its_work() -> None:
    """At any moment of it; the attempt that died with it costs no retry."""
    for tenths in range(0, 60, 7):
        async with Cluster() as cluster:
            leader = await cluster.leader()
            await agents(cluster, seconds=3.0)
            task = await cluster.create(leader, hooked(batch_size=3))
            await asyncio.sleep(tenths / 10)
            await cluster.nodes["n2"].kill()
            await asyncio.sleep(1.0)
            await cluster.node("n2", seconds=3.0)
            await is_whole(cluster, leader, task)


@virtual
async def test_an_agent_that_does_not_come_back_is_given_up_once() -> None:
    """Its node fails for that reason, and the task with it, after the wait that is allowed."""
    async with Cluster() as cluster:
        leader = await cluster.leader(agent_wait=30.0)
        await agents(cluster, seconds=10.0)
        task = await cluster.create(leader)
        await asyncio.sleep(3.0)
        await cluster.nodes["n2"].kill()
        head = await cluster.over(leader, task, within=120.0)
        assert head.status is TaskStatus.FAILED
        shot = await leader.service.tasks.snapshot_with_nodes(task)
        assert shot.run is not None
        assert shot.run.by_name["n2"].reason is Reason.AGENT_LOST
        await cluster.told(leader, task)
        told = await cluster.events(task)
        assert told.count("node.failed n2") == 1
        assert told[-1] == "task.failed"


@virtual
async def test_leader_and_agent_that_die_together() -> None:
    """The next leader hears of neither from the other."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await agents(cluster, seconds=20.0)
        task = await cluster.create(first, hooked(batch_size=2))
        await asyncio.sleep(5.0)
        await first.kill()
        await cluster.nodes["n1"].kill()
        await cluster.node("n1", seconds=20.0)
        await is_whole(cluster, second, task)


@virtual
async def test_what_agents_finish_while_nobody_leads_counts_once() -> None:
    """They keep it until somebody is there to store it; no attempt is made twice for that."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await agents(cluster, seconds=3.0)
        task = await cluster.create(first)
        await asyncio.sleep(2.0)
        await first.kill()
        await asyncio.sleep(60.0)
        assert await cluster.outcomes() == 0
        second = await cluster.coordinator("c2")
        await is_whole(cluster, second, task)
        assert await cluster.outcomes() == len(NAMES)


@virtual
async def test_an_agent_that_is_cut_off_stores_what_it_did_when_it_is_back() -> None:
    """Longer than heartbeats may be missed, shorter than it is waited for."""
    async with Cluster() as cluster:
        leader = await cluster.leader(agent_wait=120.0)
        await agents(cluster, seconds=5.0)
        task = await cluster.create(leader)
        await asyncio.sleep(2.0)
        cluster.nodes["n3"].bus.link.cut()
        await asyncio.sleep(60.0)
        cluster.nodes["n3"].bus.link.mend()
        await is_whole(cluster, leader, task)


@virtual
async def test_a_failed_attempt_is_tried_again_over_a_change_of_leader() -> None:
    """The retry that the first leader planned is made by the second one, once."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await agents(cluster, "n1", failure_rate=1.0)
        task = await cluster.create(first, spec("a", max_retries=2, retry_delay=30))
        await asyncio.sleep(5.0)
        await first.kill()
        head = await cluster.over(second, task)
        assert head.status is TaskStatus.FAILED
        await cluster.told(second, task)
        assert await cluster.outcomes() == 3
        assert await cluster.events(task) == [
            "task.created",
            "task.started",
            "node.retrying n1",
            "node.retrying n1",
            "node.failed n1",
            "task.failed",
        ]
