"""How a term begins and how it ends, with real agents' logic in virtual time."""

from __future__ import annotations

import asyncio
from typing import get_args

import msgspec

from common import subjects
from common.bus import Received
from common.messages import Assign, Command, Report
from coordinator.core.commands import Command as CoreCommand
from coordinator.core.commands import WakeAt
from coordinator.engine.leader import SETTLE_SECONDS
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.engine.histories import NAMES, agents, hooked, is_whole

COMMANDS = f"{subjects.PREFIX}.command.*.*"


class Heard:
    """All commands to agents, with the time of each."""

    def __init__(self) -> None:
        self.commands: list[tuple[float, Command]] = []

    def hear(self, received: Received) -> None:
        """Keep one."""
        now = asyncio.get_running_loop().time()
        self.commands.append((now, msgspec.json.decode(received.data, type=Command)))

    @property
    def assigned(self) -> list[tuple[float, int]]:
        """When each assignment was sent, and in which epoch."""
        return [(at, sent.epoch) for at, sent in self.commands if isinstance(sent, Assign)]


async def listening(cluster: Cluster) -> Heard:
    """Hear all that leaders say from now on."""
    heard = Heard()
    await cluster.observer.subscribe(COMMANDS, heard.hear)
    await cluster.observer.subscribe(subjects.REPORT, heard.hear)
    return heard


@virtual
async def test_a_new_leader_asks_what_is_held_before_it_assigns() -> None:
    """What agents say within two seconds is known by then."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await agents(cluster, seconds=10.0)
        task = await cluster.create(first, hooked(batch_size=1))
        await asyncio.sleep(5.0)
        heard = await listening(cluster)
        second = await cluster.coordinator("c2")
        await first.kill()
        await is_whole(cluster, second, task)
        reports = [at for at, sent in heard.commands if isinstance(sent, Report)]
        assert heard.assigned[0][0] - reports[0] >= SETTLE_SECONDS


@virtual
async def test_a_leader_that_starts_without_a_connection_leads_when_it_has_one() -> None:
    """Its word to all agents is lost; they say what they hold by themselves."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await agents(cluster, seconds=10.0)
        task = await cluster.create(first, hooked(batch_size=1))
        second = await cluster.coordinator("c2")
        await asyncio.sleep(5.0)
        await first.kill()
        await cluster.until(lambda: second.leads)
        second.bus.link.drop()
        await is_whole(cluster, second, task)


@virtual
async def test_an_agent_that_knows_a_newer_leader_deposes_this_one() -> None:
    """It begins a new term over a newer epoch; what runs on the nodes goes on."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster, seconds=10.0)
        heard = await listening(cluster)
        task = await cluster.create(leader, hooked(batch_size=1))
        await asyncio.sleep(5.0)
        ((_, epoch),) = heard.assigned
        newer = msgspec.json.encode(Report(epoch=epoch + 1))
        cluster.observer.publish(subjects.REPORT, newer)
        await is_whole(cluster, leader, task)
        epochs = [sent for _, sent in heard.assigned]
        assert epochs == sorted(epochs)
        assert epochs[-1] > epoch + 1
        refused = [sent for sent in epochs[1:] if sent == epoch]
        assert len(refused) == 1


@virtual
async def test_after_its_end_a_term_says_nothing() -> None:
    """Of a leader that was cut off, nothing is heard in the terms of the next one."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await agents(cluster, seconds=10.0)
        heard = await listening(cluster)
        task = await cluster.create(first, hooked(batch_size=1))
        await asyncio.sleep(5.0)
        first.bus.link.cut()
        await cluster.until(lambda: second.leads)
        took_over = asyncio.get_running_loop().time()
        first.bus.link.mend()
        await is_whole(cluster, second, task)
        old = min(epoch for _, epoch in heard.assigned)
        assert all(at <= took_over for at, sent in heard.commands if sent.epoch == old)


@virtual
async def test_tasks_that_waited_while_nobody_led_are_started_and_told_once() -> None:
    """Three were created, and none had begun."""
    async with Cluster() as cluster:
        first = await cluster.leader(max_concurrent_tasks=1)
        await agents(cluster, seconds=20.0)
        tasks = [await cluster.create(first) for _ in range(3)]
        await first.kill()
        second = await cluster.coordinator("c2", max_concurrent_tasks=1)
        for task in tasks:
            await cluster.over(second, task)
            await cluster.told(second, task)
            told = await cluster.events(task)
            assert told[:2] == ["task.created", "task.started"]
            assert len(told) == len(set(told)) == len(NAMES) + 3


@virtual
async def test_what_happens_before_a_leader_has_caught_up_is_told_once() -> None:
    """It waits for the stored nodes, in an election of their stream, and outcomes come in.

    Events cannot be stored at first, so that nothing of this is to be found among the kept ones.
    """
    async with Cluster() as cluster:
        first = await cluster.leader()
        await agents(cluster, seconds=20.0)
        second = await cluster.coordinator("c2")
        await asyncio.sleep(1.0)
        task = await cluster.create(first, hooked(batch_size=2))
        await asyncio.sleep(2.0)
        jetstream = cluster.server.jetstream
        jetstream.lead(f"KV_{subjects.NODES_BUCKET}", leads=False)
        jetstream.refuse(subjects.EVENTS)
        await first.kill()
        await asyncio.sleep(25.0)
        jetstream.lead(f"KV_{subjects.NODES_BUCKET}", leads=True)
        await asyncio.sleep(5.0)
        jetstream.refuse(subjects.EVENTS, None)
        await is_whole(cluster, second, task)


@virtual
async def test_a_leader_carries_every_kind_of_command_out() -> None:
    """What nobody carries out would be waited for without end; the loop itself wakes the core."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        replica = leader.service._replica
        assert replica is not None
        assert {*replica.loop._performers, WakeAt} == set(get_args(CoreCommand))
