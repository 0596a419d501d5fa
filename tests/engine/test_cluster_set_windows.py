"""Sets that pull in windows, in a whole fleet: the end of a window, joins, and other leaders."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from coordinator.core.sets.head import Joins, Schedule
from coordinator.core.sets.standing import Blocked, SetNodePhase
from coordinator.core.task import TaskStatus
from coordinator.set_port import SetOrder
from sandbox.simulator.cluster import Cluster, Coordinator, task_of
from sandbox.virtual.time import virtual

HOUR: Final = 3600.0


async def put_hourly(coordinator: Coordinator, *images: str, **fields: Any) -> None:
    """Put a set that pulls in the first five minutes of each hour."""
    schedule = Schedule(cron="0 * * * *", window="5m", **fields)
    order = SetOrder("web", task_of(*images), schedule=schedule)
    await coordinator.service.sets.put(order, None, None)


def phase(coordinator: Coordinator, node: str = "n1") -> SetNodePhase | None:
    """How a node of the set is."""
    shot = coordinator.service.sets.node("web", node)
    return None if shot is None else shot.state.phase


def reason(coordinator: Coordinator, node: str = "n1") -> str | None:
    """Why it is not warm."""
    shot = coordinator.service.sets.node("web", node)
    return None if shot is None else shot.state.reason


def opens(coordinator: Coordinator) -> float:
    """When the next window begins."""
    shot = coordinator.service.sets.snapshot("web")
    assert shot is not None
    assert shot.window is not None
    return shot.window.next or 0.0


async def wait_until(coordinator: Coordinator, moment: float) -> None:
    """Let time pass until a moment of the coordinators' clock."""
    sets = coordinator.service.sets
    await asyncio.sleep(moment - sets._clock())  # type: ignore[attr-defined]


@virtual
async def test_a_set_pulls_in_its_window_and_goes_on_in_the_next_one() -> None:
    """What the end of the first one cuts off is pulled in the second."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1", seconds=200.0)
        await put_hourly(leader, "a", "b", "c")
        await asyncio.sleep(60.0)
        assert reason(leader) == Blocked.OUTSIDE_WINDOW
        first = opens(leader)
        await wait_until(leader, first + 10.0)
        assert phase(leader) is SetNodePhase.PULLING
        (task,) = leader.service.tasks.ids()
        await wait_until(leader, first + 330.0)
        assert (await cluster.over(leader, task)).status is TaskStatus.CANCELLED
        assert reason(leader) == Blocked.OUTSIDE_WINDOW
        await wait_until(leader, first + HOUR - 10.0)
        assert len(leader.service.tasks.ids()) == 1
        await cluster.until(lambda: phase(leader) is SetNodePhase.WARM, within=500.0)
        assert len(leader.service.tasks.ids()) == 2


@virtual
async def test_the_next_leader_ends_a_window_and_makes_up_for_a_run() -> None:
    """Whatever the one before it did not get to do."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1", seconds=1000.0)
        await put_hourly(first, "a")
        await asyncio.sleep(10.0)
        began = opens(first)
        await wait_until(first, began + 10.0)
        (task,) = first.service.tasks.ids()
        await wait_until(first, began + 299.0)
        await first.kill()
        second = await cluster.coordinator("c2")
        await cluster.until(lambda: second.leads, within=60.0)
        assert (await cluster.over(second, task)).status is TaskStatus.CANCELLED
        await wait_until(second, began + HOUR - 5.0)
        await second.kill()
        await asyncio.sleep(60.0)
        third = await cluster.coordinator("c3")
        await cluster.until(lambda: third.leads, within=60.0)
        await cluster.until(lambda: phase(third) is SetNodePhase.PULLING, within=60.0)
        assert third.service.sets._clock() < began + HOUR + 300.0  # type: ignore[attr-defined]


@virtual
async def test_a_node_that_joins_is_warmed_at_once_where_the_set_says_so() -> None:
    """Within the three seconds of any other set."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1")
        await asyncio.sleep(5.0)
        await put_hourly(leader, "a", joins=Joins.ALWAYS)
        await asyncio.sleep(100.0)
        assert reason(leader, "n1") == Blocked.OUTSIDE_WINDOW
        began = asyncio.get_running_loop().time()
        await cluster.node("n2", seconds=1.0)
        await cluster.until(lambda: phase(leader, "n2") is SetNodePhase.WARM)
        assert asyncio.get_running_loop().time() - began < 1.0 + 3.0
        assert reason(leader, "n1") == Blocked.OUTSIDE_WINDOW
