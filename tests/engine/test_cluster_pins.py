"""Images that sets keep from the kubelet's clean-up, in a whole fleet in virtual time."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from agent.runtime.simulated import SimulatedRuntime
from common.inventory import PinState
from common.messages import Heartbeat, ImageDisk
from coordinator.core.sets.head import SetPin
from coordinator.set_port import SetOrder
from sandbox.simulator.cluster import EPOCH, Cluster, Coordinator, task_of
from sandbox.virtual.time import virtual

DISK = ImageDisk(free_bytes=10_000, total_bytes=10_000)
"""An image takes 2,000 of it, so that two fit into what pins may take."""


async def fleet(cluster: Cluster) -> tuple[Coordinator, Coordinator]:
    """Two coordinators and a node with room for two pins."""
    first, second = await cluster.leader(), await cluster.coordinator("c2")
    await cluster.node("n1", disk=DISK)
    await cluster.until(lambda: second.service.unreadable() is None)
    await asyncio.sleep(15.0)
    return first, second


def pinned(cluster: Cluster, node: str = "n1") -> list[str]:
    """References whose images are pinned on a node."""
    runtime = cluster.nodes[node].runtime
    assert isinstance(runtime, SimulatedRuntime)
    present = sorted(runtime.present)
    return [name for name in present if runtime._stored(name).id in runtime.pinned]


def shown(coordinator: Coordinator, name: str) -> dict[str, PinState]:
    """What a coordinator says of a set's pins on the node."""
    shot = coordinator.service.sets.node(name, "n1")
    assert shot is not None
    return dict(shot.pins)


async def put(coordinator: Coordinator, name: str, *images: str, pin: SetPin | None) -> None:
    """Put a set, and let it get warm."""
    await coordinator.service.sets.put(SetOrder(name, task_of(*images), pin=pin), None, None)
    await asyncio.sleep(20.0)


@virtual
async def test_images_of_a_set_are_pinned_as_long_as_it_asks_for_it() -> None:
    """Both coordinators tell of it; a change and the end of the set take the pins away."""
    async with Cluster() as cluster:
        first, second = await fleet(cluster)
        await put(second, "web", "a", "b", pin=SetPin())
        assert pinned(cluster) == ["ref/a", "ref/b"]
        for coordinator in (first, second):
            assert shown(coordinator, "web") == {"a": PinState.PINNED, "b": PinState.PINNED}
        await put(first, "web", "a", pin=SetPin())
        assert pinned(cluster) == ["ref/a"]
        await put(first, "web", "a", pin=None)
        assert pinned(cluster) == []
        assert shown(second, "web") == {}
        await put(first, "web", "a", pin=SetPin())
        assert pinned(cluster) == ["ref/a"]
        await first.service.sets.delete("web", None)
        await asyncio.sleep(5.0)
        assert pinned(cluster) == []


@virtual
async def test_a_pin_ends_at_its_time_and_where_it_has_ended_there_is_none() -> None:
    """Whoever leads then, also one that begins after that."""
    async with Cluster() as cluster:
        first, second = await fleet(cluster)
        now = EPOCH + asyncio.get_running_loop().time()
        await put(first, "web", "a", pin=SetPin(until=int((now + 120.0) * 1000)))
        await put(first, "old", "b", pin=SetPin(until=int(now * 1000)))
        assert pinned(cluster) == ["ref/a"]
        await first.kill()
        cluster.coordinators.remove(first)
        await cluster.until(lambda: second.leads)
        assert pinned(cluster) == ["ref/a"]
        await asyncio.sleep(130.0)
        assert pinned(cluster) == []


@virtual
async def test_who_claimed_first_has_the_share_of_the_disk() -> None:
    """The other is told of by name; what goes makes room."""
    async with Cluster() as cluster:
        first, second = await fleet(cluster)
        await put(first, "z-first", "a", "b", pin=SetPin())
        await put(first, "a-second", "c", pin=SetPin())
        assert pinned(cluster) == ["ref/a", "ref/b"]
        assert shown(second, "a-second") == {"c": PinState.SHARE}
        await first.service.sets.delete("z-first", None)
        await asyncio.sleep(5.0)
        assert pinned(cluster) == ["ref/c"]
        assert shown(second, "a-second") == {"c": PinState.PINNED}


@virtual
async def test_an_agent_that_starts_is_told_again_and_a_purge_takes_pinned_images_of_nobody() -> (
    None
):
    """Its pins of a former run go on without a gap; those of a set that is gone do not keep one."""
    async with Cluster() as cluster:
        first, _ = await fleet(cluster)
        await put(first, "web", "a", pin=SetPin())
        runtime = cluster.nodes["n1"].runtime
        assert isinstance(runtime, SimulatedRuntime)
        held, present = set(runtime.pinned), runtime.present
        await cluster.nodes["n1"].kill()
        node = await cluster.node("n1", disk=DISK, present=present)
        assert isinstance(node.runtime, SimulatedRuntime)
        node.runtime.pinned = set(held)
        await asyncio.sleep(30.0)
        assert pinned(cluster) == ["ref/a"]
        assert shown(first, "web") == {"a": PinState.PINNED}


@virtual
async def test_agents_that_cannot_pin_are_told_of_nothing() -> None:
    """Older ones, and those whose runtimes cannot; their images are warm all the same."""
    async with Cluster() as cluster:
        first, _ = await fleet(cluster)
        heartbeats = cluster.nodes["n1"].agent._heartbeats
        message = heartbeats._message

        def older(leaving: bool) -> Heartbeat:
            return replace(message(leaving), abilities=[])

        heartbeats._message = older  # type: ignore[method-assign]
        await asyncio.sleep(15.0)
        await put(first, "web", "a", pin=SetPin())
        shot = first.service.sets.snapshot("web")
        assert shot is not None
        assert (pinned(cluster), shot.tally.warm) == ([], 1)
        known = first.service.nodes.get("n1")
        assert known is not None
        assert list(known.abilities) == []
