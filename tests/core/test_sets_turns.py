"""What is told of sets and their nodes, and since when what holds of a set holds."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from common.inventory import wants
from common.reasons import Reason
from coordinator.core.events import Settled
from coordinator.core.sets.decisions import NodeCooled, NodeWarmed, SetDropped, SetPut, SetTurned
from coordinator.core.sets.events import SetNoted, SetStored
from coordinator.core.sets.standing import SetCondition, Turn
from coordinator.core.sets.turns import HEARD_SECONDS
from tests.core.set_world import SetWorld, heard, set_of

pytestmark = pytest.mark.pure


def test_what_is_told_of_a_set() -> None:
    """That it was put, and each time that a condition turns."""
    world = SetWorld()
    world.join("n1")
    world.put(set_of("web", "a"))
    assert world.changes == [SetPut(set_of("web", "a"), is_new=True)]
    world.settle()
    assert (SetCondition.READY, True) in turns(world)
    world.put(set_of("web", "a", "b", generation=2))
    assert world.changes[-1] != SetPut(set_of("web", "a"), is_new=True)
    heard(world, "n1")
    world.pass_time(3.0)
    world.finish_all(Reason.DISK_FULL)
    world.pass_time(3.0)
    assert (SetCondition.DEGRADED, True) in turns(world)
    degraded = world.core.turn("web", SetCondition.DEGRADED)
    assert degraded is not None
    assert degraded.holds
    conditions = world.core.tally("web", world.now).conditions()
    assert conditions[SetCondition.DEGRADED].reason == Reason.DISK_FULL
    assert conditions[SetCondition.READY].text.params == {"warm": 0, "nodes": 1}


def turns(world: SetWorld) -> list[tuple[SetCondition, bool]]:
    """What has turned, in its order."""
    turned = [change for change in world.changes if isinstance(change, SetTurned)]
    return [(change.condition, change.turn.holds) for change in turned]


def restarted(world: SetWorld) -> SetWorld:
    """Another core, to which the same sets are found, and which leads."""
    again = SetWorld(leads=False)
    again.now = world.now
    for name, head in world.sets.items():
        again.sets[name] = head
        again.feed(SetStored(head, found=True))
    return again


def noted(world: SetWorld, name: str = "web") -> SetNoted:
    """What a leader would have stored of a set by now."""
    known = {each: world.core.turn(name, each) for each in SetCondition}
    turned = {each: turn for each, turn in known.items() if turn is not None}
    return SetNoted(name, world.sets[name].created_at, turned)


def test_a_restart_is_no_turn() -> None:
    """A set that is still warm is ready since when it was."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    world.settle()
    note = noted(world)
    world.pass_time(1000.0)
    again = restarted(world)
    again.feed(note)
    again.feed(Settled())
    again.pass_time(3.0)
    again.join("n1").images["a"] = "sha256:1"
    again.settle()
    again.pass_time(100.0)
    assert turns(again) == []
    assert again.core.turn("web", SetCondition.READY) == note.turns[SetCondition.READY]


def test_what_became_cold_while_nobody_led_is_told_after_all_could_speak() -> None:
    """And not before: a node that has not spoken yet may be warm."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    world.settle()
    again = restarted(world)
    again.feed(noted(world))
    again.see("n1", {})
    again.feed(Settled())
    again.pass_time(HEARD_SECONDS - 1.0)
    assert turns(again) == []
    again.pass_time(2.0)
    assert turns(again) == [(SetCondition.READY, False), (SetCondition.DEGRADED, True)]


def test_who_follows_is_told_what_turned_and_tells_it_itself_once_it_leads() -> None:
    """A leader that died before it could store a turn has told nobody."""
    world = SetWorld(leads=False)
    world.put(set_of("web", "a"))
    world.join("n1").images["a"] = "sha256:1"
    for want in wants(["a"]):
        world.nodes["n1"].stock.told(want)
    world.look("n1")
    world.settle()
    assert turns(world) == []
    ready = {SetCondition.READY: Turn(holds=True, since=7.0)}
    world.feed(SetNoted("web", 99, ready))
    assert world.core.turn("web", SetCondition.READY) is None
    world.feed(Settled())
    world.pass_time(3.0)
    assert turns(world) == [(each, each is SetCondition.READY) for each in SetCondition]
    world.feed(SetNoted("web", 0, ready))
    turn = world.core.turn("web", SetCondition.READY)
    assert turn is not None
    assert turn.since > 7.0


def test_a_set_that_is_made_anew_unseen_is_another_one() -> None:
    """Its deletion was never told here; since when the old one was ready is nothing of the new."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    world.settle()
    old, new = world.sets["web"], replace(set_of("web", "a"), created_at=99)
    world.changes.clear()
    world.put(new)
    assert world.changes[:2] == [SetDropped(old), SetPut(new, is_new=True)]
    assert world.core.turn("web", SetCondition.READY) is None
    world.settle()
    assert (SetCondition.READY, True) in turns(world)


def test_each_move_of_a_node_has_a_name_of_its_own() -> None:
    """By which whoever is told of it twice knows."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    world.settle()
    for _ in range(2):
        world.nodes["n1"].images.clear()
        world.look("n1")
        world.deliver_all()
        world.settle()
    moves = [c.seen_in for c in world.changes if isinstance(c, NodeWarmed | NodeCooled)]
    assert len(moves) == len(set(moves)) == 5
