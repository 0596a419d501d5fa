"""Warm sets in a whole fleet: real agents' logic and coordinators on a bus in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.runtime.simulated import SimulatedRuntime
from common.messages import Heartbeat
from coordinator.core.sets.standing import Blocked, SetNodePhase
from coordinator.core.task import TaskSpec, TaskStatus
from coordinator.engine.sets import SetTable
from coordinator.port import NoSuchSet, SetChanged, StoreAway
from coordinator.set_port import PutSet, SetOrder
from sandbox.simulator.cluster import Cluster, Coordinator, Node, task_of
from sandbox.virtual.time import virtual

NAMES = ("n1", "n2", "n3")


async def put(
    coordinator: Coordinator, *images: str, name: str = "web", paused: bool = False, **spec: Any
) -> PutSet:
    """Put a set of images, on all nodes where nothing else is said."""
    order = SetOrder(name, task_of(*images, **spec), paused=paused)
    return await coordinator.service.sets.put(order, None, None)


def phases(coordinator: Coordinator, name: str = "web") -> dict[str, SetNodePhase]:
    """How each node of a set is."""
    sets = coordinator.service.sets
    found = {node: sets.node(name, node) for node in sets.node_names(name)}
    return {node: shot.state.phase for node, shot in found.items() if shot is not None}


def is_warm(coordinator: Coordinator, nodes: int, name: str = "web") -> bool:
    """Whether so many nodes are in a set, and all warm."""
    found = phases(coordinator, name)
    return len(found) == nodes and set(found.values()) == {SetNodePhase.WARM}


def repairs(coordinator: Coordinator) -> list[str]:
    """The tasks of sets, newest first."""
    tasks = coordinator.service.tasks
    heads = [tasks.head(task) for task in tasks.ids()]
    return [head.id for head in heads if head is not None and head.set is not None]


def runtime_of(node: Node) -> SimulatedRuntime:
    """Its runtime, which images can be taken from."""
    assert isinstance(node.runtime, SimulatedRuntime)
    return node.runtime


@virtual
async def test_a_set_makes_its_nodes_warm_by_one_task() -> None:
    """Which is a task like any other, and says whose it is."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        for name in NAMES:
            await cluster.node(name)
        await asyncio.sleep(2.0)
        done = await put(leader, "a", "b")
        assert done.is_new
        assert done.stored.head.generation == 1
        await cluster.until(lambda: is_warm(leader, 3), within=10.0)
        (task,) = repairs(leader)
        head = await cluster.over(leader, task)
        assert (head.set, head.status, head.nodes) == ("web", TaskStatus.COMPLETED, 3)
        shot = leader.service.sets.node("web", "n1")
        assert shot is not None
        assert all(cell is not None and cell[0] for cell in shot.digests.values())


@virtual
async def test_a_node_that_joins_is_warm_within_three_seconds_of_its_pull() -> None:
    """From its agent's first heartbeat on."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1")
        await put(leader, "a")
        await cluster.until(lambda: is_warm(leader, 1))
        await asyncio.sleep(100.0)
        began = asyncio.get_running_loop().time()
        await cluster.node("n2", seconds=1.0)
        await cluster.until(lambda: is_warm(leader, 2))
        assert asyncio.get_running_loop().time() - began < 1.0 + 3.0


@virtual
async def test_a_node_that_joins_during_a_long_repair_is_warm_as_soon() -> None:
    """It has one of its own beside it."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1", seconds=500.0)
        await put(leader, "a")
        await cluster.until(lambda: phases(leader) == {"n1": SetNodePhase.PULLING})
        await asyncio.sleep(10.0)
        began = asyncio.get_running_loop().time()
        await cluster.node("n2", seconds=1.0)
        await cluster.until(lambda: phases(leader).get("n2") is SetNodePhase.WARM)
        assert asyncio.get_running_loop().time() - began < 1.0 + 3.0
        assert phases(leader)["n1"] is SetNodePhase.PULLING


