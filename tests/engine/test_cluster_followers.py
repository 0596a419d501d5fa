"""What several coordinators answer to the same question, and how they follow one another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from common import subjects
from common.messages import Assign
from coordinator.core.changes import NodeMoved
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskStatus
from coordinator.documents import encode
from coordinator.views import nodes as node_views
from coordinator.views import tasks as views
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.histories import NAMES, agents, is_whole

SETTLING = 1.0
"""Seconds within which all coordinators say the same."""
CHANGING = {"estimatedCompletion", "bytes", "totalBytes", "bytesPerSecond"}
"""What depends on the moment of the question."""


async def three(cluster: Cluster, **limits: int) -> list[Coordinator]:
    """One that leads, and two that follow."""
    first = await cluster.leader(**limits)
    rest = [await cluster.coordinator(name, **limits) for name in ("c2", "c3")]
    await asyncio.sleep(3.0)
    return [first, *rest]


def answer(coordinator: Coordinator, task: str) -> Any:
    """A task and its nodes as the API shows them, but for what no two answers have in common."""
    shot = coordinator.service.tasks.snapshot(task)
    assert shot is not None
    shown = msgspec.json.decode(encode(views.task(shot)))
    nodes = [
        msgspec.json.decode(encode(node_views.task_node(shot.head, node, shot.pulls(node))))
        for node in (shot.run.nodes if shot.run is not None else ())
    ]
    return _without_what_changes([shown, nodes])


def _without_what_changes(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_what_changes(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_what_changes(each) for key, each in value.items() if key not in CHANGING}


async def agree(coordinators: Sequence[Coordinator], *tasks: str) -> None:
    """Wait a moment, then ask all of them."""
    await asyncio.sleep(SETTLING)
    for task in tasks:
        first, *others = [answer(coordinator, task) for coordinator in coordinators]
        for other in others:
            assert other == first


@virtual
async def test_all_say_the_same_of_a_task_at_each_of_its_steps() -> None:
    """Waiting, assigned without an agent, pulling, retrying, done: also why it waits."""
    async with Cluster() as cluster:
        everybody = await three(cluster, max_concurrent_tasks=1)
        await agents(cluster, "n1", "n2", seconds=20.0)
        first, second, third = everybody
        missing = spec("a", batch_size=2, max_retries=1, retry_delay=30)
        task = await cluster.create(second, missing, ("n1", "n2", "n9"))
        queued = await cluster.create(third, spec("b"))
        for _ in range(8):
            await agree(everybody, task, queued)
            await asyncio.sleep(14.0)
        shot = third.service.tasks.snapshot(queued)
        assert shot is not None
        over = await cluster.over(first, task)
        assert over.status is TaskStatus.FAILED
        assert (await cluster.over(third, queued)).status is TaskStatus.COMPLETED
        await agree(everybody, task, queued)


@virtual
async def test_a_node_that_was_assigned_is_so_everywhere() -> None:
    """Also while its agent is only waited for, and why is said in the same words."""
    async with Cluster() as cluster:
        everybody = await three(cluster)
        task = await cluster.create(everybody[1], spec("a"), ("n9",))
        await agree(everybody, task)
        for coordinator in everybody:
            shot = coordinator.service.tasks.snapshot(task)
            assert shot is not None
            assert shot.run is not None
            assert shot.run.by_name["n9"].phase.value == "assigned"
            assert shot.waiting_for is not None
            assert shot.waiting_for.code == "node.unknown"


@virtual
async def test_why_a_retry_waits_is_said_everywhere() -> None:
    """It is due, and another task has taken its place: only who leads gives places."""
    async with Cluster() as cluster:
        everybody = await three(cluster, max_concurrent_tasks=1)
        await agents(cluster, "n1", seconds=60.0)
        again = spec("a", max_retries=1, retry_delay=5)
        task = await cluster.create(everybody[1], again, ("n9",))
        await cluster.create(everybody[2], spec("b"), ("n1",))
        await asyncio.sleep(45.0)
        for coordinator in everybody:
            shot = coordinator.service.tasks.snapshot(task)
            assert shot is not None
            assert shot.waiting_for is not None
            assert shot.waiting_for.code == "task.queued"
        await agree(everybody, task)


@virtual
async def test_nobody_shows_more_nodes_at_once_than_a_batch() -> None:
    """A leader's word of the next node comes before the store's of the one that is done."""
    async with Cluster() as cluster:
        leader, follower, _ = await three(cluster)
        follower.bus.link.delay = (0.0, 0.05)
        await agents(cluster, *(f"n{number}" for number in range(1, 9)), seconds=0.5)
        most = 0

        def moved(_event: object, decision: Decision) -> None:
            nonlocal most
            assert follower.replica is not None
            for change in decision.changes:
                if isinstance(change, NodeMoved) and change.task in follower.replica.core.runs:
                    most = max(most, follower.replica.core.runs[change.task].in_flight)

        assert follower.replica is not None
        follower.replica.loop.observe(moved, of=(NodeMoved,))
        tasks = [await cluster.create(leader, spec("a", batch_size=1)) for _ in range(3)]
        for task in tasks:
            await cluster.over(follower, task)
        assert most == 1


@virtual
async def test_a_cancel_at_one_that_is_behind_counts_what_the_leader_has_told() -> None:
    """It reads first what is stored: the head and the events say the same of each node."""
    async with Cluster() as cluster:
        leader, follower, _ = await three(cluster)
        await agents(cluster, "n1", seconds=3.0)
        await agents(cluster, "n2", seconds=60.0)
        task = await cluster.create(leader, spec("a"))
        await agree([leader, follower], task)
        follower.bus.link.delay = (2.0, 2.0)
        async with asyncio.timeout(10.0):
            while "node.succeeded n1" not in await cluster.events(task):
                await asyncio.sleep(0.05)
        head = await follower.service.cancel(task)
        assert head.counts is not None
        assert (head.counts.completed, head.counts.cancelled) == (1, 1)


@virtual
async def test_one_that_comes_later_says_the_same() -> None:
    """It asks for all that was said before it came."""
    async with Cluster() as cluster:
        first = await cluster.leader(max_concurrent_tasks=1)
        await agents(cluster, seconds=60.0)
        task = await cluster.create(first, spec("a", batch_size=2))
        queued = await cluster.create(first, spec("b"))
        await asyncio.sleep(5.0)
        late = await cluster.coordinator("c9", max_concurrent_tasks=1)
        await cluster.until(lambda: late.service.unreadable() is None)
        await agree([first, late], task, queued)


@virtual
async def test_what_was_missed_is_told_again() -> None:
    """A follower that heard every other message alone agrees soon after."""
    async with Cluster() as cluster:
        everybody = await three(cluster)
        await agents(cluster, seconds=100.0)
        follower = everybody[2]
        follower.bus.link.loss = 0.5
        task = await cluster.create(everybody[0], spec("a", batch_size=2))
        await asyncio.sleep(3.0)
        follower.bus.link.loss = 0.0
        await asyncio.sleep(10.0)
        await agree(everybody, task)
        follower.bus.link.drop()
        other = await cluster.create(everybody[0], spec("b", batch_size=1))
        await asyncio.sleep(10.0)
        await agree(everybody, task, other)


class Assigned:
    """When each assignment left, by node."""

    def __init__(self) -> None:
        self.at: dict[str, list[float]] = {}

    async def listen(self, cluster: Cluster) -> None:
        """Hear all commands."""
        await cluster.observer.subscribe(f"{subjects.PREFIX}.command.*.*", self._note)

    def _note(self, received: object) -> None:
        address = subjects.parse_command(received.subject)  # type: ignore[attr-defined]
        data = msgspec.json.decode(received.data)  # type: ignore[attr-defined]
        if address is not None and data["kind"] == "assign":
            msgspec.convert(data, Assign)
            now = asyncio.get_running_loop().time()
            self.at.setdefault(address.node, []).append(now)


@virtual
async def test_a_leader_that_stops_in_order_hands_over_within_a_second() -> None:
    """To one that follows without a gap: the next node begins, and nobody is asked twice."""
    async with Cluster() as cluster:
        first, second, third = await three(cluster)
        heard = Assigned()
        await heard.listen(cluster)
        await agents(cluster, seconds=4.0)
        task = await cluster.create(first, spec("a", batch_size=1))
        await asyncio.sleep(3.0)
        began = asyncio.get_running_loop().time()
        await first.stop()
        await cluster.until(lambda: second.leads or third.leads, 2.0)
        leader = second if second.leads else third
        await cluster.until(lambda: leader.service._replica.core.leads, 2.0)  # type: ignore[union-attr]
        assert asyncio.get_running_loop().time() - began <= 1.0
        await is_whole(cluster, leader, task)
        assert {name: len(times) for name, times in heard.at.items()} == dict.fromkeys(NAMES, 1)


@virtual
async def test_who_has_missed_the_last_word_asks_the_agents() -> None:
    """It waits for what they hold before it assigns."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await agents(cluster, seconds=30.0)
        task = await cluster.create(first, spec("a", batch_size=2))
        await asyncio.sleep(3.0)
        briefed = second.service._replica.briefed  # type: ignore[union-attr]
        assert briefed.is_complete
        briefed._number -= 1
        await first.stop()
        await cluster.until(lambda: second.leads, 3.0)
        await asyncio.sleep(1.5)
        assert not second.service._replica.core.leads  # type: ignore[union-attr]
        await is_whole(cluster, second, task)


