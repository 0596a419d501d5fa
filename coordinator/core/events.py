"""What the core is told, in the past tense. Everything may come late, twice, or out of order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.messages import Hold, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from common.text import Text
from coordinator.core.task import TaskHead


@dataclass(frozen=True, slots=True)
class TaskCreated:
    """A pending head is stored; its ``nodeNames`` stay in the store until its turn comes."""

    head: TaskHead
    order: int
    found: bool = False
    """Whether it was there when the term began: its nodes may not all have spoken yet."""


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A head says ``running`` and its node list is stored. ``nodes`` are sorted."""

    head: TaskHead
    order: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PauseSet:
    """A running task's head says that it is paused, or no longer."""

    head: TaskHead


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A head is final: by this leader, or by whoever cancelled it."""

    head: TaskHead


@dataclass(frozen=True, slots=True)
class NamesLoaded:
    """The ``nodeNames`` of a task were read, as ``LoadNames`` asked for."""

    task: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The store refused what ``StartTask`` or ``LoadNames`` asked for."""

    task: str


@dataclass(frozen=True, slots=True)
class FinishFailed:
    """The store refused what ``FinishTask`` asked for."""

    task: str


@dataclass(frozen=True, slots=True)
class OutcomeStored:
    """An outcome was read back from the store. ``live`` is False while a start replays it."""

    key: AttemptKey
    outcome: Outcome
    seq: int
    stored_at: float
    """Seconds since 1970 by the store's clock."""
    live: bool = True


@dataclass(frozen=True, slots=True)
class VerdictFailed:
    """The store refused a verdict for now, so that the attempt is undecided still."""

    key: AttemptKey
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class AssignmentAccepted:
    """The agent has the work."""

    key: AttemptKey
    instance: str


@dataclass(frozen=True, slots=True)
class AssignmentRefused:
    """The agent does not take the work now."""

    key: AttemptKey
    instance: str
    never: Text | None = None
    """Why it cannot be given the work at all: by what its task names, or is missing."""


@dataclass(frozen=True, slots=True)
class AssignmentUnanswered:
    """Nobody answered in time; ``absent``: nobody even listens on the agent's subject."""

    key: AttemptKey
    instance: str
    absent: bool = False
    why: Text | None = None
    """Why the agent was not even asked: something else is away that the work needs."""
    reason: Reason = Reason.AGENT_UNAVAILABLE
    """Of the failure, if it stays like that until nobody is waited for any more."""


@dataclass(frozen=True, slots=True)
class AttemptTold:
    """The leader says that an attempt is in flight; for who follows."""

    key: AttemptKey
    started_at: int
    """Milliseconds since 1970."""
    instance: str | None
    """Who was asked; None while an agent is waited for."""
    accepted: bool


@dataclass(frozen=True, slots=True)
class AgentHeard:
    """A heartbeat came in."""

    node: str
    instance: str
    holds: tuple[Hold, ...] = ()
    interval: float = 10.0
    leaving: bool = False
    runtime_away: str = ""
    """Why the agent has no container runtime; empty where it has one."""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """The node source knows a node, or knows something new of it."""

    name: str
    labels: Mapping[str, str]
    schedulable: bool = True
    problem: Text | None = None
    """Why it takes no new work, in one sentence, where the source says so."""


@dataclass(frozen=True, slots=True)
class NodeVanished:
    """The node source says that a node has ceased to exist."""

    name: str


@dataclass(frozen=True, slots=True)
class NodesListed:
    """A source that can name all nodes has done so: what it has not named does not exist."""


@dataclass(frozen=True, slots=True)
class BusFellSilent:
    """The leader's own ping was not answered; ``since`` is when one last was (seconds)."""

    since: float


@dataclass(frozen=True, slots=True)
class BusHeard:
    """The leader's own ping is answered again."""


@dataclass(frozen=True, slots=True)
class StoreClosed:
    """The store takes no writes (disk full, no quorum, away): nothing new is to be assigned."""


@dataclass(frozen=True, slots=True)
class StoreOpened:
    """The store takes writes again."""


@dataclass(frozen=True, slots=True)
class Settled:
    """This core leads from now on: it has heard what the agents hold, and may decide."""


@dataclass(frozen=True, slots=True)
class Woken:
    """The time that ``WakeAt`` named has come."""


Event = (
    TaskCreated
    | TaskStarted
    | TaskEnded
    | PauseSet
    | NamesLoaded
    | StartFailed
    | FinishFailed
    | OutcomeStored
    | VerdictFailed
    | AssignmentAccepted
    | AssignmentRefused
    | AssignmentUnanswered
    | AttemptTold
    | AgentHeard
    | NodeSeen
    | NodeVanished
    | NodesListed
    | BusFellSilent
    | BusHeard
    | StoreClosed
    | StoreOpened
    | Settled
    | Woken
)