@virtual
async def test_an_image_that_vanished_is_back_within_three_seconds_of_its_pull() -> None:
    """Where the runtime tells that it is gone."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        node = await cluster.node("n1")
        await put(leader, "a")
        await cluster.until(lambda: is_warm(leader, 1))
        await asyncio.sleep(100.0)
        began = asyncio.get_running_loop().time()
        runtime_of(node).remove("ref/a")
        await cluster.until(lambda: not is_warm(leader, 1))
        await cluster.until(lambda: is_warm(leader, 1))
        assert asyncio.get_running_loop().time() - began < 1.0 + 3.0
        assert len(repairs(leader)) == 2


@virtual
async def test_a_leader_that_hands_over_begins_no_repair() -> None:
    """What is cold meanwhile is for the next one."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1")
        await asyncio.sleep(2.0)
        seen: list[list[str]] = []

        async def rest() -> int:
            await put(leader, "a")
            await asyncio.sleep(5.0)
            seen.append(repairs(leader))
            return 1

        assert leader.service._leader is not None
        await leader.service._leader.hand_over(rest)
        assert seen == [[]]


@virtual
async def test_a_leader_that_dies_between_report_and_repair() -> None:
    """The next one repairs, once, and knows what is warm without asking for it."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        for name in NAMES:
            await cluster.node(name)
        await put(first, "a")
        await cluster.until(lambda: is_warm(first, 3))
        second = await cluster.coordinator("c2")
        await cluster.until(lambda: second.service.unreadable() is None)
        await cluster.until(lambda: is_warm(second, 3), within=30.0)
        runtime_of(cluster.nodes["n2"]).remove("ref/a")
        await cluster.until(lambda: not is_warm(first, 3))
        await first.kill()
        await cluster.until(lambda: is_warm(second, 3))
        await asyncio.sleep(30.0)
        assert len(repairs(second)) == 2


@virtual
async def test_a_repair_goes_on_under_the_next_leader() -> None:
    """No second one is made beside it."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        for name in NAMES:
            await cluster.node(name, seconds=30.0)
        await put(first, "a")
        await cluster.until(lambda: len(repairs(first)) == 1)
        await asyncio.sleep(3.0)
        second = await cluster.coordinator("c2")
        await cluster.until(lambda: second.service.unreadable() is None)
        await first.kill()
        await cluster.until(lambda: is_warm(second, 3), within=100.0)
        assert len(repairs(second)) == 1


@virtual
async def test_every_coordinator_answers_alike() -> None:
    """Whichever was asked to put, change and delete."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await cluster.until(lambda: second.service.not_ready() is None)
        for name in NAMES:
            await cluster.node(name)
        await put(second, "a")
        assert (await first.service.sets.find("web")) is not None
        await cluster.until(lambda: is_warm(first, 3) and is_warm(second, 3), within=20.0)
        changed = await put(second, "a", "b")
        assert (changed.is_new, changed.stored.head.generation) == (False, 2)
        await cluster.until(lambda: not is_warm(first, 3))
        await cluster.until(lambda: is_warm(first, 3) and is_warm(second, 3), within=20.0)
        await second.service.sets.delete("web", None)
        await cluster.until(lambda: not first.service.sets.names())
        with pytest.raises(NoSuchSet):
            await first.service.sets.delete("web", None)


@virtual
async def test_the_same_again_changes_nothing_and_a_stale_change_is_refused() -> None:
    """By the revision that was read."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        one = await put(leader, "a")
        assert await put(leader, "a") == PutSet(one.stored, is_new=False)
        sets, revision = leader.service.sets, one.stored.revision
        two = await sets.put(SetOrder("web", task_of("b")), None, revision)
        for stale in (revision, 0):
            with pytest.raises(SetChanged):
                await sets.put(SetOrder("web", task_of("c")), None, stale)
            with pytest.raises(SetChanged):
                await sets.delete("web", stale)
        await sets.delete("web", two.stored.revision)
        assert sets.snapshot("web") is None
        again = await put(leader, "a")
        assert again.stored.revision > two.stored.revision