@pytest.mark.parametrize("seed", range(4))
@virtual
async def test_after_a_kill_the_next_assignment_leaves_within_nine_seconds(seed: int) -> None:
    """The lease ends, another one takes it and asks the agents what they hold."""
    async with Cluster(seed=seed) as cluster:
        first, second, third = await three(cluster)
        await agents(cluster, seconds=60.0)
        await cluster.create(first, spec("a", batch_size=3))
        await asyncio.sleep(5.0)
        began = asyncio.get_running_loop().time()
        await first.kill()
        heard = Assigned()
        await heard.listen(cluster)
        task = await cluster.create(second, spec("b"))
        await cluster.until(lambda: bool(heard.at), 12.0)
        assert min(min(times) for times in heard.at.values()) - began <= 9.0
        assert (await cluster.over(third, task)).status is TaskStatus.COMPLETED


@virtual
async def test_never_more_than_a_batch_is_in_flight_over_many_changes() -> None:
    """Killed and stopped in turn, while nodes fail and are tried again."""
    async with Cluster() as cluster:
        names = tuple(f"n{number}" for number in range(1, 9))
        await agents(cluster, *names, seconds=3.0, failure_rate=0.3)
        leader = await cluster.leader()
        wanted = spec("a", "b", batch_size=3, max_retries=5, retry_delay=1, max_failed_nodes=8)
        task = await cluster.create(leader, wanted)
        most = 0

        async def count() -> None:
            nonlocal most
            while True:
                now = asyncio.get_running_loop().time()
                at_work = sum(bool(n.agent._ledger.holds(now)) for n in cluster.nodes.values())
                most = max(most, at_work)
                await asyncio.sleep(0.1)

        counting = asyncio.create_task(count())
        for number in range(2, 8):
            following = await cluster.coordinator(f"c{number}")
            await asyncio.sleep(2.5)
            await (leader.stop() if number % 2 else leader.kill())
            leader = following
            await cluster.until(lambda: leader.leads, 20.0)  # noqa: B023
        over = await cluster.over(leader, task)
        counting.cancel()
        await asyncio.wait([counting])
        assert over.status is TaskStatus.COMPLETED
        assert 0 < most <= 3


