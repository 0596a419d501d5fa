"""What of sets outlives every coordinator: all are stopped, and another one is started later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from common import subjects
from common.bus import KeyValue
from coordinator.core.sets.head import Joins, Refresh
from coordinator.core.sets.standing import Blocked, SetNode, SetNodePhase
from coordinator.engine.node_notes import key_of
from coordinator.set_port import SetOrder
from sandbox.simulator.cluster import Cluster, Coordinator, task_of
from sandbox.virtual.time import virtual
from tests.engine.test_cluster_set_refresh import Registry
from tests.engine.test_cluster_set_windows import put_windowed, wait_until
from tests.engine.test_cluster_sets import is_warm, phases, put, repairs, runtime_of

AWAY = 20.0
"""Seconds for which no coordinator is there."""


async def cold_restart(
    cluster: Cluster, *, meanwhile: Callable[[], object] | None = None
) -> Coordinator:
    """End every coordinator, and start another one; what has been written is all that it has."""
    await asyncio.sleep(3.0)
    for coordinator in cluster.coordinators:
        if coordinator.died is None and coordinator.leads:
            await coordinator.kill()
    if meanwhile is not None:
        meanwhile()
    await asyncio.sleep(AWAY)
    return await cluster.leader(name=f"c{len(cluster.coordinators) + 1}")


def state(coordinator: Coordinator, node: str = "n1") -> SetNode:
    """How a node of the set is."""
    shot = coordinator.service.sets.node("web", node)
    assert shot is not None
    return shot.state


def has_heard(coordinator: Coordinator, node: str = "n1") -> bool:
    """Whether a node is in the set again, and its agent has spoken."""
    shot = coordinator.service.sets.node("web", node)
    return shot is not None and shot.state.reason != Blocked.NO_AGENT


async def until_failed(cluster: Cluster, coordinator: Coordinator, times: int) -> None:
    """Wait until so many repairs have failed."""
    await cluster.until(lambda: len(repairs(coordinator)) == times, within=10_000.0)
    await cluster.until(lambda: phases(coordinator)["n1"] is SetNodePhase.FAILED)


@virtual
async def test_the_back_off_of_a_node_goes_on() -> None:
    """It is neither tried at once, nor from the first minute on, and says why as before."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1", failure_rate=1.0)
        await put(first, "a")
        await until_failed(cluster, first, 3)
        before = state(first)
        second = await cold_restart(cluster)
        await cluster.until(lambda: has_heard(second))
        await asyncio.sleep(30.0)
        after = state(second)
        assert (after.phase, after.reason, after.text) == (before.phase, before.reason, before.text)
        assert after.next_try is not None
        assert before.next_try is not None
        assert abs(after.next_try - before.next_try) < 0.01
        assert len(repairs(second)) == 3
        await until_failed(cluster, second, 4)
        again = state(second).next_try
        assert again is not None
        assert again - before.next_try > 450.0  # eight minutes, after four


@virtual
async def test_another_run_of_the_agent_is_tried_at_once() -> None:
    """What failed by the one before may succeed, also where nobody saw it come."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        node = await cluster.node("n1", failure_rate=1.0)
        await put(first, "a")
        await until_failed(cluster, first, 3)
        await asyncio.sleep(3.0)
        await first.kill()
        await node.kill()
        await cluster.node("n1")
        second = await cluster.leader(name="c2")
        await cluster.until(lambda: is_warm(second, 1), within=20.0)


@virtual
async def test_a_set_that_is_put_anew_is_tried_at_once() -> None:
    """What failed before it does not count, whoever has stored it."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        node = await cluster.node("n1", failure_rate=1.0)
        await put(first, "a")
        await until_failed(cluster, first, 3)
        await asyncio.sleep(3.0)
        runtime_of(node)._failure_rate = 0.0
        await put(first, "a", "b")
        await first.kill()  # before anything else is stored
        second = await cluster.leader(name="c2")
        await cluster.until(lambda: is_warm(second, 1), within=30.0)


