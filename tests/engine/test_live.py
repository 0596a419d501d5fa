"""Names of what has changed, for whoever watches."""

from __future__ import annotations

from coordinator.engine.live import LiveChanges
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
    assert changes.take() == {"n1", "n2"}
    assert changes.take() == set()
    live.task_changed(TASK, ["n3"])
    assert watcher.woken == 2
    assert changes.take() == {"n3"}


def test_each_hears_of_its_own() -> None:
    """Tasks, the fleet, and each watcher with a set of its own."""
    live, watchers = LiveChanges(), [Watcher() for _ in range(4)]
    one, two = (live.of_task(TASK, watcher.wake) for watcher in watchers[:2])
    other = live.of_task(OTHER, watchers[2].wake)
    fleet = live.of_fleet(watchers[3].wake)
    live.task_changed(TASK, ["n1"])
    live.fleet_changed(["n2"])
    assert [watcher.woken for watcher in watchers] == [1, 1, 0, 1]
    assert (one.take(), two.take(), other.take(), fleet.take()) == ({"n1"}, {"n1"}, set(), {"n2"})


def test_nobody_is_woken_for_nothing() -> None:
    """A change without a name is none."""
    live, watcher = LiveChanges(), Watcher()
    live.of_task(TASK, watcher.wake)
    live.task_changed(TASK, [])
    assert watcher.woken == 0


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
