"""What has become so, as facts for observers: in the order in which it happened, each told once.

Who answers questions reads the core itself; who tells others (events, live views, metrics, a log)
reads these. A follower's core makes the same changes as a leader's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from coordinator.core.events import OutcomeStored
from coordinator.core.task import TaskHead


class Step(Enum):
    """What an outcome did to its node; the value is the type of the event that tells of it."""

    SUCCEEDED = "node.succeeded"
    RETRYING = "node.retrying"
    FAILED = "node.failed"
    REMOVED = "node.removed"


@dataclass(frozen=True, slots=True)
class TaskQueued:
    """A pending task is known from now on. ``found``: it was there when the core began."""

    head: TaskHead
    found: bool


@dataclass(frozen=True, slots=True)
class TaskBegan:
    """A task runs: from now on ``Core.runs`` has it."""

    head: TaskHead


@dataclass(frozen=True, slots=True)
class PauseTurned:
    """A running task is paused, or goes on."""

    task: str


@dataclass(frozen=True, slots=True)
class TaskOver:
    """A task is over, whether or not it was known before. ``head`` is as ``TaskEnded`` had it."""

    head: TaskHead


@dataclass(frozen=True, slots=True)
class NodeMoved:
    """The phase of a node of a running task has changed; at most once in a ``Decision``."""

    task: str
    node: str


@dataclass(frozen=True, slots=True)
class AttemptDecided:
    """What a stored outcome did to its node. ``event`` is the outcome that decided the attempt."""

    task: str
    node: str
    attempt: int
    step: Step
    event: OutcomeStored


@dataclass(frozen=True, slots=True)
class BatchSettled:
    """Every node of a batch has succeeded, failed, or waits for a retry, for the first time."""

    task: str
    batch: int
    seconds: float
    """Since the first of its nodes was given a place."""


Change = TaskQueued | TaskBegan | PauseTurned | TaskOver | NodeMoved | AttemptDecided | BatchSettled
