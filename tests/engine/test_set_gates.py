"""Gates as the leader keeps them: who is looked at, what is written once, what is waited for."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from common import subjects
from common.bus import KeyValue
from coordinator.core.changes import AttemptDecided
from coordinator.core.sets.decisions import SetDecision
from coordinator.core.sets.events import InventoryReported
from coordinator.engine.gate_notes import KEY as KEY_OF_NOTES
from coordinator.engine.gate_notes import GateNotes
from coordinator.engine.set_gates import LONGEST_PAUSE, SEEN_BY_GATES, SetGates
from coordinator.nodes.marks import MarkedNodes
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.time import virtual
from tests.engine.gate_world import BLOCKED, WAITING, WARM, GateWorld
from tests.engine.stored import bus_in_memory

KEY = "ips.dev/warming"
CONDITION = "ips.dev/warm-web"
LABEL = "ips.dev/warm.web"


def report(keeper: SetGates, node: str) -> None:
    """An agent says what is there."""
    event = InventoryReported(node, "i", None)  # type: ignore[arg-type]
    keeper.observe(event, SetDecision([], []))


@virtual
async def test_a_node_joins_gets_warm_and_takes_pods() -> None:
    """At once when its agent says so; each turn is written once."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, condition=True, taint=KEY)
        world.stands("n1", WAITING)
        world.unheard.add("n1")
        world.join("n1", KEY, "other/taint")
        await asyncio.sleep(1.0)
        assert world.conditions("n1") == {CONDITION: "Unknown"}
        assert world.taints("n1") == [KEY, "other/taint"]
        world.unheard.clear()
        report(keeper, "n1")
        await asyncio.sleep(1.0)
        assert world.conditions("n1") == {CONDITION: "False"}
        world.stands("n1", WARM)
        report(keeper, "n1")
        await asyncio.sleep(0.5)
        assert world.conditions("n1") == {CONDITION: "True"}
        assert world.objects["n1"].metadata.labels == {LABEL: "true"}
        assert world.taints("n1") == ["other/taint"]
        await asyncio.sleep(3600.0)
        assert len(world.written) == 3
        assert world.warned == []


@virtual
async def test_a_node_that_cannot_be_warmed_takes_pods_after_a_while() -> None:
    """With a word of why, counted from the Node's beginning."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, taint=KEY, open_after="5m")
        world.stands("n1", BLOCKED)
        world.join("n1", KEY)
        await asyncio.sleep(299.0)
        assert world.taints("n1") == [KEY]
        await asyncio.sleep(2.0)
        assert world.taints("n1") == []
        [warning] = world.warned
        assert "web: Unauthorized (At registry.corp)" in warning


@virtual
async def test_the_time_of_a_gate_goes_on_over_leaders() -> None:
    """It is the Node that knows when it began."""
    world = GateWorld()
    world.put(None, taint=KEY, open_after="5m")
    world.stands("n1", BLOCKED)
    world.join("n1", KEY)
    for _ in range(9):
        async with world.keeper():
            await asyncio.sleep(32.0)
        assert world.taints("n1") == [KEY]
    async with world.keeper():
        await asyncio.sleep(20.0)
        assert world.taints("n1") == []


@virtual
async def test_a_taint_that_is_put_onto_an_old_node_has_its_time() -> None:
    """It is not the Node's age that counts then."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, taint=KEY, open_after="5m")
        world.stands("n1", BLOCKED)
        world.join("n1")
        await asyncio.sleep(1000.0)
        world.taint("n1", KEY)
        await asyncio.sleep(290.0)
        assert world.taints("n1") == [KEY]
        await asyncio.sleep(20.0)
        assert world.taints("n1") == []


