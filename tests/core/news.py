"""What a core tells of changes, compared with what it shows when asked."""

from __future__ import annotations

from coordinator.core.changes import (
    BatchSettled,
    Change,
    NodeMoved,
    TaskBegan,
    TaskOver,
    TaskQueued,
)
from coordinator.core.node_run import NodePhase
from coordinator.core.scheduler import Core


class LawBrokenError(AssertionError):
    """The core has broken one of its laws."""


def demand(kept: object, law: str, *evidence: object) -> None:
    """A law is kept, or this is the end."""
    if not kept:
        raise LawBrokenError(f"{law}: {evidence}")


class News:
    """Compares what one core tells with what has become of it."""

    def __init__(self) -> None:
        self._told: set[tuple[str, object]] = set()
        self._phases: dict[tuple[str, str], NodePhase] = {}

    def judge(self, core: Core, changes: list[Change]) -> None:
        """Everything that is so is told, once, and nothing else."""
        moved = [(c.task, c.node) for c in changes if isinstance(c, NodeMoved)]
        demand(len(moved) == len(set(moved)), "a node moves once in a decision", moved)
        for change in changes:
            self._judge_once(core, change)
        phases = {(t, n.name): n.phase for t, run in core.runs.items() for n in run.nodes}
        for place, phase in phases.items():
            before = self._phases.get(place, NodePhase.WAITING)
            demand(before is phase or place in moved, "moves are told", place, before, phase)
        self._phases = phases
        for kind, tasks in (("queued", core.waiting), ("began", core.runs)):
            for task in tasks:
                demand((task, kind) in self._told, "tasks are told of", task, kind)

    def _judge_once(self, core: Core, change: Change) -> None:
        match change:
            case TaskQueued(head):
                news, is_so = (head.id, "queued"), head.id in core.waiting
            case TaskBegan(head):
                news, is_so = (head.id, "began"), head.id in core.runs
            case TaskOver(head):
                news = (head.id, "over")
                is_so = head.id not in core.waiting and head.id not in core.runs
            case BatchSettled(task, batch):
                news, is_so = (task, f"batch {batch}"), task in core.runs
            case _:
                return
        demand(is_so, "what is told is so", change)
        demand(news not in self._told, "news are told once", change)
        self._told.add(news)
