"""Plausible bugs of how tasks and outcomes come in: the fast tests find each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from common.bus import BusError
from coordinator.core.events import OutcomeStored
from coordinator.core.run import TaskRun
from coordinator.core.task import TaskHead
from coordinator.engine import finished_folds
from coordinator.engine.heads import Heads, KeptHead
from coordinator.engine.persistence import Persistently
from coordinator.engine.tasks import TaskTable
from coordinator.store import Gone, Store, StoredHead
from tests.engine import (
    test_finished_folds,
    test_heads,
    test_intake,
    test_persistence,
    test_store,
    test_tasks,
)
from tests.engine.planting import Faults, Plant, expect_found, nothing_at_all

FAULTS = Faults()


# ── the table of tasks ──


@FAULTS.found_by(test_tasks)
def withheld_outcomes_are_dropped(patch: pytest.MonkeyPatch) -> None:
    """They wait for nothing."""

    @contextmanager
    def withholding(self: TaskTable, task: str) -> Iterator[None]:
        take_in = self._feed
        self._feed = lambda event: (
            None if isinstance(event, OutcomeStored) and event.key.task == task else take_in(event)
        )
        yield
        self._feed = take_in

    patch.setattr(TaskTable, "withholding", withholding)


@FAULTS.found_by(test_tasks)
def withheld_outcomes_come_when_the_first_is_done(patch: pytest.MonkeyPatch) -> None:
    """Nobody counts who holds them."""
    original = TaskTable.withholding

    @contextmanager
    def withholding(self: TaskTable, task: str) -> Iterator[None]:
        with original(self, task):
            yield
            withheld = self._withheld[task]
            for event in withheld.events:
                self._feed(event)
            withheld.events.clear()

    patch.setattr(TaskTable, "withholding", withholding)


@FAULTS.found_by(test_tasks)
def revisions_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes last counts."""

    def apply(self: Heads, stored: StoredHead) -> bool:
        self.by_id[stored.head.id] = KeptHead(stored)
        self._sorted.clear()
        return True

    patch.setattr(Heads, "apply", apply)


@FAULTS.found_by(test_heads)
def lists_are_sorted_once_and_for_all(patch: pytest.MonkeyPatch) -> None:
    """What was sorted stays, whatever changes."""
    apply = Heads.apply

    def lazy(self: Heads, stored: StoredHead) -> bool:
        before = dict(self._sorted)
        applied = apply(self, stored)
        self._sorted.update(before)
        return applied

    patch.setattr(Heads, "apply", lazy)


@FAULTS.found_by(test_tasks)
def a_deleted_task_goes_on(patch: pytest.MonkeyPatch) -> None:
    """Its head is forgotten, and the core not told."""

    def forget(self: TaskTable, task: str) -> None:
        self._heads.remove(task)

    patch.setattr(TaskTable, "forget", forget)


@FAULTS.found_by(test_tasks)
def the_place_of_outcomes_is_not_moved(patch: pytest.MonkeyPatch) -> None:
    """A start reads none of those that came before it."""
    take_in = TaskTable._take_in

    def still(self: TaskTable, event: OutcomeStored) -> None:
        before = self.outcomes_seen.upto
        take_in(self, event)
        self.outcomes_seen.upto = before

    patch.setattr(TaskTable, "_take_in", still)


@FAULTS.found_by(test_intake)
def earlier_outcomes_do_not_count(patch: pytest.MonkeyPatch) -> None:
    """What outran its start is gone."""
    patch.setattr(TaskTable, "_take_earlier", nothing_at_all)


@FAULTS.found_by(test_tasks)
def what_was_read_is_not_looked_at_again(patch: pytest.MonkeyPatch) -> None:
    """The task has ended meanwhile."""

    async def introduce(self: TaskTable, head: TaskHead, order: int) -> None:
        nodes = await self._persistently(lambda: self.nodes_of(head))
        self.begin(head, order, nodes)

    patch.setattr(TaskTable, "_introduce", introduce)


@FAULTS.found_by(test_intake)
def it_is_not_said_that_a_task_was_found(patch: pytest.MonkeyPatch) -> None:
    """A lost argument."""
    queue = TaskTable.queue

    def forgetful(self: TaskTable, head: TaskHead, order: int, *, found: bool) -> None:
        del found
        queue(self, head, order, found=False)

    patch.setattr(TaskTable, "queue", forgetful)


# ── what comes in ──


@FAULTS.found_by(test_intake)
def a_load_skips_pending_tasks(patch: pytest.MonkeyPatch) -> None:
    """They wait for somebody to rewrite them."""
    queue = TaskTable.queue

    def skipping(self: TaskTable, head: TaskHead, order: int, *, found: bool) -> None:
        if not found:
            queue(self, head, order, found=found)

    patch.setattr(TaskTable, "queue", skipping)


@FAULTS.found_by(test_intake)
def tombstones_are_passed_over(patch: pytest.MonkeyPatch) -> None:
    """A value that is none is no head."""
    watch = Store.watch_heads

    async def watch_heads(self: Store, start: int) -> AsyncIterator[StoredHead | Gone]:
        async for stored in watch(self, start):
            if isinstance(stored, StoredHead):
                yield stored

    patch.setattr(Store, "watch_heads", watch_heads)


@FAULTS.found_by(test_persistence)
def a_store_that_is_away_is_asked_once(patch: pytest.MonkeyPatch) -> None:
    """Whoever needed it has an error instead."""

    async def once(_: Persistently, work: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await work()
        except BusError:
            return None

    patch.setattr(Persistently, "__call__", once)


@FAULTS.found_by(test_store)
def a_probe_asks_the_heads_alone(patch: pytest.MonkeyPatch) -> None:
    """Streams stop one after the other."""

    async def probe(self: Store) -> None:
        await self._heads.delete("probe")

    patch.setattr(Store, "probe", probe)


@FAULTS.found_by(test_finished_folds)
def outcomes_after_the_end_count(patch: pytest.MonkeyPatch) -> None:
    """A finished task changes."""
    fold = finished_folds.fold

    async def greedy(store: Any, head: TaskHead, _upto: int, on_step: Any) -> TaskRun:
        return await fold(store, head, 1_000, on_step)

    patch.setattr(finished_folds, "fold", greedy)


@pytest.mark.parametrize(("ring", "fault"), FAULTS.all, ids=FAULTS.names)
def test_the_fast_ring_finds_it(
    ring: ModuleType, fault: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each planted fault breaks a test of its module, so that the tests bite."""
    fault(monkeypatch)
    expect_found(ring)
