"""An agent's inventory, on a bus in memory and in virtual time."""

from __future__ import annotations

import asyncio

import msgspec

from agent.inventory import LOOK_SECONDS
from agent.runtime.simulated import SimulatedRuntime
from common import subjects
from common.bus import Received
from common.inventory import Ask, Inventory, InventoryQuestion, wants
from common.messages import Heartbeat
from sandbox.simulator.cluster import Cluster, Node
from sandbox.virtual.time import virtual


class Listener:
    """Hears what one node says, and asks it."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self._bus = cluster.observer
        self._address = node.agent.address
        self.reports: list[Inventory] = []
        self.heartbeats: list[Heartbeat] = []

    async def open(self) -> None:
        """Begin to hear."""
        for subject, take in (
            (subjects.inventory(*self._address), self._on_report),
            (subjects.heartbeat(*self._address), self._on_heartbeat),
        ):
            await self._bus.subscribe(subject, take)

    def _on_report(self, received: Received) -> None:
        self.reports.append(msgspec.json.decode(received.data, type=Inventory))

    def _on_heartbeat(self, received: Received) -> None:
        self.heartbeats.append(msgspec.json.decode(received.data, type=Heartbeat))

    def ask(self, *questions: InventoryQuestion) -> None:
        """Say something to the agent."""
        for question in questions:
            self._bus.publish(subjects.query(*self._address), msgspec.json.encode(question))


async def listening(cluster: Cluster) -> tuple[Node, SimulatedRuntime, Listener]:
    """A node of which somebody hears."""
    node = await cluster.node("n1")
    listener = Listener(cluster, node)
    await listener.open()
    await asyncio.sleep(1.0)
    assert isinstance(node.runtime, SimulatedRuntime)
    return node, node.runtime, listener


@virtual
async def test_what_is_there_is_told_when_it_changes() -> None:
    """Within a second, and the heartbeats show what was said last."""
    async with Cluster() as cluster:
        _, runtime, listener = await listening(cluster)
        listener.ask(*wants(["r/a", "r/b"]))
        await asyncio.sleep(1.0)
        assert [found.present for found in listener.reports[-1].found] == [False, False]
        runtime._present.add("r/a")
        runtime._tell()
        await asyncio.sleep(1.0)
        assert [found.reference for found in listener.reports[-1].found] == ["r/a"]
        runtime.remove("r/a")
        await asyncio.sleep(1.0)
        assert [found.present for found in listener.reports[-1].found] == [False]
        await asyncio.sleep(15.0)
        state = listener.heartbeats[-1].inventory
        assert state is not None
        assert (state.number, state.hash) == (3, listener.reports[-1].hash)


@virtual
async def test_what_a_runtime_does_not_tell_is_seen_within_a_minute() -> None:
    """Because it is looked at anyway."""
    async with Cluster() as cluster:
        _, runtime, listener = await listening(cluster)
        listener.ask(*wants(["r/a"]))
        await asyncio.sleep(1.0)
        runtime._present.add("r/a")
        await asyncio.sleep(LOOK_SECONDS + 1.0)
        assert [found.present for found in listener.reports[-1].found] == [True]


@virtual
async def test_whoever_asks_hears_all_of_it_once() -> None:
    """However many ask at the same moment; who asks before anything is wanted hears nothing."""
    async with Cluster() as cluster:
        _, _, listener = await listening(cluster)
        listener.ask(Ask())
        await asyncio.sleep(1.0)
        assert listener.reports == []
        listener.ask(*wants(["r/a"]), Ask())
        await asyncio.sleep(1.0)
        assert [report.whole for report in listener.reports] == [True]
        listener.ask(*[Ask()] * 3)
        await asyncio.sleep(1.0)
        assert [report.number for report in listener.reports] == [1, 1]


@virtual
async def test_nonsense_is_no_question() -> None:
    """It ends nothing."""
    async with Cluster() as cluster:
        node, _, listener = await listening(cluster)
        cluster.observer.publish(subjects.query(*node.agent.address), b"{")
        listener.ask(*wants(["r/a"]))
        await asyncio.sleep(1.0)
        assert len(listener.reports) == 1
        assert node.died is None