@virtual
async def test_a_leader_that_stood_still_assigns_nothing() -> None:
    """Its lease is too old to be believed in: what it would say in that moment is not said."""
    async with Cluster() as cluster:
        first, second, _ = await three(cluster)
        await agents(cluster)
        heard = Assigned()
        await heard.listen(cluster)
        first._lease._held_since -= 5.0
        before = await cluster.events_seen()
        task = await cluster.create(first)
        for _ in range(5):
            await asyncio.sleep(0.1)
            assert heard.at == {}
            assert await cluster.events_seen() == before
        await is_whole(cluster, second, task)


@virtual
async def test_a_leader_that_was_away_comes_back_as_one_that_follows_and_knows_all() -> None:
    """It reads anew what ended, went on and began meanwhile, and takes writes again."""
    async with Cluster() as cluster:
        everybody = await three(cluster)
        first, *others = everybody
        await agents(cluster, "n1", "n2", seconds=4.0)
        await agents(cluster, "n3", seconds=60.0)
        ended = await cluster.create(first, spec("a"), ("n1", "n2"))
        goes_on = await cluster.create(first, spec("b"), ("n1", "n3"))
        await asyncio.sleep(1.0)
        first.bus.link.cut()
        await cluster.until(lambda: any(each.leads for each in others), 20.0)
        new = next(each for each in others if each.leads)
        began = await cluster.create(new, spec("c"))
        await cluster.over(new, ended)
        assert not first.leads
        first.bus.link.mend()
        await cluster.until(lambda: first.service.not_ready() is None, 10.0)
        await agree(everybody, ended, goes_on, began)
        head = await first.service.cancel(goes_on)
        assert head.counts is not None
        assert (head.counts.completed, head.counts.cancelled) == (1, 1)
        assert [each.leads for each in everybody].count(True) == 1
        await agree(everybody, ended, goes_on, began)


@pytest.mark.parametrize("seconds", [3.0, 5.0, 9.0])
@virtual
async def test_an_election_of_the_store_costs_no_attempt(seconds: float) -> None:
    """It may depose the leader: whoever leads then goes on with what is held."""
    async with Cluster() as cluster:
        everybody = await three(cluster)
        await agents(cluster, seconds=4.0)
        task = await cluster.create(everybody[0], spec("a", batch_size=1))
        await asyncio.sleep(2.0)
        streams = list(cluster.server.jetstream.streams.values())
        for stream in streams:
            stream.leaderless = True
        await asyncio.sleep(seconds)
        for coordinator in everybody:
            assert coordinator.service.tasks.head(task) is not None
        for stream in streams:
            stream.leaderless = False
        await is_whole(cluster, everybody[1], task)


@virtual
async def test_one_after_the_other_is_replaced_without_a_trace() -> None:
    """A rolling update, agents included: nothing is pulled twice, nothing fails, all is told."""
    async with Cluster() as cluster:
        running = await three(cluster)
        await agents(cluster, seconds=6.0)
        task = await cluster.create(running[0], spec("a", batch_size=1))
        for number in range(3):
            await asyncio.sleep(1.0)
            fresh = await cluster.coordinator(f"new-{number}")
            await cluster.until(lambda: fresh.service.unreadable() is None)  # noqa: B023
            await running.pop(0).stop()
            running.append(fresh)
        await is_whole(cluster, running[-1], task)
