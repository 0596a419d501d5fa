"""Nodes that are known by their agents' word outlive a restart of the coordinator."""

from __future__ import annotations

import asyncio

import msgspec

from common import subjects
from common.bus import KeyValue
from coordinator.core.task import TaskStatus
from coordinator.engine.node_records import AT_A_TIME, MOST_NODES, ROUND_SECONDS
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.refusals import Refused
from sandbox.virtual.time import virtual
from tests.core.stage import spec

NAMES = ("n1", "n2.zone-a", "n3")
STREAM = f"KV_{subjects.NODES_BUCKET}"
FORGET_SECONDS = 600.0
"""Of a coordinator of the cluster."""


async def stored(cluster: Cluster) -> dict[str, dict[str, str]]:
    """Labels of the nodes that are stored, by key."""
    found = {}
    async for entries in KeyValue(cluster.observer, subjects.NODES_BUCKET).entries():
        for entry in entries:
            if entry.value is not None:
                found[entry.key] = msgspec.json.decode(entry.value).get("labels", {})
    return found


async def writes(cluster: Cluster) -> int:
    """How often the bucket was written to."""
    return (await cluster.observer.stream_state(STREAM)).last_seq


async def put(cluster: Cluster, key: str, value: bytes) -> None:
    """Write a record as somebody else would."""
    await cluster.observer.store(f"$KV.{subjects.NODES_BUCKET}.{key}", value, expect_last=None)


async def three_known(cluster: Cluster) -> Coordinator:
    """A leader that has stored three nodes."""
    leader = await cluster.leader()
    for name in NAMES:
        await cluster.node(name)
    await asyncio.sleep(3.0)
    return leader


@virtual
async def test_a_node_that_is_silent_at_a_restart_fails_by_name() -> None:
    """It is known and not connected; a task for all nodes is for it too, and waits for it."""
    async with Cluster() as cluster:
        first = await three_known(cluster)
        await first.stop()
        await cluster.nodes.pop("n3").kill()
        second = await cluster.leader()
        silent = second.service.nodes.get("n3")
        assert silent is not None
        assert (silent.connected, silent.schedulable, silent.last_seen) == (False, True, None)
        task = await cluster.create(second)
        head = await cluster.over(second, task)
        assert head.status is TaskStatus.FAILED
        assert head.counts is not None
        assert (head.counts.total, head.counts.completed, head.counts.failed) == (3, 2, 1)
        snapshot = await second.service.tasks.snapshot_with_nodes(task)
        assert snapshot.run is not None
        lost = snapshot.run.by_name["n3"]
        assert lost.reason == "AgentUnavailable"
        assert lost.text is not None
        assert lost.text.code == "node.noAgent.waited"


@virtual
async def test_a_node_that_comes_back_in_time_takes_the_work() -> None:
    """Nobody is given up because the coordinator was restarted first."""
    async with Cluster() as cluster:
        first = await three_known(cluster)
        await first.kill()
        await cluster.nodes.pop("n3").kill()
        second = await cluster.leader()
        task = await cluster.create(second)
        await asyncio.sleep(10.0)
        await cluster.node("n3")
        head = await cluster.over(second, task)
        assert head.status is TaskStatus.COMPLETED
        assert head.counts is not None
        assert head.counts.completed == len(NAMES)


@virtual
async def test_heartbeats_write_nothing() -> None:
    """One record for each node; what is written is what has changed."""
    async with Cluster() as cluster:
        await three_known(cluster)
        assert set(await stored(cluster)) == {"n1", "n2_zone-a", "n3"}
        assert await writes(cluster) == len(NAMES)
        await asyncio.sleep(120.0)
        assert await writes(cluster) == len(NAMES)


@virtual
async def test_a_node_that_is_forgotten_is_no_longer_stored() -> None:
    """After its time of silence, heard before or only remembered; the next start knows it not."""
    async with Cluster() as cluster:
        first = await three_known(cluster)
        await first.kill()
        await cluster.nodes.pop("n3").kill()
        second = await cluster.leader()
        await cluster.nodes.pop("n1").kill()
        await asyncio.sleep(FORGET_SECONDS / 2)
        assert second.service.nodes.get("n3") is not None
        await asyncio.sleep(FORGET_SECONDS / 2 + 10.0)
        assert second.service.nodes.get("n3") is None
        assert set(await stored(cluster)) == {"n2_zone-a"}
        await second.kill()
        third = await cluster.leader()
        assert [name for name, _ in third.service.nodes.labels()] == ["n2.zone-a"]


