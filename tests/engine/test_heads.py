"""The copy of all heads."""

from __future__ import annotations

from coordinator.core.task import TaskStatus
from coordinator.engine.heads import Heads
from tests.engine.following import OTHER, TASK, stored


def test_only_a_higher_revision_is_news() -> None:
    """The same one, or an older one, comes in late."""
    heads = Heads()
    newer = stored(status=TaskStatus.RUNNING, revision=5)
    assert heads.apply(newer)
    assert not heads.apply(stored(revision=4))
    assert not heads.apply(stored(status=TaskStatus.CANCELLED, revision=5))
    kept = heads.by_id.get(TASK)
    assert kept is not None
    assert kept.stored == newer


def test_a_head_is_removed_once() -> None:
    """And may be stored again afterwards."""
    heads = Heads()
    heads.apply(stored(revision=5))
    assert heads.remove(TASK)
    assert not heads.remove(TASK)
    assert heads.by_id.get(TASK) is None
    assert heads.newest_first(None) == []
    assert heads.apply(stored(revision=1))


def test_lists_follow_every_change() -> None:
    """They are sorted once for all who ask in between."""
    heads = Heads()
    heads.apply(stored(TASK, revision=1))
    before = heads.newest_first(None)
    assert heads.newest_first(None) is before
    heads.apply(stored(OTHER, TaskStatus.RUNNING, 2))
    assert list(heads.newest_first(None)) == [OTHER, TASK]
    assert list(heads.newest_first(TaskStatus.RUNNING)) == [OTHER]
    assert heads.newest_first(TaskStatus.FAILED) == []
    assert len(heads.by_id) == 2


def test_heads_may_go_while_they_are_walked_through() -> None:
    """The janitor deletes as it looks."""
    heads = Heads()
    for revision, task in enumerate((TASK, OTHER), start=1):
        heads.apply(stored(task, revision=revision))
    for one in heads:
        heads.remove(one.head.id)
    assert len(heads.by_id) == 0
