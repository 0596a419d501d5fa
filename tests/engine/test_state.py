"""What metrics show of one moment."""

from __future__ import annotations

import asyncio

import msgspec
from prometheus_client import CollectorRegistry

from common import subjects
from common.messages import Heartbeat
from coordinator.metrics import StateCollector
from sandbox.simulator.cluster import EPOCH, Cluster, Coordinator
from sandbox.virtual.time import virtual
from tests.core.stage import spec


def samples(coordinator: Coordinator) -> dict[str, float]:
    """Every gauge of a scrape now, a node's state after a colon."""
    registry = CollectorRegistry()
    loop = asyncio.get_running_loop()
    registry.register(StateCollector(coordinator.service.state, lambda: EPOCH + loop.time()))
    return {
        ":".join([sample.name, *sample.labels.values()]): sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }


@virtual
async def test_a_leader_with_all_it_needs() -> None:
    """Ready, leading, writing; the queue and its oldest task; each node in one state."""
    async with Cluster() as cluster:
        leader = await cluster.leader(max_concurrent_tasks=1)
        await cluster.node("n1", seconds=300.0)
        away = Heartbeat(agent_version="1", driver="cri", why_no_runtime="no socket")
        subject = subjects.heartbeat("n2", "a" * 16)
        await asyncio.sleep(2.0)
        cluster.observer.publish(subject, msgspec.json.encode(away))
        for _ in range(3):
            await cluster.create(leader, spec("a"), ["n1"])
        await asyncio.sleep(20.0)
        cluster.observer.publish(subject, msgspec.json.encode(away))
        await asyncio.sleep(1.0)
        seen = samples(leader)
        assert {name: seen[f"ips_{name}"] for name in ("live", "ready", "takes_writes")} == {
            "live": 1,
            "ready": 1,
            "takes_writes": 1,
        }
        assert seen["ips_leader"] == seen["ips_nats_connected"] == 1
        assert seen["ips_store_writable"] == seen["ips_node_source_up"] == 1
        assert seen["ips_queued_tasks"] == 2
        assert 20 <= seen["ips_oldest_queued_task_seconds"] < 23
        assert seen["ips_nodes:ready"] == 1
        assert seen["ips_nodes:unschedulable"] == 1
        assert seen["ips_nodes:offline"] == seen["ips_nodes:left_out"] == 0


@virtual
async def test_one_that_follows_is_ready_and_does_not_lead() -> None:
    """Of two coordinators one leads, and both say which."""
    async with Cluster() as cluster:
        await cluster.leader()
        second = await cluster.coordinator("c2")
        await asyncio.sleep(2.0)
        seen = samples(second)
        assert (seen["ips_live"], seen["ips_leader"], seen["ips_takes_writes"]) == (1, 0, 1)
        assert seen["ips_ready"] == 1
        assert seen["ips_leader_info:c1"] == 1


@virtual
async def test_without_nats_reads_go_on_and_writes_do_not() -> None:
    """Ready is about reads."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        cluster.server.kill()
        await asyncio.sleep(60.0)
        seen = samples(leader)
        assert (seen["ips_ready"], seen["ips_takes_writes"], seen["ips_nats_connected"]) == (
            1,
            0,
            0,
        )
        standing = leader.service.standing()
        assert standing.no_writes is not None
        assert standing.no_writes.code == "nats.away"
        cluster.server.start()
