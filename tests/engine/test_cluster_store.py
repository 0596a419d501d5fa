"""A whole fleet while its bus is cut, its store is full or away, or answers get lost."""

from __future__ import annotations

import asyncio

import pytest

from common import subjects
from coordinator.core.task import TaskStatus
from coordinator.port import StoreAway
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.histories import agents, hooked, is_whole, told

HEADS, LISTS, KEYS = (
    f"KV_{bucket}"
    for bucket in (subjects.TASKS_BUCKET, subjects.LISTS_BUCKET, subjects.KEYS_BUCKET)
)
STREAMS = (HEADS, LISTS, KEYS, subjects.RESULTS, subjects.EVENTS)


@pytest.mark.parametrize("seconds", [2.0, 8.0, 30.0, 300.0])
@pytest.mark.parametrize("after", [0.0, 1.5, 5.0])
@virtual
async def test_a_leader_whose_bus_is_cut_for_a_while_goes_on(after: float, seconds: float) -> None:
    """Shorter or longer than its lease; agents go on meanwhile."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster, seconds=3.0)
        task = await cluster.create(leader, hooked(batch_size=2))
        await asyncio.sleep(after)
        leader.bus.link.cut()
        await asyncio.sleep(seconds)
        leader.bus.link.mend()
        await cluster.until(lambda: leader.leads)
        await is_whole(cluster, leader, task)
        assert cluster.webhooks.bodies == [(task, TaskStatus.COMPLETED)]


@pytest.mark.parametrize("seconds", [2.0, 30.0])
@virtual
async def test_a_server_that_is_killed_or_stands_still_is_waited_for(seconds: float) -> None:
    """By all of the fleet at once."""
    for pause in (False, True):
        async with Cluster() as cluster:
            keeping = asyncio.create_task(cluster.observer.run())
            leader = await cluster.leader()
            await agents(cluster, seconds=3.0)
            task = await cluster.create(leader, hooked(batch_size=2))
            await asyncio.sleep(4.5)
            server = cluster.server
            (server.pause if pause else server.kill)()
            await asyncio.sleep(seconds)
            (server.resume if pause else server.start)()
            await cluster.until(lambda: leader.leads)  # noqa: B023
            await is_whole(cluster, leader, task)
        await keeping


@virtual
async def test_connections_that_break_again_and_again_cost_nothing() -> None:
    """Of leader and agents, every second for ten seconds."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster, seconds=4.0)
        task = await cluster.create(leader, hooked(batch_size=2))
        for _ in range(10):
            await asyncio.sleep(1.0)
            for bus in (leader.bus, *(node.bus for node in cluster.nodes.values())):
                bus.link.drop()
        await is_whole(cluster, leader, task)


@pytest.mark.parametrize("stream", STREAMS)
@virtual
async def test_a_stream_that_is_full_for_a_while_stops_a_task_and_no_more(stream: str) -> None:
    """What agents have done is stored, and what is to be told is told, when there is room."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster, seconds=3.0)
        task = await cluster.create(leader, hooked(batch_size=2))
        await asyncio.sleep(1.5)
        cluster.server.jetstream.refuse(stream)
        await asyncio.sleep(60.0)
        cluster.server.jetstream.refuse(stream, None)
        await is_whole(cluster, leader, task)


@pytest.mark.parametrize("stream", STREAMS)
@virtual
async def test_a_task_whose_start_meets_a_full_stream_starts_later(stream: str) -> None:
    """Its create was stored a moment before."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster)
        task = await cluster.create(leader, hooked(batch_size=2))
        cluster.server.jetstream.refuse(stream)
        await asyncio.sleep(30.0)
        cluster.server.jetstream.refuse(stream, None)
        await is_whole(cluster, leader, task)


@pytest.mark.parametrize("stream", [HEADS, LISTS, KEYS, subjects.RESULTS])
@virtual
async def test_while_a_stream_is_full_nothing_is_created_and_users_are_told(stream: str) -> None:
    """Within one look at the store; with room again, a few seconds later all is well."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster)
        cluster.server.jetstream.refuse(stream)
        await cluster.until(lambda: leader.service.not_ready() is not None, within=12.0)
        with pytest.raises(StoreAway):
            await cluster.create(leader)
        cluster.server.jetstream.refuse(stream, None)
        await cluster.until(lambda: leader.service.not_ready() is None, within=5.0)
        await is_whole(cluster, leader, await cluster.create(leader))


@virtual
async def test_lost_answers_of_every_write_in_turn() -> None:
    """Each write of the leader, whichever it is, lands without an answer once in these runs."""
    for unlucky in range(1, 16):
        async with Cluster() as cluster:
            leader = await cluster.leader()
            await agents(cluster)
            task = await cluster.create(leader, hooked(batch_size=2))
            writes = 0
            jetstream = cluster.server.jetstream
            store = jetstream.store

            def counting(subject: str, *rest: object, **more: object) -> int:
                nonlocal writes
                if "IPS_LEASE" not in subject and ".result." not in subject:
                    writes += 1
                    leader.bus.link.answers_to_lose = int(writes == unlucky)  # noqa: B023
                return store(subject, *rest, **more)  # type: ignore[arg-type]  # noqa: B023

            jetstream.store = counting  # type: ignore[method-assign]
            await is_whole(cluster, leader, task)


@virtual
async def test_progress_comes_at_most_once_a_second_and_never_behind_the_end() -> None:
    """Three nodes report every second, through a cut of the bus."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster, seconds=20.0)
        task = await cluster.create(leader, spec("a", batch_size=2))
        await asyncio.sleep(7.0)
        leader.bus.link.cut()
        await asyncio.sleep(4.0)
        leader.bus.link.mend()
        await is_whole(cluster, leader, task)
        events = await told(cluster, task)
        times = [event["time"] for event in events if event["type"] == "task.progress"]
        assert 20 <= len(times) <= 45
        assert times == sorted(times)
        assert len({time[:19] for time in times[:-1]}) >= len(times) - 3
