"""Sets whose tags move, in a whole fleet: real agents' logic pulls what the registry has."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from agent.runtime.protocol import PresentImage, PullFailed
from common.reasons import Reason
from coordinator.core.sets.head import Refresh
from coordinator.core.sets.standing import SetCondition
from coordinator.port import NoSuchSet
from coordinator.set_port import SetOrder
from sandbox.simulator.cluster import Cluster, Coordinator, Node, task_of
from sandbox.virtual.time import virtual
from tests.engine.test_cluster_sets import is_warm, put, repairs, runtime_of

NAMES = ("n1", "n2", "n3")
OLD, NEW = f"sha256:{1:064x}", f"sha256:{2:064x}"


class Registry:
    """What each tag is, for the runtimes that ask."""

    def __init__(self) -> None:
        self.tags: defaultdict[str, str] = defaultdict(lambda: OLD)
        self.is_away = False
        self.asked = 0

    def serve(self, node: Node) -> None:
        """Have a node's runtime pull from here."""
        runtime = runtime_of(node)
        there = dict.fromkeys(runtime.present, OLD)
        pull = runtime.pull

        async def pull_here(reference: str, *arguments: Any, **options: Any) -> PresentImage:
            self.asked += 1
            if self.is_away:
                raise PullFailed(Reason.REGISTRY_UNREACHABLE, "connection refused")
            there[reference] = self.tags[reference]
            return await pull(reference, *arguments, **options)

        runtime.pull = pull_here  # type: ignore[method-assign]
        runtime._image = lambda reference: PresentImage(there[reference], 1000)  # type: ignore[method-assign]


async def refreshed(coordinator: Coordinator, *images: str) -> None:
    """Put a set whose tags are looked at every ten minutes."""
    order = SetOrder("web", task_of(*images), refresh=Refresh(tags="10m"))
    await coordinator.service.sets.put(order, None, None)


def drift(coordinator: Coordinator) -> dict[str, int]:
    """The digests that nodes show, and how many show each."""
    return dict(coordinator.service.sets.drift("web")["a"])


async def fleet(cluster: Cluster) -> Registry:
    """Three nodes at one registry."""
    registry = Registry()
    for name in NAMES:
        registry.serve(await cluster.node(name))
    return registry


@virtual
async def test_a_look_that_was_never_made_is_due_at_no_time_of_the_past() -> None:
    """It is made as soon as a node is warm; then it is told when the next one is due."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await refreshed(leader, "a")

        def due() -> float | None:
            shot = leader.service.sets.snapshot("web")
            assert shot is not None
            assert shot.looks is not None
            return shot.looks.next

        assert due() is None
        (await fleet(cluster)).tags["ref/a"] = NEW
        await cluster.until(lambda: (due() or 0.0) > leader.clock())


@virtual
async def test_a_tag_that_moves_is_followed_within_the_interval() -> None:
    """Which costs a look of one node while it does not."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        registry = await fleet(cluster)
        await refreshed(leader, "a")
        await cluster.until(lambda: is_warm(leader, 3))
        await asyncio.sleep(1250.0)
        assert registry.asked == 3 + 3
        registry.tags["ref/a"] = NEW
        await cluster.until(lambda: drift(leader) == {NEW: 3}, within=620.0)
        await cluster.until(lambda: is_warm(leader, 3))
        await asyncio.sleep(60.0)
        looks = [leader.service.tasks.head(task) for task in repairs(leader)]
        assert [head.looks for head in looks if head is not None] == [
            *(False, True, True, True, True, False)
        ]


@virtual
async def test_a_user_asks_any_coordinator() -> None:
    """Of a set that does not look by itself; once it has followed it is content again."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        second = await cluster.coordinator("c2")
        await cluster.until(lambda: second.service.not_ready() is None)
        registry = await fleet(cluster)
        await put(leader, "a")
        await cluster.until(lambda: is_warm(leader, 3) and is_warm(second, 3))
        registry.tags["ref/a"] = NEW
        await asyncio.sleep(1000.0)
        assert drift(second) == {OLD: 3}
        await second.service.sets.refresh("web")
        for coordinator in (leader, second):
            await cluster.until(lambda c=coordinator: drift(c) == {NEW: 3}, within=30.0)  # type: ignore[misc]
        asked = registry.asked
        await asyncio.sleep(1000.0)
        assert registry.asked == asked
        shot = second.service.sets.snapshot("web")
        assert shot is not None
        assert shot.looks is not None
        assert shot.looks.newest == {"ref/a": NEW}
        assert shot.stored.head.generation == 1
        with pytest.raises(NoSuchSet):
            await second.service.sets.refresh("none")


@virtual
async def test_while_the_registry_is_away_nothing_changes_but_what_is_said() -> None:
    """And as soon as it is back, the set follows."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        registry = await fleet(cluster)
        await refreshed(leader, "a")
        await cluster.until(lambda: is_warm(leader, 3))
        await asyncio.sleep(10.0)
        registry.is_away = True
        registry.tags["ref/a"] = NEW
        await asyncio.sleep(800.0)
        assert is_warm(leader, 3)
        shot = leader.service.sets.snapshot("web")
        assert shot is not None
        degraded = shot.conditions[SetCondition.DEGRADED]
        assert (degraded.holds, degraded.reason) == (True, "RefreshFailed")
        registry.is_away = False
        await cluster.until(lambda: drift(leader) == {NEW: 3}, within=500.0)


@virtual
async def test_what_is_outdated_outlives_every_coordinator() -> None:
    """The repair that follows a look is made by whoever leads next."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        registry = await fleet(cluster)
        await refreshed(first, "a")
        await cluster.until(lambda: is_warm(first, 3))
        await asyncio.sleep(10.0)
        registry.tags["ref/a"] = NEW
        for name in NAMES[1:]:
            await cluster.nodes[name].kill()
        await cluster.until(lambda: drift(first) == {NEW: 1, OLD: 2}, within=650.0)
        await asyncio.sleep(5.0)
        await first.kill()
        for name in NAMES[1:]:
            registry.serve(await cluster.node(name, present=["ref/a"]))
        await asyncio.sleep(120.0)
        second = await cluster.coordinator("c2")
        await cluster.until(lambda: second.leads, within=60.0)
        await cluster.until(lambda: drift(second) == {NEW: 3}, within=60.0)
