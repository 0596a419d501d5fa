"""How a task ends: what counts of it, as what, and the sentence about it."""

from __future__ import annotations

from collections import Counter

from common.reasons import Reason
from common.text import Text
from common.texts import (
    TASK_NO_MATCH,
    TASK_NO_MATCH_OR_TOO_MANY,
    TASK_NO_NODES,
    TASK_NODES_GONE,
    TASK_SOME_FAILED,
    TASK_TOO_MANY_FAILED,
)
from coordinator.core.commands import FinishTask
from coordinator.core.node_run import NodePhase
from coordinator.core.run import TaskRun
from coordinator.core.selection import describe
from coordinator.core.task import TaskStatus


def finish(run: TaskRun) -> FinishTask:
    """The end of a task whose nodes are all over."""
    allowed = _allowed_failures(run)
    status = TaskStatus.COMPLETED
    if not run.nodes or run.in_phase[NodePhase.FAILED] > allowed:
        status = TaskStatus.FAILED
    text = _closing_text(run, status, allowed)
    counts, results_seq = run.ending()
    return FinishTask(run.head.id, status, counts, results_seq, text)


def _allowed_failures(run: TaskRun) -> int:
    """How many nodes may fail without failing the task; a percentage is rounded down."""
    allowed = run.spec.max_failed_nodes
    if isinstance(allowed, int):
        return allowed
    return int(allowed.removesuffix("%")) * run.total // 100


def _closing_text(run: TaskRun, status: TaskStatus, allowed: int) -> Text | None:
    """Why a task ended as it did; None where there is nothing to say."""
    if not run.nodes:
        selection, most = describe(run.spec), run.spec.max_nodes
        if most is not None:
            return TASK_NO_MATCH_OR_TOO_MANY(selection=selection or "the task", most=most)
        return TASK_NO_MATCH(selection=selection) if selection else TASK_NO_NODES()
    if run.total == 0:
        return TASK_NODES_GONE()
    failed = run.in_phase[NodePhase.FAILED]
    if not failed:
        return None
    if status is TaskStatus.COMPLETED:
        return TASK_SOME_FAILED(failed=failed, total=run.total, allowed=allowed)
    reason = _commonest_reason(run)
    return TASK_TOO_MANY_FAILED(failed=failed, total=run.total, allowed=allowed, reason=reason)


def _commonest_reason(run: TaskRun) -> Reason:
    """The reason of most nodes; a node with the same fault in many images counts once."""
    reasons: Counter[Reason] = Counter()
    for node in run.nodes:
        if node.phase is NodePhase.FAILED:
            reasons.update({image.reason or Reason.UNKNOWN for image in node.failed_images()})
            if node.reason is not None:
                reasons[node.reason] += 1
    return reasons.most_common(1)[0][0]
