"""A whole fleet in histories that a seed makes up: whatever goes wrong, what is told is so."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from common import subjects
from coordinator.core.node_run import NodePhase
from coordinator.core.task import TaskHead
from coordinator.port import AlreadyOver, StoreAway
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.link import Link
from sandbox.virtual.time import virtual
from tests.engine.histories import hooked, told

NODES = ("n1", "n2", "n3", "n4")
STREAMS = (
    f"KV_{subjects.TASKS_BUCKET}",
    f"KV_{subjects.LISTS_BUCKET}",
    subjects.RESULTS,
    subjects.EVENTS,
)
STEPS = 12
EVENT_OF = {NodePhase.SUCCEEDED: "node.succeeded", NodePhase.FAILED: "node.failed"}


class Fate:
    """Draws what goes wrong next, and mends it."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.tasks: list[str] = []
        self._draw = random.Random(seed)
        self._number = 2
        self._blows: list[Callable[[], Awaitable[None]]] = [
            self.kill_a_coordinator,
            self.cut_a_link,
            self.drop_a_link,
            self.lose_answers,
            self.fill_a_stream,
            self.elect,
            self.restart_an_agent,
            self.restart_the_server,
            self.create,
            self.create,
            self.cancel,
        ]

    async def rage(self) -> None:
        """Strike, wait, and strike again; in the end all is mended."""
        for _ in range(STEPS):
            await self._draw.choice(self._blows)()
            await asyncio.sleep(self._draw.uniform(0.0, 6.0))
        for link in self.cluster.server.links:
            link.mend()

    @property
    def alive(self) -> list[Coordinator]:
        """The two newest coordinators: all older ones were killed."""
        return self.cluster.coordinators[-2:]

    async def leader(self) -> Coordinator:
        """Wait for one that takes tasks."""

        def leading() -> list[Coordinator]:
            return [one for one in self.alive if one.leads]

        await self.cluster.until(lambda: bool(leading()))
        return leading()[0]

    async def create(self) -> None:
        """A user creates a task, if anybody takes it."""
        for coordinator in self.alive:
            if coordinator.service.not_ready() is None:
                try:
                    wanted = hooked(batch_size=self._draw.randint(1, 4), max_retries=1)
                    self.tasks.append(await self.cluster.create(coordinator, wanted))
                except StoreAway:
                    return

    async def cancel(self) -> None:
        """A user cancels a task; as in the API, who does not know it looks into the store first."""
        for coordinator in self.alive:
            if self.tasks and coordinator.service.not_ready() is None:
                task = self._draw.choice(self.tasks)
                try:
                    assert await coordinator.service.find(task) is not None
                    await coordinator.service.cancel(task)
                except (StoreAway, AlreadyOver):
                    return

    async def kill_a_coordinator(self) -> None:
        """The older one goes, and one more begins."""
        self._number += 1
        await self.cluster.coordinators[-2].kill()
        await self.cluster.coordinator(f"c{self._number}")

    def _link(self) -> Link:
        buses = [one.bus for one in self.alive] + [one.bus for one in self.cluster.nodes.values()]
        return self._draw.choice(buses).link

    async def cut_a_link(self) -> None:
        """For a while, or until all is mended."""
        link = self._link()
        link.cut()
        asyncio.get_running_loop().call_later(self._draw.uniform(0.5, 40.0), link.mend)

    async def drop_a_link(self) -> None:
        """Its program connects again."""
        self._link().drop()

    async def lose_answers(self) -> None:
        """Of what a coordinator writes next, its renewals of the lease among it."""
        self._draw.choice(self.alive).bus.link.answers_to_lose = self._draw.randint(1, 12)

    async def fill_a_stream(self) -> None:
        """For a while."""
        stream, jetstream = self._draw.choice(STREAMS), self.cluster.server.jetstream
        jetstream.refuse(stream)
        seconds = self._draw.uniform(0.5, 20.0)
        asyncio.get_running_loop().call_later(seconds, jetstream.refuse, stream, None)

    async def elect(self) -> None:
        """A stream answers nobody for a while."""
        stream, jetstream = self._draw.choice(STREAMS), self.cluster.server.jetstream
        jetstream.lead(stream, leads=False)
        asyncio.get_running_loop().call_later(
            self._draw.uniform(0.5, 20.0), lambda: jetstream.lead(stream, leads=True)
        )

    async def restart_an_agent(self) -> None:
        """At once."""
        name = self._draw.choice(NODES)
        await self.cluster.nodes[name].kill()
        await self.cluster.node(name, seconds=3.0)

    async def restart_the_server(self) -> None:
        """All connections break, and what is stored stays."""
        self.cluster.server.restart()


async def is_told_as_it_is(cluster: Cluster, leader: Coordinator, head: TaskHead) -> None:
    """Each thing that became so is told once, in order, and nothing else is."""
    events = await told(cluster, head.id)
    ids = [event["id"] for event in events]
    assert [one for one, count in Counter(ids).items() if count > 1] == []
    types = [event["type"] for event in events if event["type"] != "task.progress"]
    begun = head.started_at is not None
    assert types[: 1 + begun] == ["task.created", "task.started"][: 1 + begun]
    assert types[-1] == events[-1]["type"] == f"task.{head.status}"
    assert all(kind.startswith("node.") for kind in types[1 + begun : -1])
    run = (await leader.service.tasks.snapshot_with_nodes(head.id)).run
    assert run is not None
    ends = {
        (event["type"], event["data"]["nodeName"])
        for event in events
        if event["type"] in EVENT_OF.values()
    }
    assert ends == {
        (EVENT_OF[node.phase], node.name) for node in run.nodes if node.phase in EVENT_OF
    }
    counts = head.counts
    if counts is not None:
        assert counts.completed == run.in_phase[NodePhase.SUCCEEDED]
        assert counts.failed == run.in_phase[NodePhase.FAILED]


async def live_through(seed: int) -> None:
    """One history, and what must be true at its end."""
    async with Cluster(seed=seed) as cluster:
        keeping = asyncio.create_task(cluster.observer.run())
        await cluster.leader()
        await cluster.coordinator("c2")
        for name in NODES:
            await cluster.node(name, seconds=3.0)
        await asyncio.sleep(1.0)
        fate = Fate(cluster, seed)
        await fate.create()
        await fate.rage()
        await asyncio.sleep(60.0)
        leader = await fate.leader()
        tasks = leader.service.tasks.ids()
        assert set(tasks) >= set(fate.tasks)
        for task in tasks:
            over = await cluster.over(leader, task)
            await cluster.told(leader, task)
            await asyncio.sleep(3.0)
            await is_told_as_it_is(cluster, leader, over)
            delivered = {status for told, status in cluster.webhooks.bodies if told == task}
            assert delivered == {over.status}
        assert [one.died for one in cluster.coordinators if one.died is not None] == []
    await keeping


@virtual
async def test_some_histories() -> None:
    """The first seeds; each is about a tenth of a second."""
    for seed in range(3):
        await live_through(seed)


@pytest.mark.deep
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3, 53))
def test_many_histories(seed: int) -> None:
    """Fifty more."""
    virtual(live_through)(seed)
