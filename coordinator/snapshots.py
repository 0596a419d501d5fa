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

from common.inventory import ShownImage
from common.messages import ImageDisk, ImageProgress
from common.text import Text
from coordinator.core.node_run import NodeRun
from coordinator.core.purge import NodePurge, PurgeHead, PurgeState
from coordinator.core.run import TaskRun
from coordinator.core.sets.freshness import LookFailure
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.standing import ConditionState, SetCondition, SetNode, Tally
from coordinator.core.sets.windows import Window
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
    retries: Sequence[str] = ()
    """Tasks that repeat it, the oldest first."""


@dataclass(frozen=True, slots=True)
class ImageOnNode:
    """An image of a node's runtime, and what is known of how it came there."""

    image: ShownImage
    sets: Sequence[str] = ()
    """Warm sets that have it there."""
    task: str | None = None
    """The last task, of those that are kept, by which it was there."""
    since: int | None = None
    """When a task pulled it last."""


@dataclass(frozen=True, slots=True)
class NodePast:
    """What a task did on one node."""

    head: TaskHead
    node: NodeRun
    """Its batch is known for a running task alone."""
    pulls: Pulls = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageUse:
    """A reference that any task or set has, or had."""

    reference: str
    tasks: int = 0
    last_task_at: int | None = None
    """When the newest of them was created."""
    sets: int = 0
    wanted_nodes: int = 0
    """Nodes that are to have it, for a set."""
    warm_nodes: int = 0
    """Those of them on which it is."""


class PlaceState(StrEnum):
    """Whether an image is on a node. The values are public."""

    PRESENT = "present"
    PULLING = "pulling"
    FAILED = "failed"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """Neither a set nor a task that is kept has it there."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """One node, and whether an image is there."""

    node: str
    state: PlaceState
    digest: str | None = None
    at: int | None = None
    """When that was so; None for what is so now."""
    task: str | None = None
    """Which task says it; None where the node itself does, by its inventory."""
    sets: Sequence[str] = ()
    """Warm sets that have it there."""
    reason: str | None = None
    text: Text | None = None
    """Why it is not there."""


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
    abilities: Sequence[str] = ()
    """What its agent can be asked."""
    problem: Text | None = None
    """Why the node takes no work although an agent speaks for it."""


@dataclass(frozen=True, slots=True)
class PurgeSnapshot:
    """A purge as far as it is."""

    head: PurgeHead
    state: PurgeState
    nodes: Sequence[NodePurge]
    """Those of which it is known what became of them, ordered by name."""


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A warm set as it is in the store."""

    head: SetHead
    revision: int


@dataclass(frozen=True, slots=True)
class SetLooks:
    """Looks at the tags of a set. Times are seconds since 1970."""

    at: float | None
    """When the last one that succeeded was over."""
    next: float | None
    """When the next one is due at the earliest."""
    task: str | None
    """The one that runs."""
    failure: LookFailure | None
    """How the last one ended, if it failed."""
    newest: Mapping[str, str]
    """By reference: the digest that it brought."""


@dataclass(frozen=True, slots=True)
class SetSnapshot:
    """What is known of one set at one moment."""

    stored: StoredSet
    tally: Tally
    since: Mapping[SetCondition, int]
    """When each condition began to be as it is (ms since 1970), of those that were looked at."""
    repair: str | None = None
    """The task that repairs it."""
    gate_trouble: Text | None = None
    """What keeps its gate from working."""
    window: Window | None = None
    """Its windows; None of a set that may always pull."""
    looks: SetLooks | None = None
    """Looks at its tags; None where none was ever wanted."""

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