@virtual
async def test_the_time_of_such_a_taint_goes_on_over_leaders() -> None:
    """Whoever saw it has it stored; of another Node of the name that says nothing."""
    async with bus_in_memory() as bus:
        world = GateWorld()
        async with world.keeper(notes=await found_notes(bus)) as keeper:
            world.put(keeper, taint=KEY, open_after="5m")
            world.stands("n1", BLOCKED)
            world.join("n1")
            await asyncio.sleep(1000.0)
            world.taint("n1", KEY)
            await asyncio.sleep(100.0)
            await keeper._notes._save(lambda: True)
        for _ in range(2):
            async with world.keeper(notes=await found_notes(bus)):
                await asyncio.sleep(90.0)
                assert world.taints("n1") == [KEY]
        notes = await found_notes(bus)
        assert notes.appeared("n1", "another", 0.0) == {}
        assert notes.appeared("n1", next(iter(notes._nodes.values())).uid, 5.0) == {KEY: 5.0}
        async with world.keeper(notes=notes) as keeper:
            await asyncio.sleep(30.0)
            assert world.taints("n1") == []
            await keeper._notes._save(lambda: True)
        assert (await found_notes(bus))._nodes == {}


async def found_notes(bus: VirtualBus) -> GateNotes:
    """What the leader before has stored."""
    poison: list[str] = []
    notes = GateNotes(bus, poison.append)
    async for entries in KeyValue(bus, subjects.SET_NOTES_BUCKET).entries(KEY_OF_NOTES):
        for entry in entries:
            notes.take(entry)
    assert poison == []
    return notes


@virtual
async def test_two_leaders_in_sequence_write_nothing_twice() -> None:
    """The second finds what the first has written, and what it did not get to."""
    world = GateWorld()
    world.put(None, condition=True, taint=KEY)
    for number in range(20):
        world.stands(f"n{number}", WARM)
        world.join(f"n{number}", KEY)
    async with world.keeper():
        while len(world.written) < 10:
            await asyncio.sleep(0.01)
    interrupted = len(world.written)
    marked = MarkedNodes()
    for name in world.objects:
        world.tell(name, marked)
    world.marked = marked
    async with world.keeper(marked):
        await asyncio.sleep(60.0)
    nodes = [node for node, _ in world.written]
    assert interrupted <= 11
    assert len(set(nodes)) == 20
    assert len(nodes) <= 21  # at most the one whose answer was not waited for
    async with world.keeper(marked):
        await asyncio.sleep(60.0)
    assert len(world.written) == len(nodes)


@virtual
async def test_a_leader_that_begins_makes_nothing_of_what_it_has_not_heard() -> None:
    """For as long as agents need to speak."""
    world = GateWorld()
    world.put(None, condition=True)
    world.stands("n1", WARM)
    world.join("n1")
    async with world.keeper():
        await asyncio.sleep(1.0)
    world.stands("n1", WAITING)
    world.unheard.add("n1")
    world.judged_from = world.now() + 30.0
    async with world.keeper():
        await asyncio.sleep(25.0)
        assert world.conditions("n1") == {CONDITION: "True"}
        await asyncio.sleep(20.0)
        assert world.conditions("n1") == {CONDITION: "Unknown"}
        assert world.objects["n1"].metadata.labels == {}


