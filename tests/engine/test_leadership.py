"""Coordinators of a fleet in virtual time: who answers while leaders and the store come and go."""

from __future__ import annotations

import asyncio
import random
from typing import NoReturn

import msgspec
import pytest

from agent.ledger import EPOCH_SECONDS
from common import subjects, texts
from common.bus import KeyValue, Received
from common.messages import Command, Heartbeat, Reply, Report
from coordinator.core.task import TaskStatus
from coordinator.lease import ANEW_SECONDS, ASK_SECONDS, KEY, Lease
from coordinator.port import StoreAway
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.following import connected
from tests.engine.test_service import write_refused

INSTANCE = "0123456789abcdef"


@virtual
async def test_who_follows_answers_and_takes_writes() -> None:
    """It says who leads, and what is created and cancelled there reaches the leader."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await cluster.node("n1", seconds=5.0)
        await asyncio.sleep(10.0)
        assert second.service.not_ready() is None
        standing = second.service.standing()
        assert (standing.name, standing.leads, standing.leader) == ("c2", False, "c1")
        done = await cluster.create(second)
        stopped = await cluster.create(second, spec("b"))
        await asyncio.sleep(3.0)
        await second.service.cancel(stopped)
        assert (await cluster.over(first, done)).status is TaskStatus.COMPLETED
        assert (await cluster.over(second, done)).status is TaskStatus.COMPLETED
        await cluster.told(first, stopped)
        assert (await cluster.events(stopped))[-1] == "task.cancelled"
        assert (await cluster.events(done))[-1] == "task.completed"


@virtual
async def test_who_asks_for_what_was_just_created_elsewhere_gets_it() -> None:
    """In the moment in which it is stored, also where it cannot be heard of."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await asyncio.sleep(10.0)
        for one, other in ((first, second), (second, first)):
            other.bus.link.delay = (0.5, 1.5)
            task = await cluster.create(one)
            assert other.service.tasks.head(task) is None
            head = await other.service.find(task)
            assert head is not None
            assert other.service.tasks.head(task) is not None
            other.bus.link.delay = (0.0, 0.0)
            await asyncio.sleep(5.0)
        assert await first.service.find("task-20260101-000000-ffffffff") is None


@virtual
async def test_a_standby_leads_as_soon_as_the_lease_is_given_back() -> None:
    """And goes on with what is there."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await asyncio.sleep(10.0)
        task = await cluster.create(first)
        await first.stop()
        await cluster.until(lambda: second.service.standing().leads, 2.0)
        assert second.service.tasks.head(task) is not None


@virtual
async def test_a_store_that_is_away_for_long_is_answered_for_from_memory() -> None:
    """Then everything goes on: no node was lost, and nothing was done twice."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1", seconds=100.0)
        await asyncio.sleep(1.0)
        task = await cluster.create(leader, spec("a", max_retries=3))
        await asyncio.sleep(5.0)
        cluster.server.pause()
        await asyncio.sleep(300.0)
        shot = leader.service.tasks.snapshot(task)
        assert shot is not None
        assert shot.head.status is TaskStatus.RUNNING
        assert (await write_refused(leader.service)).code in {"nats.away", "lease.notRenewed"}
        cluster.server.resume()
        head = await cluster.over(leader, task)
        assert head.status is TaskStatus.COMPLETED
        assert head.counts is not None
        assert head.counts.retry_count == 0
        await cluster.observer.close()
        cluster.observer = await cluster._connect("later")
        assert await cluster.outcomes() == 1
        await cluster.until(lambda: leader.service.not_ready() is None)


