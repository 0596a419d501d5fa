"""The store of the model world: heads by compare-and-swap, outcomes by first writer wins."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from msgspec import structs

from common.subjects import AttemptKey
from coordinator.core.commands import FinishTask, StartTask, StoreVerdict
from coordinator.core.events import (
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    Event,
    FinishFailed,
    OutcomeStored,
    Settled,
    StartFailed,
    TaskCreated,
    TaskEnded,
    TaskStarted,
    VerdictFailed,
    Woken,
)
from coordinator.core.task import TaskHead, TaskStatus

LEADERS_OWN = (
    Settled,
    Woken,
    StartFailed,
    FinishFailed,
    VerdictFailed,
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
)
"""Answers to what the leader said; who follows hears nothing of them."""


@dataclass
class Stored:
    """A task as the store has it."""

    head: TaskHead
    order: int
    nodes: tuple[str, ...] = ()

    @property
    def status(self) -> TaskStatus:
        """Of its head."""
        return self.head.status

    def as_event(self) -> Event:
        """What a core is told that reads it."""
        if self.status is TaskStatus.PENDING:
            return TaskCreated(self.head, self.order, found=True)
        if self.status is TaskStatus.RUNNING:
            return TaskStarted(self.head, self.order, self.nodes)
        return TaskEnded(self.head)


@dataclass
class Store:
    """Heads by compare-and-swap, outcomes by first writer wins."""

    tasks: dict[str, Stored] = field(default_factory=dict)
    outcomes: dict[AttemptKey, OutcomeStored] = field(default_factory=dict)
    refuses: bool = False

    def all(self) -> list[Event]:
        """Everything, as a core hears of it that reads from the beginning."""
        heads = sorted(self.tasks.values(), key=lambda stored: stored.order)
        return [stored.as_event() for stored in heads] + [
            replace(event, live=False) for event in self.outcomes.values()
        ]

    def swap(self, task: str, status: TaskStatus, nodes: tuple[str, ...] | None = None) -> bool:
        """Bring a task on, unless somebody has brought it further."""
        stored = self.tasks[task]
        before = {TaskStatus.RUNNING: {TaskStatus.PENDING}}.get(
            status, {TaskStatus.PENDING, TaskStatus.RUNNING}
        )
        if stored.status not in before:
            return False
        stored.head = structs.replace(stored.head, status=status)
        stored.nodes = stored.nodes if nodes is None else nodes
        return True


def refusal(command: StartTask | FinishTask | StoreVerdict) -> Event:
    """What the leader is told where a write of its own is not taken."""
    match command:
        case StartTask(task):
            return StartFailed(task)
        case FinishTask(task):
            return FinishFailed(task)
        case StoreVerdict(key, outcome):
            return VerdictFailed(key, outcome)
