"""Sets that pull in the windows of a schedule."""

from __future__ import annotations

from typing import Any

import pytest

from common.reasons import Reason
from coordinator.core.events import Settled
from coordinator.core.sets.head import Joins, Schedule, SetHead
from coordinator.core.sets.standing import Blocked, SetCondition, SetNode, SetNodePhase
from coordinator.core.task import TaskStatus
from tests.core.set_world import START, SetWorld, heard, set_of

pytestmark = pytest.mark.pure

HOUR = 3600.0
FIRST = START - START % HOUR + HOUR
"""When the first window begins."""


def hourly(*images: str, joins: Joins = Joins.WINDOW, **fields: Any) -> SetHead:
    """A set that pulls in the first ten minutes of each hour."""
    schedule = Schedule(cron="0 * * * *", window="10m", joins=joins)
    return set_of("web", *images, schedule=schedule, **fields)


def state(world: SetWorld, node: str = "n1") -> SetNode:
    """How a node is."""
    return world.core.node("web", node, world.now)


def until(world: SetWorld, moment: float) -> None:
    """Let time pass with heartbeats until a moment."""
    world.live(moment - world.now - (moment - world.now) % 5)
    world.pass_time(moment - world.now)
    heard(world, *world.nodes)


def test_nothing_is_pulled_outside_of_a_window() -> None:
    """And it is said when the next one begins; then it is pulled at once."""
    world = SetWorld()
    world.put(hourly("a"))
    world.join("n1")
    heard(world, "n1")
    world.pass_time(5.0)
    found = state(world)
    assert (found.phase, found.reason) == (SetNodePhase.BLOCKED, Blocked.OUTSIDE_WINDOW)
    assert found.next_try == FIRST
    assert found.text is not None
    assert found.text.params == {"next": "1970-01-12 14:00", "zone": "UTC"}
    degraded = world.core.tally("web", world.now).conditions()[SetCondition.DEGRADED]
    assert not degraded.holds
    until(world, FIRST - 1.0)
    assert world.repairs == []
    world.pass_time(1.0)
    assert [repair.nodes for repair in world.repairs] == [("n1",)]


def test_what_is_not_done_at_the_end_of_a_window_goes_on_in_the_next_one() -> None:
    """The repair is cancelled once, and what was pulled by then is not pulled again."""
    world = SetWorld()
    world.put(hourly("a"))
    for name in ("n1", "n2"):
        world.join(name)
    until(world, FIRST + 1.0)
    (task,) = world.runs
    world.end_node(task, "n1")
    world.deliver_all()
    until(world, FIRST + 599.0)
    assert world.cancelled == []
    until(world, FIRST + 650.0)
    assert world.cancelled == [task]
    world.end(task, TaskStatus.CANCELLED)
    until(world, FIRST + HOUR - 1.0)
    assert state(world, "n2").reason == Blocked.OUTSIDE_WINDOW
    assert len(world.repairs) == 1
    world.pass_time(2.0)
    assert [repair.nodes for repair in world.repairs] == [("n1", "n2"), ("n2",)]


def test_a_run_that_nobody_was_there_for_is_made_up_for_while_its_window_is_open() -> None:
    """By the leader that begins then; not after its end."""
    for late, repairs in ((300.0, 1), (700.0, 0)):
        world = SetWorld(leads=False)
        world.put(hourly("a"))
        world.join("n1")
        until(world, FIRST + late)
        world.feed(Settled())
        world.live(10.0)
        assert len(world.repairs) == repairs


@pytest.mark.parametrize("joins", list(Joins))
def test_nodes_that_join_wait_for_a_window_unless_they_need_not(joins: Joins) -> None:
    """With ``always`` they are warmed at once, and once: then they are nodes like any other."""
    world = SetWorld()
    world.join("old")
    world.put(hourly("a", joins=joins))
    heard(world, "old")
    world.pass_time(5.0)
    world.join("new")
    heard(world, "new")
    world.pass_time(3.0)
    if joins is Joins.WINDOW:
        assert world.repairs == []
        return
    assert [repair.nodes for repair in world.repairs] == [("new",)]
    assert state(world, "old").reason == Blocked.OUTSIDE_WINDOW
    world.pass_time(60.0)
    assert world.cancelled == []
    world.finish_all()
    world.deliver_all()
    assert state(world, "new").phase is SetNodePhase.WARM
    world.nodes["new"].images.clear()
    world.look("new")
    world.deliver_all()
    world.beat("new")
    assert state(world, "new").reason == Blocked.OUTSIDE_WINDOW


def test_a_node_that_failed_says_so_outside_of_windows_too() -> None:
    """It is tried again in the next one, or when its back-off is over."""
    world = SetWorld()
    world.put(hourly("a"))
    world.join("n1")
    until(world, FIRST + 1.0)
    world.finish_all(Reason.UNAUTHORIZED)
    until(world, FIRST + 50.0)
    assert state(world).next_try == FIRST + 61.0
    world.runs.clear()
    until(world, FIRST + 55.0)
    world.put(hourly("a", priority=9))
    until(world, FIRST + 595.0)
    world.finish_all(Reason.UNAUTHORIZED)
    until(world, FIRST + 1800.0)
    found = state(world)
    assert (found.reason, found.next_try) == (Reason.UNAUTHORIZED, FIRST + HOUR)


def test_a_schedule_that_cannot_be_read_keeps_its_set_at_rest() -> None:
    """And the sentence says what to look at."""
    world = SetWorld()
    schedule = Schedule(cron="0 * * * *", time_zone="Mars/X", window="1h")
    world.put(set_of("web", "a", schedule=schedule))
    world.join("n1")
    world.live(20.0)
    found = state(world)
    assert (found.reason, found.next_try) == (Blocked.OUTSIDE_WINDOW, None)
    assert found.text is not None
    assert found.text.code == "set.noWindow"
    assert world.core.window("web", world.now) is not None
    world.put(set_of("web", "a", generation=2))
    world.live(10.0)
    assert len(world.repairs) == 1