@virtual
async def test_a_leader_that_is_deaf_loses_nobody() -> None:
    """It notices that it hears not even itself, follows anew, and counts what is held."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1", seconds=200.0)
        await asyncio.sleep(1.0)
        task = await cluster.create(leader, spec("a", max_retries=3))
        await asyncio.sleep(5.0)
        leader.bus.link.deaf = True
        await asyncio.sleep(120.0)
        node = leader.service.nodes.get("n1")
        assert node is not None
        leader.bus.link.deaf = False
        head = await cluster.over(leader, task)
        assert head.status is TaskStatus.COMPLETED
        assert head.counts is not None
        assert head.counts.retry_count == 0
        assert await cluster.outcomes() == 1


class Agent:
    """An agent that answers commands as it likes."""

    def __init__(self, cluster: Cluster, epoch: int) -> None:
        self.bus = cluster.observer
        self.epoch = epoch
        self.grows = 0
        """By how much its epoch is above whatever it is told, where that is not 0."""
        self.epochs: list[int] = []

    async def listen(self) -> None:
        """Hear commands."""
        await self.bus.subscribe(subjects.command("n1", INSTANCE), self._answer)

    def beat(self) -> None:
        """Say that it is there."""
        heartbeat = Heartbeat(agent_version="1", driver="cri", runtime="containerd")
        self.bus.publish(subjects.heartbeat("n1", INSTANCE), msgspec.json.encode(heartbeat))

    def _answer(self, received: Received) -> None:
        command: Command = msgspec.json.decode(received.data, type=Command)
        if received.reply:
            self.epochs.append(command.epoch)
            epoch = max(self.epoch, command.epoch + self.grows) if self.grows else self.epoch
            reply = Reply(accepted=command.epoch >= epoch, epoch=epoch)
            self.bus.publish(received.reply, msgspec.json.encode(reply))


async def beating(agent: Agent) -> NoReturn:
    """Speak every five seconds."""
    while True:
        agent.beat()
        await asyncio.sleep(5.0)


async def lease_revision(cluster: Cluster) -> int:
    """The epoch that whoever took the lease last has, or a newer one."""
    entry = await KeyValue(cluster.observer, subjects.LEASE_BUCKET).get(KEY)
    assert entry is not None
    return entry.revision


def is_running(leader: Coordinator, task: str) -> bool:
    """Whether its node has been given the work."""
    try:
        shot = leader.service.tasks.snapshot(task)
    except StoreAway:
        return False
    return shot is not None and shot.run is not None and shot.run.nodes[0].phase.value == "pulling"


@virtual
async def test_a_leader_that_an_agent_knows_to_be_deposed_begins_anew() -> None:
    """With a replica that has read everything again, and an epoch that is higher."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        agent = Agent(cluster, epoch=await lease_revision(cluster) + 1)
        await agent.listen()
        speaking = asyncio.create_task(beating(agent))
        await asyncio.sleep(5.0)  # the lease is renewed: the store has given that number by now
        first = leader.service._replica
        task = await cluster.create(leader)
        await cluster.until(lambda: bool(agent.epochs), 30.0)
        await asyncio.sleep(0.1)
        assert leader.service.not_ready() == texts.LEASE_NOT_RENEWED()
        assert leader.service.tasks.head(task) is not None
        agent.epoch = agent.epochs[-1] + 1
        await cluster.until(lambda: is_running(leader, task), 60.0)
        assert leader.service._replica is not first
        assert agent.epochs[-1] > agent.epochs[0]
        assert leader.died is None
        speaking.cancel()
        await asyncio.wait([speaking])


@pytest.mark.parametrize("more", [1, 100, 2**62])
@virtual
async def test_an_agent_cannot_depose_a_leader_again_and_again(more: int) -> None:
    """It names a newer epoch whatever it is told; the others are served meanwhile.

    Where the store has given such a number, this one is believed once and not for minutes again.
    """
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n2")
        agent = Agent(cluster, epoch=more)
        agent.grows = more
        await agent.listen()
        speaking = asyncio.create_task(beating(agent))
        await asyncio.sleep(5.0)
        wanted = spec("a", max_retries=3, retry_delay=1)
        tasks = [await cluster.create(leader, wanted, names=["n1"]) for _ in range(2)]
        served = await cluster.create(leader, names=["n2"])
        assert (await cluster.over(leader, served)).status is TaskStatus.COMPLETED
        for task in tasks:
            assert (await cluster.over(leader, task, 6000.0)).status is TaskStatus.FAILED
        assert len(set(agent.epochs)) <= 2
        assert len(agent.epochs) > 20
        speaking.cancel()
        await asyncio.wait([speaking])


def lease(bus: VirtualBus, owner: str) -> Lease:
    """The lease as a coordinator wants it."""
    clock = asyncio.get_running_loop().time
    return Lease(bus, owner=owner, name=owner, clock=clock, rng=random.Random(owner))


@virtual
async def test_what_an_agent_says_of_a_newer_leader_is_looked_up() -> None:
    """Another one's record of the lease, or none, ends a term; it is looked at once in a while."""
    async with connected() as bus:
        first, stored = lease(bus, "a"), KeyValue(bus, subjects.LEASE_BUCKET)
        epoch = await first.acquire()
        assert not await first.confirms(2**63 - 1)
        newest = await stored.update(KEY, lease(bus, "b")._value, epoch)
        assert not await first.confirms(newest)  # it was looked at just now
        await asyncio.sleep(ASK_SECONDS)
        assert await first.confirms(newest)
        await stored.delete(KEY)
        await asyncio.sleep(ASK_SECONDS)
        assert await first.confirms(newest)


@virtual
async def test_an_epoch_that_the_store_has_passed_is_overtaken_once() -> None:
    """An agent that was told of it hears this process again in its next term."""
    async with connected() as bus:
        first = lease(bus, "a")
        await first.acquire()
        keeping = asyncio.create_task(first.lost())
        await asyncio.sleep(ASK_SECONDS)
        passed = first._revision
        assert await first.confirms(passed)
        assert await first.acquire() > passed
        await asyncio.sleep(ASK_SECONDS)
        assert not await first.confirms(passed)
        await asyncio.sleep(ANEW_SECONDS)
        assert await first.confirms(passed)
        keeping.cancel()
        await asyncio.wait([keeping])


@virtual
async def test_a_report_of_a_leader_that_never_was_ends_by_itself() -> None:
    """Every agent hears it, and refuses the real one for ten minutes."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        node = await cluster.node("n1")
        await asyncio.sleep(1.0)
        forged = Report(epoch=2**63 - 1)
        cluster.observer.publish(subjects.REPORT, msgspec.json.encode(forged))
        await asyncio.sleep(EPOCH_SECONDS - 20.0)
        task = await cluster.create(leader)
        first = leader.service._replica
        head = await cluster.over(leader, task)
        assert head.status is TaskStatus.COMPLETED
        assert head.counts is not None
        assert head.counts.retry_count == 0
        assert leader.service._replica is first
        assert node.agent is not None
