"""What the core wants done, in the imperative. The engine answers each with an event.

``CancelWork`` alone wants no answer: an agent that goes on says so in its next heartbeat and is
told again.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.messages import Outcome
from common.subjects import AttemptKey
from common.text import Text
from coordinator.core.task import TaskCounts, TaskImage, TaskSpec, TaskStatus


@dataclass(frozen=True, slots=True)
class LoadNames:
    """Read the ``nodeNames`` of a task whose turn has come: NamesLoaded or StartFailed."""

    task: str


@dataclass(frozen=True, slots=True)
class StartTask:
    """Store the node list, then bring the head to ``running``: TaskStarted or StartFailed."""

    task: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assign:
    """Send the work to an agent: AssignmentAccepted, AssignmentRefused or …Unanswered."""

    key: AttemptKey
    instance: str
    images: tuple[TaskImage, ...]
    spec: TaskSpec


@dataclass(frozen=True, slots=True)
class CancelWork:
    """Tell an agent to stop one attempt, or (``attempt`` None) everything of a task."""

    node: str
    instance: str
    task: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class AskAgent:
    """Have an agent speak that has been silent for long; answered by AgentHeard, or not at all."""

    node: str
    instance: str


@dataclass(frozen=True, slots=True)
class StoreVerdict:
    """Store the leader's own outcome of an attempt: OutcomeStored or VerdictFailed."""

    key: AttemptKey
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class FinishTask:
    """Bring the head to its final status: TaskEnded or FinishFailed."""

    task: str
    status: TaskStatus
    counts: TaskCounts
    results_seq: int
    text: Text | None
    """Why it ended like this; None where there is nothing to say."""


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Say ``Woken`` at this time (seconds). Replaces every earlier wish."""

    when: float


Command = (
    LoadNames | StartTask | Assign | CancelWork | AskAgent | StoreVerdict | FinishTask | WakeAt
)