@virtual
async def test_a_node_that_thrashes_is_left_alone_for_its_hour() -> None:
    """However often coordinators are restarted; then it is repaired."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        node = await cluster.node("n1")
        await put(leader, "a")
        for _ in range(2):
            await cluster.until(lambda: is_warm(leader, 1))
            runtime_of(node).remove("ref/a")
            await cluster.until(lambda: not is_warm(leader, 1))
        await cluster.until(lambda: is_warm(leader, 1))
        leader = await cold_restart(cluster)
        await cluster.until(lambda: is_warm(leader, 1))
        runtime_of(node).remove("ref/a")
        await cluster.until(lambda: not is_warm(leader, 1))
        until = state(leader).next_try
        assert state(leader).reason == Blocked.THRASHING
        leader = await cold_restart(cluster)
        await cluster.until(lambda: has_heard(leader))
        await asyncio.sleep(100.0)
        assert state(leader).reason == Blocked.THRASHING
        assert until is not None
        assert abs((state(leader).next_try or 0.0) - until) < 0.01
        await asyncio.sleep(3400.0)
        assert state(leader).reason == Blocked.THRASHING
        await cluster.until(lambda: is_warm(leader, 1), within=200.0)


@virtual
async def test_a_newcomer_is_one_still() -> None:
    """It is warmed at once where the set says so, outside of its windows; the others are not."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1")
        await asyncio.sleep(5.0)
        await put_windowed(first, "a", joins=Joins.ALWAYS)
        await asyncio.sleep(100.0)
        node = await cluster.node("n2", failure_rate=1.0)
        await cluster.until(lambda: phases(first).get("n2") is SetNodePhase.FAILED)
        second = await cold_restart(cluster)
        runtime_of(node)._failure_rate = 0.0
        await cluster.until(lambda: phases(second).get("n2") is SetNodePhase.WARM, within=100.0)
        assert state(second, "n1").reason == Blocked.OUTSIDE_WINDOW
        third = await cold_restart(cluster)
        await cluster.until(lambda: has_heard(third, "n2"))
        runtime_of(node).remove("ref/a")  # it was warm: it is a node like any other by now
        await cluster.until(lambda: state(third, "n2").reason == Blocked.OUTSIDE_WINDOW)


@virtual
async def test_a_window_that_began_while_nobody_was_there_is_made_up_for() -> None:
    """As long as it is open, and once."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1", seconds=5.0)
        await put_windowed(first, "a")
        await asyncio.sleep(10.0)
        shot = first.service.sets.snapshot("web")
        assert shot is not None
        assert shot.window is not None
        opens = shot.window.next or 0.0
        await wait_until(first, opens - 10.0)
        second = await cold_restart(cluster)  # which takes longer than ten seconds
        await cluster.until(lambda: is_warm(second, 1), within=60.0)
        await asyncio.sleep(1200.0)
        assert len(repairs(second)) == 1


@virtual
async def test_a_look_that_failed_is_not_made_again_at_once() -> None:
    """Nor is it forgotten that the one before failed, too."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        registry = Registry()
        registry.serve(await cluster.node("n1"))
        order = SetOrder("web", task_of("a"), refresh=Refresh(tags="1m"))
        await first.service.sets.put(order, None, None)
        await cluster.until(lambda: is_warm(first, 1))
        registry.is_away = True

        def failed(coordinator: Coordinator) -> int:
            looks = coordinator.service.sets.snapshot("web")
            failure = None if looks is None or looks.looks is None else looks.looks.failure
            return 0 if failure is None else failure.times

        await cluster.until(lambda: failed(first) == 3)
        asked = registry.asked
        second = await cold_restart(cluster)
        await cluster.until(lambda: has_heard(second))
        await asyncio.sleep(100.0)
        assert failed(second) == 3
        assert registry.asked == asked
        await cluster.until(lambda: failed(second) == 4, within=300.0)


@virtual
async def test_a_set_of_which_a_repair_was_cancelled_rests_on() -> None:
    """A user who cancels it is not overruled by a restart."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1", seconds=200.0)
        await put(first, "a")
        for times in (1, 2, 3):
            await cluster.until(lambda times=times: len(repairs(first)) == times)  # type: ignore[misc]
            await first.service.cancel(repairs(first)[0])
        second = await cold_restart(cluster)
        await cluster.until(lambda: has_heard(second))
        await asyncio.sleep(150.0)
        assert len(repairs(second)) == 3
        await cluster.until(lambda: len(repairs(second)) == 4, within=120.0)


@virtual
async def test_a_follower_that_starts_later_knows_as_much() -> None:
    """It answers as the leader, and takes over with the same back-off."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1", failure_rate=1.0)
        await put(first, "a")
        await until_failed(cluster, first, 3)
        second = await cluster.coordinator("c2")
        await cluster.until(lambda: second.service.unreadable() is None and has_heard(second))
        await asyncio.sleep(5.0)
        assert abs((state(first).next_try or 0.0) - (state(second).next_try or 1.0)) < 0.01
        assert state(first).text == state(second).text


