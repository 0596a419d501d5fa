"""Coordinators of a fleet in virtual time: who answers while leaders and the store come and go."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import msgspec

from common import subjects, texts
from common.bus import Received
from common.messages import Command, Heartbeat, Reply
from coordinator.core.task import TaskStatus
from coordinator.port import StoreAway
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.test_service import refused, write_refused

INSTANCE = "0123456789abcdef"


@virtual
async def test_a_standby_says_who_leads_until_it_leads() -> None:
    """To whoever reads and to whoever writes."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await asyncio.sleep(10.0)
        assert refused(second.service) == texts.COORDINATOR_STANDBY(holder="c1")
        assert await write_refused(second.service) == texts.COORDINATOR_STANDBY(holder="c1")
        task = await cluster.create(first)
        await first.stop()
        await cluster.until(lambda: second.service.not_ready() is None, 10.0)
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
            reply = Reply(accepted=command.epoch >= self.epoch, epoch=self.epoch)
            self.bus.publish(received.reply, msgspec.json.encode(reply))


async def beating(agent: Agent) -> NoReturn:
    """Speak every five seconds."""
    while True:
        agent.beat()
        await asyncio.sleep(5.0)


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
        agent = Agent(cluster, epoch=2**62)
        await agent.listen()
        speaking = asyncio.create_task(beating(agent))
        await asyncio.sleep(1.0)
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
