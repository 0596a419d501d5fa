"""What is known at one moment: of a task, of its bytes, and of a node of the fleet.

The engine makes these, the views turn them into documents, and the API never looks behind them.
Times are whole milliseconds since 1970, UTC: those of nodes by the store's clock, those of tasks
by the coordinator's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from common.messages import ImageDisk, ImageProgress
from common.text import Text
from coordinator.core.node_run import NodeRun
from coordinator.core.run import TaskRun
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.standing import ConditionState, SetCondition, SetNode, Tally
from coordinator.core.task import TaskHead

Pulls = Mapping[str, ImageProgress]
"""What is known beyond the fold of a node's attempt in flight, by the image's spelling."""

NOTHING_KNOWN: Final[Pulls] = {}


def nothing_known(_: NodeRun) -> Pulls:
    """The pulls of a task that has none in flight."""
    return NOTHING_KNOWN


@dataclass(frozen=True, slots=True)
class Transfer:
    """Compressed bytes of a whole task, over all nodes and images; None is unknown."""

    bytes: int | None = None
    """There now: finished images, and what the running pulls have. Falls where a pull fails."""
    total_bytes: int | None = None
    """What ``bytes`` will come to, as every image is as large everywhere as where it was largest;
    unknown until each has been seen on some node. Less where a node has layers already."""
    bytes_per_second: int | None = None
    """All running pulls together."""


UNKNOWN_TRANSFER: Final = Transfer()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of one task at one moment."""

    head: TaskHead
    now: int
    """Only the estimate depends on it."""
    run: TaskRun | None = None
    """The fold over the outcomes of a running task; of a finished one only where it was read."""
    transfer: Transfer = UNKNOWN_TRANSFER
    waiting_for: Text | None = None
    """Why it does not go on."""
    pulls: Callable[[NodeRun], Pulls] = nothing_known
    """What is known of the attempt in flight on one of its nodes."""


class NodeState(StrEnum):
    """Each node of the fleet is in exactly one of these."""

    READY = "ready"
    OFFLINE = "offline"
    """No agent is heard there."""
    UNSCHEDULABLE = "unschedulable"
    """It takes no new work: cordoned, not Ready, without a container runtime, in conflict."""
    LEFT_OUT = "left_out"
    """By ``IPS_NODE_SELECTOR``."""


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node as the node table has it. Empty texts and None are what nobody has said yet."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    schedulable: bool = True
    connected: bool = False
    last_seen: int | None = None
    agent_version: str = ""
    runtime: str = ""
    driver: str = ""
    platform: str = ""
    image_disk: ImageDisk | None = None
    pulling: Sequence[str] = ()
    """Images being pulled, as their agent names them."""
    problem: Text | None = None
    """Why the node takes no work although an agent speaks for it."""


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A warm set as it is in the store."""

    head: SetHead
    revision: int


@dataclass(frozen=True, slots=True)
class SetSnapshot:
    """What is known of one set at one moment."""

    stored: StoredSet
    tally: Tally
    since: Mapping[SetCondition, int]
    """When each condition began to be as it is (ms since 1970), of those that were looked at."""
    repair: str | None = None
    """The task that repairs it."""

    @property
    def conditions(self) -> Mapping[SetCondition, ConditionState]:
        """What holds of the set as a whole."""
        return self.tally.conditions()


@dataclass(frozen=True, slots=True)
class SetNodeSnapshot:
    """What is known of one node of a set."""

    state: SetNode
    digests: Mapping[str, tuple[bool, str | None] | None]
    """By each image's name in the set: whether it is there, and which; None where nobody said."""