@virtual
async def test_what_was_read_before_its_set_counts_once_the_set_is_known() -> None:
    """A follower whose watch of sets lags takes over with what is stored, and deletes nothing."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1", failure_rate=1.0)
        second = await cluster.coordinator("c2")
        await cluster.until(lambda: second.service.unreadable() is None)
        assert second.replica is not None
        sets = second.replica.sets
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sets, "_take", lambda *_, **__: None)
            await put(first, "a")
            await until_failed(cluster, first, 3)
            await asyncio.sleep(3.0)
        before = state(first)
        assert sets.head("web") is None
        await first.kill()
        await cluster.until(lambda: second.leads and has_heard(second), within=60.0)
        await asyncio.sleep(20.0)
        assert abs((state(second).next_try or 0.0) - (before.next_try or 1.0)) < 0.01
        await asyncio.sleep(5.0)
        assert len(repairs(second)) == 3


@virtual
async def test_what_is_remembered_of_a_set_is_not_stored_of_the_next_one_of_its_name() -> None:
    """Where it was made anew while the store was away."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1", failure_rate=1.0)
        await put(leader, "a")
        stream = f"KV_{subjects.SET_NOTES_BUCKET}"
        cluster.server.jetstream.refuse(stream)
        await until_failed(cluster, leader, 1)
        await asyncio.sleep(3.0)
        await leader.service.sets.delete("web", None)
        await put(leader, "b")
        cluster.server.jetstream.refuse(stream, None)
        notes = KeyValue(cluster.observer, subjects.SET_NOTES_BUCKET)
        seen: list[bytes] = []

        async def watch() -> None:
            async for entries in notes.watch(key_of("web", "n1"), start=1):
                seen.extend(entry.value or b"" for entry in entries)

        async with asyncio.timeout(60.0):
            watching = asyncio.create_task(watch())
            await cluster.until(lambda: phases(leader)["n1"] is SetNodePhase.FAILED)
            await asyncio.sleep(10.0)
            watching.cancel()
        head = leader.service.sets.snapshot("web")
        assert head is not None
        created_at = head.stored.head.created_at
        assert seen
        assert all(b'"a"' not in each for each in seen if str(created_at).encode() in each)


@virtual
async def test_what_is_remembered_goes_with_the_set_and_the_node() -> None:
    """Nothing of it is left in the store."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        nodes = [await cluster.node(name, failure_rate=1.0) for name in ("n1", "n2")]
        await put(leader, "a")
        await until_failed(cluster, leader, 1)
        await asyncio.sleep(3.0)
        notes = KeyValue(cluster.observer, subjects.SET_NOTES_BUCKET)
        assert await notes.get(key_of("web", "n1")) is not None
        runtime_of(nodes[0])._failure_rate = 0.0
        await cluster.until(lambda: phases(leader)["n1"] is SetNodePhase.WARM)
        await asyncio.sleep(3.0)
        assert await notes.get(key_of("web", "n1")) is None
        await leader.service.sets.delete("web", None)
        await asyncio.sleep(3.0)
        assert await notes.get(key_of("web", "n2")) is None


@virtual
async def test_what_was_remembered_and_cannot_be_read_ends_nothing() -> None:
    """It counts as nothing, and is written anew."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1", failure_rate=1.0)
        await put(first, "a")
        await until_failed(cluster, first, 1)
        await asyncio.sleep(3.0)
        await first.kill()
        notes = KeyValue(cluster.observer, subjects.SET_NOTES_BUCKET)
        for key in (key_of("web", "n1"), "web.99", "gone.1"):
            await notes.put(key, b'{"name":"web","createdAt":1,"generation":1,"nodes":{"n1":{}}}')
        await notes.put(key_of("web", "n1"), b'{"name":"web","createdAt":1,"generation":1,"nodes"')
        second = await cluster.leader(name="c2")
        await cluster.until(
            lambda: bool(repairs(second)) and phases(second)["n1"] is SetNodePhase.FAILED
        )
        await asyncio.sleep(3.0)
        stored = await notes.get(key_of("web", "n1"))
        assert stored is not None
        assert b"failure" in (stored.value or b"")
        assert set(second.poison) == {"set note"}
        assert second.died is None
