"""What is taken over of what an earlier leader has stored of sets and their nodes."""

from __future__ import annotations

from typing import Any, Final

import pytest

from common.reasons import Reason
from common.text import Text
from coordinator.core.sets.events import NodesNoted, SetNoted
from coordinator.core.sets.freshness import NEVER, LookFailure, Refreshed
from coordinator.core.sets.head import Refresh
from coordinator.core.sets.memory import NO_REST, Rest
from coordinator.core.sets.records import (
    LONGEST_BACK_OFF_SECONDS,
    NOTHING_REMEMBERED,
    UNSEEN_SECONDS,
    NodeMemory,
    RepairFailure,
)
from coordinator.core.sets.repairs import InVain
from tests.core.set_world import SetWorld, set_of

pytestmark = pytest.mark.pure

YEARS: Final = 1e9
"""Seconds by which a clock was wrong."""


def follower(generation: int = 1) -> SetWorld:
    """One that follows, and knows the set and its node, of which no agent has spoken."""
    world = SetWorld(leads=False)
    world.put(set_of("web", "a", generation=generation, refresh=Refresh(tags="10m")))
    world.see("n1", {})
    return world


def failure(next_try: float, **fields: Any) -> RepairFailure:
    """A node failed."""
    return RepairFailure(1, next_try, Reason.UNKNOWN, Text("so it was drawn"), **fields)


def note_nodes(
    world: SetWorld,
    noted: NodeMemory,
    before: NodeMemory = NOTHING_REMEMBERED,
    generation: int = 1,
) -> NodeMemory:
    """A note of the node is read; what is remembered of it then."""
    world.feed(NodesNoted("web", 0, generation, {"n1": noted}, {"n1": before}))
    return world.core._known.records.memory("web", "n1")


def note_rest(
    world: SetWorld, rest: Rest, refreshed: Refreshed = NEVER, **fields: Any
) -> tuple[LookFailure | None, InVain | None]:
    """The set's own note is read; why the set rests then."""
    world.feed(SetNoted("web", 0, {}, refreshed, rest, **fields))
    known = world.core._known
    return known.freshness.failure("web"), known.repairs.rest("web")


def test_no_time_is_believed_that_nobody_can_have_noted_yet() -> None:
    """A clock that was wrong, or a damaged record, does not outlive a restart."""
    world = follower()
    late = world.now + YEARS
    memory = NodeMemory(failure(late, told_from=late), (world.now - 1.0, late, late))
    found = note_nodes(world, memory)
    again = world.now + LONGEST_BACK_OFF_SECONDS
    assert found.failure == failure(again, told_from=world.now + UNSEEN_SECONDS)
    assert found.vanished == (world.now - 1.0, world.now, world.now)
    rest = Rest(1, LookFailure(3, late, None), InVain(3, late))
    assert note_rest(world, rest) == (LookFailure(3, again, None), InVain(3, again))
    note_rest(world, NO_REST, Refreshed(late, 0))
    assert world.core.refreshed("web").looked_at == again
    assert note_nodes(world, NOTHING_REMEMBERED, memory).failure is None


def test_a_note_of_a_generation_that_is_not_known_yet_counts() -> None:
    """One of before the set was changed does not."""
    found = note_nodes(follower(2), NodeMemory(failure(SetWorld().now + 60.0)), generation=3)
    assert found.failure is not None
    old = NodeMemory(failure(SetWorld().now + 60.0), is_new=True)
    assert note_nodes(follower(2), old, generation=1) == NodeMemory(is_new=True)


def test_an_older_failed_look_does_not_hide_a_success() -> None:
    """And once the leader has stored that it is over, it is."""
    world = follower()
    rest = Rest(1, LookFailure(1, world.now + 60.0, None), InVain(1, world.now + 60.0))
    succeeded = Refreshed(world.now, 0)
    note_rest(world, NO_REST, succeeded)
    assert note_rest(world, rest, Refreshed(world.now - 5.0, 0))[0] is None
    assert note_rest(world, rest, succeeded) == (rest.look_failure, rest.in_vain)
    assert note_rest(world, NO_REST, succeeded, before=rest) == (None, None)


def test_what_is_newer_than_the_note_is_not_forgotten() -> None:
    """A follower may know more than the leader had stored when it wrote."""
    world = follower()
    newer = Rest(1, LookFailure(2, world.now + 120.0, None), InVain(2, world.now + 120.0))
    older = Rest(1, LookFailure(1, world.now + 60.0, None), InVain(1, world.now + 60.0))
    note_rest(world, newer)
    assert note_rest(world, NO_REST, before=older) == (newer.look_failure, newer.in_vain)


def test_what_vanished_is_forgotten_with_the_leader() -> None:
    """As what failed; and not what has vanished since."""
    world = follower()
    first = NodeMemory(vanished=(world.now - 9.0,))
    assert note_nodes(world, first).vanished == first.vanished
    assert note_nodes(world, NOTHING_REMEMBERED, first).vanished == ()
    second = NodeMemory(vanished=(world.now - 9.0, world.now - 5.0))
    note_nodes(world, second)
    assert note_nodes(world, NOTHING_REMEMBERED, first).vanished == second.vanished


def test_a_failure_of_another_agent_than_the_one_that_speaks_is_none() -> None:
    """It would wait for a back-off that its agent has nothing to do with."""
    world = follower()
    instance = world.join("n1").instance
    ours = failure(world.now + 60.0, served_by=f"{instance}/0")
    other = failure(world.now + 60.0, served_by="fedcba9876543210/0")
    assert note_nodes(world, NodeMemory(other)).failure is None
    assert note_nodes(world, NodeMemory(ours)).failure == ours