@virtual
async def test_labels_are_selected_by_before_their_node_speaks_again() -> None:
    """They are stored as last announced."""
    async with Cluster() as cluster:
        await put(cluster, "far_away", b'{"labels":{"zone":"b"},"newer":true}')
        leader = await cluster.leader()
        await cluster.node("n1")
        await asyncio.sleep(3.0)
        task = await cluster.create(leader, spec(node_selector={"zone": "b"}))
        head = await cluster.over(leader, task)
        snapshot = await leader.service.tasks.snapshot_with_nodes(task)
        assert snapshot.run is not None
        assert head.status is TaskStatus.FAILED
        assert list(snapshot.run.by_name) == ["far.away"]


@virtual
async def test_a_follower_that_takes_over_knows_what_it_never_heard() -> None:
    """It reads the records anew: they may have been written after it began."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await asyncio.sleep(3.0)
        await put(cluster, "elsewhere", b"{}")
        await first.kill()
        await cluster.until(lambda: second.leads)
        await cluster.until(lambda: second.service.nodes.get("elsewhere") is not None, within=1.0)


DAMAGED = {
    "n4": b"",
    "n5": b"\xff\xfe",
    "n6": b'{"labels":3}',
    "n7": b'{"labels":{"a":1}}',
    "n8": b'{"x":' + b"[" * 10_000,
    "n9": b'{"labels":{"a":"' + b"x" * 100_000 + b'"}}',
    "UPPER": b"{}",
    "a.b": b"{}",
    "-": b"{}",
}


@virtual
async def test_a_damaged_record_is_its_own_fault() -> None:
    """It is counted and left alone; every other node is known, and a node that speaks is kept."""
    async with Cluster() as cluster:
        for key, value in DAMAGED.items():
            await put(cluster, key, value)
        await put(cluster, "good", b'{"labels":{"zone":"a"}}')
        leader = await cluster.leader()
        assert leader.died is None
        assert [name for name, _ in leader.service.nodes.labels()] == ["good"]
        assert leader.poison.count("node") >= len(DAMAGED)
        await cluster.node("n6")
        await asyncio.sleep(3.0)
        assert await writes(cluster) == len(DAMAGED) + 2
        assert (await stored_labels(cluster, "n6")) == {}


async def stored_labels(cluster: Cluster, key: str) -> object:
    """What is stored of one node."""
    entry = await KeyValue(cluster.observer, subjects.NODES_BUCKET).get(key)
    assert entry is not None
    return msgspec.json.decode(entry.value or b"").get("labels", {})


@virtual
async def test_a_bucket_that_refuses_is_tried_again_and_holds_nothing_up() -> None:
    """Tasks go on; what was not stored is stored later."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        stream = cluster.server.jetstream.streams[STREAM]
        stream.refusal = Refused(10077, "maximum bytes exceeded")
        for name in NAMES:
            await cluster.node(name)
        await asyncio.sleep(3.0)
        task = await cluster.create(leader)
        assert (await cluster.over(leader, task)).status is TaskStatus.COMPLETED
        assert await stored(cluster) == {}
        stream.refusal = None
        await asyncio.sleep(10.0)
        assert set(await stored(cluster)) == {"n1", "n2_zone-a", "n3"}


@virtual
async def test_many_nodes_at_once_are_stored_little_by_little() -> None:
    """No more than one round's records in half a second, each node once."""
    async with Cluster() as cluster:
        await cluster.leader()
        bus, many = cluster.observer, 8 * AT_A_TIME
        beat = msgspec.json.encode({"agentVersion": "1", "driver": "cri", "interval": 60.0})
        for number in range(many):
            bus.publish(subjects.heartbeat(f"n{number}", f"{number:016x}"), beat)
            if number % 500 == 0:
                await asyncio.sleep(0)
        before = 0
        for _ in range(many // AT_A_TIME + 5):
            await asyncio.sleep(ROUND_SECONDS)
            now = await writes(cluster)
            assert now - before <= 2 * AT_A_TIME
            before = now
        assert before == many < MOST_NODES
