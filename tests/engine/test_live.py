"""Names of what has changed, for whoever watches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.engine import live as engine_live
from coordinator.engine.live import SPARE_ENTRIES, LiveChanges
from tests.engine.following import OTHER, TASK


class Watcher:
    """Somebody who is woken."""

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        """There is something to take."""
        self.woken += 1


def test_a_watcher_is_woken_once_until_it_takes() -> None:
    """However often the same nodes change; a set of names never grows long."""
    live, watcher = LiveChanges(), Watcher()
    changes = live.of_task(TASK, watcher.wake)
    for _ in range(3):
        live.task_changed(TASK, ["n1", "n2"])
    assert watcher.woken == 1
    assert changes.take(10) == {"n1", "n2"}
    assert changes.take(10) == set()
    live.task_changed(TASK, ["n3"])
    assert watcher.woken == 2
    assert changes.take(10) == {"n3"}


def test_each_hears_of_its_own() -> None:
    """Tasks, the fleet, and each watcher with a set of its own."""
    live, watchers = LiveChanges(), [Watcher() for _ in range(4)]
    one, two = (live.of_task(TASK, watcher.wake) for watcher in watchers[:2])
    other = live.of_task(OTHER, watchers[2].wake)
    fleet = live.of_fleet(watchers[3].wake)
    live.task_changed(TASK, ["n1"])
    live.fleet_changed(["n2"])
    assert [watcher.woken for watcher in watchers] == [1, 1, 0, 1]
    assert (one.take(10), two.take(10), other.take(10), fleet.take(10)) == (
        {"n1"},
        {"n1"},
        set(),
        {"n2"},
    )


def test_nobody_is_woken_for_nothing() -> None:
    """A change without a name is none."""
    live, watcher = LiveChanges(), Watcher()
    live.of_task(TASK, watcher.wake)
    live.task_changed(TASK, [])
    assert watcher.woken == 0


def test_what_changes_again_waits_behind_the_others() -> None:
    """Each name comes once, the one that waits longest first; the rest can be taken later."""
    live, watcher = LiveChanges(), Watcher()
    changes = live.of_fleet(watcher.wake)
    live.fleet_changed(["n1", "n2", "n3"])
    live.fleet_changed(["n1"])
    assert changes.take(2) == {"n2", "n3"}
    live.fleet_changed(["n4"])
    assert watcher.woken == 1  # there is still something to take
    assert changes.take(2) == {"n1", "n4"}
    assert changes.take(2) == set()
    live.fleet_changed(["n4"])
    assert watcher.woken == 2


def test_a_thousand_watchers_that_never_look_share_what_they_miss() -> None:
    """However much changes, what is kept is a name once, for all of them."""
    live, watcher = LiveChanges(), Watcher()
    deaf = [live.of_task(TASK, watcher.wake) for _ in range(1000)]
    names = [f"n{number}" for number in range(3)]
    for _ in range(SPARE_ENTRIES):
        live.task_changed(TASK, names)
    log = live._tasks[TASK]
    assert len(log._entries) <= 2 * len(names) + SPARE_ENTRIES
    assert watcher.woken == len(deaf)
    assert deaf[0].take(10) == set(names)
    assert deaf[1].take(2) | deaf[1].take(2) == set(names)


@given(
    st.lists(
        st.tuples(st.just("change"), st.sampled_from("abcdef"))
        | st.tuples(st.just("take"), st.integers(1, 3))
    )
)
def test_nothing_is_missed_or_told_twice(steps: list[tuple[str, Any]]) -> None:
    """Against a set of names for each watcher; a log is put in order all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_live, "SPARE_ENTRIES", 0)
        live, watcher = LiveChanges(), Watcher()
        changes, late = live.of_fleet(watcher.wake), live.of_fleet(watcher.wake)
        wanted, ever = set[str](), set[str]()
        for what, value in steps:
            if what == "change":
                live.fleet_changed([value])
                wanted.add(value)
                ever.add(value)
            else:
                taken = changes.take(value)
                assert len(taken) == min(value, len(wanted))
                assert taken <= wanted
                wanted -= taken
        assert changes.take(10) == wanted
        assert late.take(10) == ever


def test_whoever_has_gone_hears_no_more() -> None:
    """The others do; and of a task that nobody watches nothing is kept."""
    live, gone, stays = LiveChanges(), Watcher(), Watcher()
    leaving = [live.of_task(TASK, gone.wake), live.of_fleet(gone.wake)]
    staying = live.of_task(TASK, stays.wake)
    for changes in leaving:
        changes.close()
    live.task_changed(TASK, ["n1"])
    live.fleet_changed(["n1"])
    assert (gone.woken, stays.woken) == (0, 1)
    staying.close()
    live.task_changed(OTHER, ["n1"])
    assert not live._tasks