@virtual
async def test_what_is_left_of_a_set_is_taken_away() -> None:
    """At its deletion, and when its gate changes; also by a leader that begins afterwards."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, condition=True, taint=KEY)
        world.stands("n1", WAITING)
        world.join("n1", KEY)
        await asyncio.sleep(1.0)
        world.put(keeper, condition=True, taint="ips.dev/starting")
        await asyncio.sleep(1.0)
        assert (world.conditions("n1"), world.taints("n1")) == ({CONDITION: "False"}, [])
        world.taint("n1", "ips.dev/starting")
        await asyncio.sleep(1.0)
        world.delete(keeper)
        await asyncio.sleep(1.0)
        assert (world.conditions("n1"), world.taints("n1")) == ({}, [])
        assert world.warned == []
        world.put(keeper, condition=True)
        world.stands("n1", WARM)
        await asyncio.sleep(11.0)
        assert world.conditions("n1") == {CONDITION: "True"}
    world.delete(None)
    async with world.keeper():
        await asyncio.sleep(1.0)
        assert world.conditions("n1") == {}
        assert world.objects["n1"].metadata.labels == {}


@virtual
async def test_a_taint_of_no_gate_does_not_stay() -> None:
    """Its Node would take no pod for ever; but a set may still be put, or a label come."""
    world = GateWorld()
    async with world.keeper():
        world.join("n1", KEY)
        await asyncio.sleep(590.0)
        assert world.taints("n1") == [KEY]
        await asyncio.sleep(20.0)
        assert world.taints("n1") == []
        assert "no gate" in world.warned[0]


@virtual
async def test_of_several_gates_the_last_one_opens() -> None:
    """The taint waits for all that name it."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, taint=KEY)
        world.put(keeper, "api", taint=KEY, open_after="1h")
        world.stands("n1", WARM)
        world.stands("n1", BLOCKED, "api")
        world.join("n1", KEY)
        await asyncio.sleep(3590.0)
        assert world.taints("n1") == [KEY]
        await asyncio.sleep(20.0)
        assert world.taints("n1") == []


@virtual
async def test_while_the_api_server_is_away_it_is_tried_again() -> None:
    """Less and less often, and what has changed meanwhile is written then."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, condition=True)
        world.is_away = True
        world.stands("n1", WAITING)
        world.join("n1")
        await asyncio.sleep(300.0)
        assert 8 < world.tries < 100
        world.stands("n1", WARM)
        world.is_away = False
        await asyncio.sleep(LONGEST_PAUSE + 1.0)
        assert world.conditions("n1") == {CONDITION: "True"}
        assert len(world.written) == 1


@virtual
async def test_what_is_refused_at_one_node_keeps_no_other_waiting() -> None:
    """It is tried again, later and later."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, condition=True)
        world.refuses = True
        world.stands("n1", WARM)
        world.join("n1")
        await asyncio.sleep(200.0)
        tried = len(world.written)
        assert 6 < tried < 12
        world.stands("n2", WARM)
        world.refuses = False
        world.join("n2")
        await asyncio.sleep(0.5)
        assert world.conditions("n2") == {CONDITION: "True"}
        await asyncio.sleep(61.0)
        assert world.conditions("n1") == {CONDITION: "True"}


@virtual
async def test_whoever_leads_no_more_writes_nothing() -> None:
    """What it knows may be old."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, condition=True)
        world.holds = False
        world.stands("n1", WARM)
        world.join("n1")
        await asyncio.sleep(60.0)
        assert world.written == []


@virtual
async def test_nodes_that_pods_wait_for_come_first() -> None:
    """A thousand others may be told later."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, condition=True, taint=KEY)
        for number in range(1000):
            world.stands(f"n{number}", WARM)
            world.join(f"n{number}")
        await asyncio.sleep(0.1)
        world.stands("new", WARM)
        world.join("new", KEY)
        await asyncio.sleep(0.1)
        assert world.taints("new") == []
        assert len(world.written) < 100


@virtual
async def test_time_alone_changes_what_is_said() -> None:
    """Whoever fell silent is noticed without an event."""
    world = GateWorld()
    async with world.keeper() as keeper:
        world.put(keeper, condition=True)
        world.stands("n1", WAITING)
        world.join("n1")
        await asyncio.sleep(1.0)
        world.stands("n1", BLOCKED)
        await asyncio.sleep(11.0)
        [first, second] = [gates.conditions["web"] for _, gates in world.written]
        assert first is not None
        assert second is not None
        assert (first.mark.reason, second.mark.reason) == ("Warming", "Unauthorized")
        assert [first.is_turn, second.is_turn] == [True, False]
        assert all(one != other for one, other in pairwise(world.written))


def test_what_concerns_a_node_is_seen() -> None:
    """Of the events that name one."""
    assert {InventoryReported, AttemptDecided} <= set(SEEN_BY_GATES)
