"""Finished tasks: their nodes, folded from the outcomes that the store keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.core.changes import Step
from coordinator.core.events import OutcomeStored
from coordinator.core.run import TaskRun
from coordinator.core.task import TaskHead
from coordinator.engine.recent import Recent

FINISHED_REMEMBERED = 2

OnStep = Callable[[TaskRun, str, int, Step, float], None]
"""Told run, node, attempt, what became of it, and when (seconds) of each attempt, in order."""


class Outcomes(Protocol):
    """What is needed of the store."""

    async def load_nodes(self, head: TaskHead) -> list[str]:
        """The nodes of a started task. Raises BusError, TaskDamaged."""

    def load_outcomes(self, task: str, upto: int) -> AsyncIterator[OutcomeStored]:
        """The outcomes of one task up to a sequence, in order. Raises BusError."""


async def fold(store: Outcomes, head: TaskHead, upto: int, on_step: OnStep) -> TaskRun:
    """Read a started task's outcomes up to a sequence, and say what each did.

    Raises BusError, TaskDamaged.
    """
    nodes = await store.load_nodes(head) if head.node_list else []
    run = TaskRun(head, nodes)
    async for event in store.load_outcomes(head.id, upto):
        for attempt, step in run.take_in(
            event.key, event.outcome, seq=event.seq, stored_at=event.stored_at, now=0.0
        ):
            on_step(run, event.key.node, attempt, step, event.stored_at)
    return run


@dataclass(frozen=True, slots=True)
class _Finished:
    """Which fold is wanted; all else of a head does not change it."""

    task: str
    upto: int | None
    head: TaskHead = field(compare=False)


class FinishedFolds:
    """The folds of the finished tasks that were looked at last: they never change."""

    def __init__(self, store: Outcomes) -> None:
        self._store = store
        # When a large task has failed, every page that is open on it asks at the same moment.
        self._folds: Recent[_Finished, TaskRun] = Recent(self._read, FINISHED_REMEMBERED)

    async def of(self, head: TaskHead) -> TaskRun:
        """The fold of a finished task. Raises BusError, TaskDamaged."""
        return await self._folds.get(_Finished(head.id, head.results_seq, head))

    async def _read(self, wanted: _Finished) -> TaskRun:
        run = await fold(self._store, wanted.head, wanted.upto or 0, lambda *_: None)
        run.close()
        return run
