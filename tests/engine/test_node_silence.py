"""The table of nodes: who falls silent, and who is forgotten."""

from __future__ import annotations

import asyncio

from coordinator.core.events import AgentHeard, BusFellSilent, BusHeard, NodeVanished
from sandbox.virtual.time import virtual
from tests.engine.test_nodes import FIRST, FORGET_SECONDS, Tabled


@virtual
async def test_who_falls_silent_is_shown_as_not_connected_and_later_forgotten() -> None:
    """Each is told to whoever watches, once."""
    tabled = Tabled()
    tabled.beat(interval=10.0)
    tabled.beat("n2", interval=30.0)
    tabled.taken()
    await asyncio.sleep(29.0)
    assert tabled.node().connected
    assert tabled.taken() == []
    await asyncio.sleep(4.0)
    assert tabled.taken() == [["n1"]]
    assert not tabled.node().connected
    assert tabled.node("n2").connected
    await asyncio.sleep(30.0)
    assert tabled.taken() == []
    await asyncio.sleep(FORGET_SECONDS)
    assert tabled.nodes.get("n1") is None
    assert tabled.nodes.get("n2") is None
    assert list(tabled.nodes.labels()) == []
    assert {name for names in tabled.taken() for name in names} == {"n1", "n2"}
    assert [event for event in tabled.fed if isinstance(event, NodeVanished)] == [
        NodeVanished("n1"),
        NodeVanished("n2"),
    ]
    tabled.watching.cancel()


@virtual
async def test_who_speaks_again_is_connected_again() -> None:
    """Before it was noticed as silent, and after."""
    tabled = Tabled()
    tabled.beat(interval=1.0)
    await asyncio.sleep(10.0)
    assert not tabled.node().connected
    tabled.taken()
    tabled.beat(interval=1.0)
    assert tabled.taken() == [["n1"]]
    assert tabled.node().connected
    tabled.watching.cancel()


@virtual
async def test_who_says_goodbye_is_not_connected_at_once() -> None:
    """And is forgotten like any other."""
    tabled = Tabled()
    tabled.beat()
    tabled.taken()
    tabled.beat(leaving=True)
    assert tabled.fed[-1] == AgentHeard("n1", FIRST, leaving=True)
    assert tabled.taken() == [["n1"]]
    assert not tabled.node().connected
    await asyncio.sleep(FORGET_SECONDS + 3)
    assert tabled.nodes.get("n1") is None
    tabled.watching.cancel()


@virtual
async def test_nobody_is_forgotten_while_the_bus_is_deaf() -> None:
    """Its silence is ours."""
    tabled = Tabled()
    tabled.beat()
    await asyncio.sleep(5.0)
    tabled.feed(BusFellSilent(4.0))
    await asyncio.sleep(10 * FORGET_SECONDS)
    assert tabled.node().connected
    tabled.feed(BusHeard())
    await asyncio.sleep(FORGET_SECONDS - 10.0)
    assert tabled.nodes.get("n1") is not None
    await asyncio.sleep(10.0)
    assert tabled.nodes.get("n1") is None
    tabled.watching.cancel()
