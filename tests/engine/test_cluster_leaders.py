"""Leaders that are killed, cut off, deposed or stopped at every phase of a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from coordinator.core.task import TaskStatus
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.time import virtual
from tests.engine.histories import (
    NAMES,
    Write,
    agents,
    at_write,
    head_says,
    hooked,
    is_whole,
    subject_has,
    told,
)

PHASES: dict[str, Callable[[Write], bool]] = {
    "pending": head_says(TaskStatus.PENDING),
    "starting": subject_has("IPS_LISTS.task-"),
    "running, not known": head_says(TaskStatus.RUNNING),
    "running, untold": subject_has("event.task.created"),
    "running, told": subject_has("event.task.started"),
    "an outcome is in": subject_has(".result.task-"),
    "an outcome is told": subject_has("event.node.succeeded"),
    "over, not known": head_says(TaskStatus.COMPLETED, untold=2),
    "over, told": subject_has("event.task.completed"),
    "over, one of two noted": head_says(TaskStatus.COMPLETED, untold=1),
    "over, all noted": head_says(TaskStatus.COMPLETED, untold=0),
}
"""The last write of a leader, of which it never gets the answer."""


async def two(cluster: Cluster) -> tuple[Coordinator, Coordinator]:
    """One that leads, and one that stands by."""
    first = await cluster.leader()
    second = await cluster.coordinator("c2")
    await asyncio.sleep(1.0)
    return first, second


@pytest.mark.parametrize("phase", PHASES)
@virtual
async def test_a_leader_killed_at_a_phase_is_followed_without_loss(phase: str) -> None:
    """It dies in the moment in which the store has what is named, before it hears of that."""
    async with Cluster() as cluster:
        first, second = await two(cluster)
        await agents(cluster)
        with at_write(cluster, PHASES[phase], first.bus.link.cut) as come:
            creating = asyncio.create_task(cluster.create(first, hooked(batch_size=2)))
            async with asyncio.timeout(60):
                await come.wait()
            await first.kill()
        creating.cancel()
        await asyncio.wait([creating])
        await cluster.until(lambda: second.leads)
        (task,) = second.service.tasks.ids()
        await is_whole(cluster, second, task)
        assert {status for _, status in cluster.webhooks.bodies} == {TaskStatus.COMPLETED}


@pytest.mark.parametrize("phase", PHASES)
@virtual
async def test_a_leader_cut_off_at_a_phase_comes_back_as_a_standby(phase: str) -> None:
    """What it had sent and never heard of, and what it says when it is back, doubles nothing."""
    async with Cluster() as cluster:
        first, second = await two(cluster)
        await agents(cluster)
        with at_write(cluster, PHASES[phase], first.bus.link.cut) as come:
            creating = asyncio.create_task(cluster.create(first, hooked(batch_size=2)))
            async with asyncio.timeout(60):
                await come.wait()
        await cluster.until(lambda: second.leads)
        first.bus.link.mend()
        await asyncio.wait([creating])
        if not creating.cancelled():
            creating.exception()
        (task,) = second.service.tasks.ids()
        await is_whole(cluster, second, task)
        assert not first.leads


@virtual
async def test_a_leader_killed_at_any_moment() -> None:
    """Writes take a while here, so that some of these moments are between any two of them."""
    for tenths in range(4, 60, 4):
        async with Cluster(seed=tenths) as cluster:
            first, second = await two(cluster)
            await agents(cluster)
            for coordinator in (first, second):
                coordinator.bus.link.delay = (0.05, 0.3)
            task = await cluster.create(first, hooked(batch_size=2))
            await asyncio.sleep(tenths / 10)
            await first.kill()
            await is_whole(cluster, second, task)


@virtual
async def test_leaders_that_are_killed_one_after_the_other() -> None:
    """Four terms for one task of three batches."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster, seconds=20.0)
        task = await cluster.create(leader, hooked(batch_size=1))
        for number in range(2, 5):
            await asyncio.sleep(5.0)
            following = await cluster.coordinator(f"c{number}")
            await asyncio.sleep(1.0)
            await leader.kill()
            leader = following
            await cluster.until(lambda: leader.leads)  # noqa: B023
        await is_whole(cluster, leader, task)
        types = [event["type"] for event in await told(cluster, task)]
        assert types.count("task.completed") == 1


@virtual
async def test_a_leader_that_stops_in_order_is_followed_at_once() -> None:
    """It gives the lease back; nobody waits until that has run out."""
    async with Cluster() as cluster:
        first, second = await two(cluster)
        await agents(cluster, seconds=10.0)
        task = await cluster.create(first)
        await asyncio.sleep(3.0)
        await first.stop()
        async with asyncio.timeout(5.0):
            await cluster.until(lambda: second.leads)
        await is_whole(cluster, second, task)


@virtual
async def test_of_two_coordinators_both_answer_and_one_leads() -> None:
    """Whoever is asked, the same task comes to the same end, by one leader."""
    async with Cluster() as cluster:
        first, second = await two(cluster)
        await agents(cluster)
        await is_whole(cluster, first, await cluster.create(second))
        assert first.leads
        assert not second.leads


@virtual
async def test_two_that_start_together_agree_on_one() -> None:
    """Whichever it is; and no task is done by both."""
    for seed in range(5):
        async with Cluster(seed=seed) as cluster:
            pair = [await cluster.coordinator("c1"), await cluster.coordinator("c2")]
            await agents(cluster)
            await cluster.until(lambda: any(one.leads for one in pair))  # noqa: B023
            await asyncio.sleep(5.0)
            leading = [one for one in pair if one.leads]
            assert len(leading) == 1
            await is_whole(cluster, leading[0], await cluster.create(leading[0]))


@virtual
async def test_a_cancel_that_is_the_last_word_of_a_leader() -> None:
    """It has landed: the next leader stops what runs, and tells of that end alone."""
    async with Cluster() as cluster:
        first, second = await two(cluster)
        await agents(cluster, seconds=60.0)
        task = await cluster.create(first)
        await asyncio.sleep(3.0)
        with at_write(cluster, head_says(TaskStatus.CANCELLED), first.bus.link.cut) as come:
            cancelling = asyncio.create_task(first.service.cancel(task))
            await come.wait()
            await first.kill()
        cancelling.cancel()
        await asyncio.wait([cancelling])
        head = await cluster.over(second, task)
        assert head.status is TaskStatus.CANCELLED
        await cluster.told(second, task)
        nodes = second.service.nodes
        await cluster.until(lambda: not any(nodes.get(name).pulling for name in NAMES))  # type: ignore[union-attr]
        await asyncio.sleep(30.0)
        assert await cluster.events(task) == ["task.created", "task.started", "task.cancelled"]
