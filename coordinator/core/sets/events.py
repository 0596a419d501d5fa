"""What the sets' core is told beside what the core of tasks is told and says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.inventory import Inventory
from common.messages import ImageDisk, InventoryState
from coordinator.core.changes import AttemptDecided, TaskBegan, TaskOver, TaskQueued
from coordinator.core.events import NodeSeen, NodesListed, NodeVanished, Settled, Woken
from coordinator.core.sets.freshness import NEVER, Refreshed
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.memory import NO_REST, Rest
from coordinator.core.sets.records import NodeMemory
from coordinator.core.sets.standing import SetCondition, Turn


@dataclass(frozen=True, slots=True)
class SetStored:
    """A set is stored. ``found``: it was there when this replica began."""

    head: SetHead
    found: bool = False


@dataclass(frozen=True, slots=True)
class SetGone:
    """A set was deleted."""

    name: str


@dataclass(frozen=True, slots=True)
class SetNoted:
    """The leader has stored what it remembers of a set."""

    name: str
    created_at: int
    """Of the set that it is about (ms since 1970): an earlier one of the name is none of ours."""
    turns: Mapping[SetCondition, Turn]
    refreshed: Refreshed = NEVER
    rest: Rest = NO_REST
    before: Rest = NO_REST
    """Why it had stored before that the set rests, as far as that is known here."""


@dataclass(frozen=True, slots=True)
class NodesNoted:
    """The leader has stored what it remembers of some nodes of a set."""

    name: str
    created_at: int
    """As of ``SetNoted``."""
    generation: int
    """Of the set by then: what failed before it was changed may succeed."""
    nodes: Mapping[str, NodeMemory]
    before: Mapping[str, NodeMemory]
    """What it had stored before of the same nodes, as far as that is known here."""


@dataclass(frozen=True, slots=True)
class AgentSaid:
    """What a heartbeat says that concerns sets."""

    node: str
    instance: str
    version: str
    inventory: InventoryState | None
    disk: ImageDisk | None = None
    can_pin: bool = False
    credential_changes: int = 0
    """How often since its start its own credentials of registries have changed."""

    @property
    def served_by(self) -> str:
        """The run of the agent, as long as its credentials stay as they are."""
        return f"{self.instance}/{self.credential_changes}"


@dataclass(frozen=True, slots=True)
class InventoryReported:
    """An agent said which images are there."""

    node: str
    instance: str
    report: Inventory


@dataclass(frozen=True, slots=True)
class CredentialChanged:
    """A stored credential was put or deleted."""

    name: str


@dataclass(frozen=True, slots=True)
class RepairCreated:
    """The task that ``CreateRepair`` asked for is stored."""

    set: str
    task: str


@dataclass(frozen=True, slots=True)
class RepairRefused:
    """The store did not take it."""

    set: str


SetEvent = (
    SetStored
    | SetGone
    | SetNoted
    | NodesNoted
    | AgentSaid
    | InventoryReported
    | CredentialChanged
    | RepairCreated
    | RepairRefused
    | NodeSeen
    | NodesListed
    | NodeVanished
    | TaskQueued
    | TaskBegan
    | TaskOver
    | AttemptDecided
    | Settled
    | Woken
)