@virtual
async def test_a_set_that_is_changed_or_deleted_ends_its_repair() -> None:
    """Nobody goes on pulling what nobody wants."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1", seconds=1000.0)
        await put(leader, "a")
        await cluster.until(lambda: phases(leader) == {"n1": SetNodePhase.PULLING})
        await put(leader, "b")
        await cluster.until(lambda: len(repairs(leader)) == 2, within=30.0)
        newest, oldest = repairs(leader)
        assert (await cluster.over(leader, oldest)).status is TaskStatus.CANCELLED
        await cluster.until(lambda: phases(leader) == {"n1": SetNodePhase.PULLING})
        await leader.service.sets.delete("web", None)
        assert (await cluster.over(leader, newest)).status is TaskStatus.CANCELLED
        await asyncio.sleep(200.0)
        assert len(repairs(leader)) == 2


@virtual
async def test_a_repair_waits_for_no_task_of_users() -> None:
    """However many of them run."""
    async with Cluster() as cluster:
        leader = await cluster.leader(max_concurrent_tasks=1)
        for name in NAMES:
            await cluster.node(name, seconds=100.0)
        await asyncio.sleep(2.0)
        await cluster.create(leader, task_of("large"))
        await cluster.create(leader, task_of("next"))
        await asyncio.sleep(5.0)
        await put(leader, "a")
        await cluster.until(lambda: len(repairs(leader)) == 1, within=5.0)
        await cluster.until(
            lambda: leader.service.tasks.head(repairs(leader)[0]).status is TaskStatus.RUNNING,  # type: ignore[union-attr]
            within=2.0,
        )
        assert len(leader.service.tasks.ids(TaskStatus.PENDING)) == 1


@virtual
async def test_an_agent_of_the_version_before_is_left_alone() -> None:
    """Its node says why it is not warm, and takes tasks as ever."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        node = await cluster.node("n1")
        before = node.agent._heartbeats._message

        def without_inventory(leaving: bool) -> Heartbeat:
            said = before(leaving)
            fields = {name: getattr(said, name) for name in said.__struct_fields__}
            return Heartbeat(**{**fields, "inventory": None})

        node.agent._heartbeats._message = without_inventory  # type: ignore[method-assign]
        await put(leader, "a")
        await asyncio.sleep(30.0)
        shot = leader.service.sets.node("web", "n1")
        assert shot is not None
        assert shot.state.reason == Blocked.NO_AGENT
        assert repairs(leader) == []
        task = await cluster.create(leader, TaskSpec(**_fields("x")))
        assert (await cluster.over(leader, task)).status is TaskStatus.COMPLETED


def _fields(image: str) -> dict[str, Any]:
    spec = task_of(image)
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


@virtual
async def test_an_agent_that_is_restarted_in_a_repair_is_waited_for() -> None:
    """Its node is warm in the end, by the same task."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1", seconds=20.0)
        await put(leader, "a")
        await cluster.until(lambda: phases(leader) == {"n1": SetNodePhase.PULLING})
        await cluster.nodes["n1"].kill()
        await cluster.node("n1", seconds=2.0)
        await cluster.until(lambda: is_warm(leader, 1), within=60.0)
        assert len(repairs(leader)) == 1


@virtual
async def test_what_is_stored_as_a_set_and_is_none_harms_nobody() -> None:
    """Nor does a report that is no inventory."""
    async with Cluster() as cluster:
        bus = cluster.observer
        await bus.store("$KV.IPS_SETS.bad", b"{", expect_last=None)
        await bus.store("$KV.IPS_SETS.other", b'{"name":"web"}', expect_last=None)
        leader = await cluster.leader()
        await cluster.node("n1")
        bus.publish("ips.v1.inventory.n1.0000000000000000", b"[]")
        await put(leader, "a")
        await cluster.until(lambda: is_warm(leader, 1), within=30.0)
        assert leader.service.sets.names() == ["web"]
        assert {"set", "inventory"} <= set(leader.poison)


@virtual
async def test_who_asks_while_a_replica_ends_is_to_ask_again() -> None:
    """What is stored by then is not in its core, and none of its answers may fail for that."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        ended = leader.service.sets
        assert isinstance(ended, SetTable)
        leader.bus.link.cut()
        await cluster.until(lambda: ended.loop.ended)
        leader.bus.link.mend()
        await cluster.until(lambda: leader.leads and leader.service.sets is not ended)
        with pytest.raises(StoreAway):
            await ended.put(SetOrder("web", task_of("a")), None, None)
        with pytest.raises(StoreAway):
            await ended.find("web")
        assert ended.snapshot("web") is None
        await cluster.until(lambda: leader.service.sets.snapshot("web") is not None)
        assert (await put(leader, "a")).is_new is False
