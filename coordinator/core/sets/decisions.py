"""What the sets' core wants done, and what has become so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from coordinator.core.commands import WakeAt
from coordinator.core.sets.freshness import Refreshed
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.membership import Pinned, Wanted
from coordinator.core.sets.memory import Rest
from coordinator.core.sets.standing import SetCondition, Turn


@dataclass(frozen=True, slots=True)
class SendWanted:
    """Tell an agent which references its node is to have."""

    node: str
    instance: str
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class SendPinned:
    """Tell an agent which references are to be pinned on its node."""

    node: str
    instance: str
    pinned: Pinned


@dataclass(frozen=True, slots=True)
class AskInventory:
    """Have an agent say all that is there; whoever follows does that, too."""

    node: str
    instance: str


@dataclass(frozen=True, slots=True)
class CreateRepair:
    """Create a task that warms these nodes, which are sorted: RepairCreated or RepairRefused."""

    head: SetHead
    nodes: tuple[str, ...]
    always: bool = False
    """Whether an image that is there is pulled again: a digest of it is outdated."""
    looks: bool = False
    """It is a look at the tags, on a node that is warm."""


@dataclass(frozen=True, slots=True)
class CancelRepair:
    """End a task that repairs what is no longer wanted; it is over as any other."""

    task: str


SetCommand = SendWanted | SendPinned | AskInventory | CreateRepair | CancelRepair | WakeAt


@dataclass(frozen=True, slots=True)
class SetPut:
    """A set was created, or changed."""

    head: SetHead
    is_new: bool


@dataclass(frozen=True, slots=True)
class SetDropped:
    """A set was deleted; as it was last."""

    head: SetHead


@dataclass(frozen=True, slots=True)
class NodeWarmed:
    """Every image of a set is on a node that lacked one."""

    set: str
    node: str
    seen_in: str
    """What showed it: the same at every coordinator, and of nothing else of the set."""


@dataclass(frozen=True, slots=True)
class NodeCooled:
    """An image of a set is gone from a node that had them all."""

    set: str
    node: str
    seen_in: str
    """As of ``NodeWarmed``."""


@dataclass(frozen=True, slots=True)
class SetTurned:
    """A condition of a set is another one, says the one who leads."""

    set: str
    condition: SetCondition
    turn: Turn


@dataclass(frozen=True, slots=True)
class SetRefreshed:
    """What is known of a set's tags is another thing, says the one who leads."""

    set: str
    refreshed: Refreshed


@dataclass(frozen=True, slots=True)
class SetRested:
    """A set as a whole is left alone for a while, or no more, says the one who leads."""

    set: str
    rest: Rest


@dataclass(frozen=True, slots=True)
class NodesRemembered:
    """Of some nodes of a set something else is remembered, says the one who leads."""

    set: str
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReportRejected:
    """An inventory contradicts itself, and had no effect."""

    node: str
    why: str


SetChange = (
    SetPut
    | SetDropped
    | NodeWarmed
    | NodeCooled
    | SetTurned
    | SetRefreshed
    | SetRested
    | NodesRemembered
    | ReportRejected
)


class SetDecision(NamedTuple):
    """What one event leads to."""

    commands: list[SetCommand]
    changes: list[SetChange]
