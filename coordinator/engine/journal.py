"""The coordinator's log of its work, from what the core is told and what it makes of it.

The same thing has the same name in every line: ``task``, ``node``, ``batch``, ``attempt``,
``reason``, ``epoch``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from common.logs import Log
from common.reasons import Reason
from coordinator.core.changes import (
    AttemptDecided,
    BatchSettled,
    Change,
    Step,
    TaskBegan,
    TaskOver,
    TaskQueued,
)
from coordinator.core.events import Event
from coordinator.core.node_run import NodeRun
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskHead

log = Log(__name__)

JOURNALED: Final = (TaskQueued, TaskBegan, BatchSettled, AttemptDecided, TaskOver)
"""What the journal wants to see."""


class Journal:
    """Observes the core's loop while this coordinator leads."""

    def __init__(self, runs: Mapping[str, TaskRun], epoch: int) -> None:
        self._runs = runs
        self._epoch = epoch

    def led(self, tasks: int) -> None:
        """This coordinator leads; so many tasks are stored."""
        log.info("leading", epoch=self._epoch, tasks=tasks, running=len(self._runs))

    def deposed(self, why: str) -> None:
        """This coordinator no longer leads."""
        log.warning("deposed: nothing is assigned any more", epoch=self._epoch, why=why)

    def observe(self, _event: Event, decision: Decision) -> None:
        """Log what has happened."""
        for change in decision.changes:
            self._record(change)

    def _record(self, change: Change) -> None:
        match change:
            case TaskQueued(head=head):
                priority, images = head.spec.priority, len(head.spec.work)
                log.info("task created", task=head.id, priority=priority, images=images)
            case TaskBegan(head=head):
                log.info("task started", task=head.id, nodes=head.nodes, batches=head.batches)
            case BatchSettled(task=task, batch=batch, seconds=seconds):
                log.info("batch done", task=task, batch=batch, seconds=round(seconds, 3))
            case AttemptDecided():
                self._attempt(change)
            case TaskOver(head=head):
                _over(head)
            case _:
                pass

    def _attempt(self, change: AttemptDecided) -> None:
        fields = {"task": change.task, "node": change.node, "attempt": change.attempt}
        run = self._runs.get(change.task)
        node = None if run is None else run.by_name.get(change.node)
        match change.step:
            case Step.RETRYING:
                log.info("node retrying", **fields, reason=_reason(node))
            case Step.FAILED:
                log.warning("node failed", **fields, reason=_reason(node))
            case Step.REMOVED:
                log.info("node removed", **fields)
            case Step.SUCCEEDED:
                log.debug("node succeeded", **fields)


def _reason(node: NodeRun | None) -> Reason:
    """A node's own reason, or that of its first failed image."""
    if node is None:
        return Reason.UNKNOWN
    image = next(node.failed_images(), None)
    return node.reason or (image.reason if image is not None else None) or Reason.UNKNOWN


def _over(head: TaskHead) -> None:
    if not head.status.is_final:
        log.warning("task removed by hand", task=head.id)
        return
    counts = head.counts
    done, failed = (0, 0) if counts is None else (counts.completed, counts.failed)
    log.info("task over", task=head.id, status=head.status, completed=done, failed=failed)
