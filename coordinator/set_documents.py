"""What the REST interface answers about warm sets; as ``documents.py`` in all else."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from common.inventory import PinState
from coordinator.documents import (
    CloudEvent,
    Count,
    Document,
    Image,
    LabelRequirement,
    Message,
    MessageCode,
    MessageParams,
    Milliseconds,
    Seconds,
    TaskId,
    Total,
)

PurgeName = Annotated[str, Meta(examples=["purge-20260116-151234-a1b2c3d4"])]
PinStateName = Annotated[
    str,
    Meta(
        description="share: pins may take no more of the node's image disk; diskUnknown: how large "
        "that is cannot be seen; refused: the runtime did not pin it. More may be added.",
        examples=[PinState.PINNED],
    ),
]
SET_NODE_STATES: Final = ("warm", "pulling", "waiting", "failed", "blocked")
SET_CONDITIONS: Final = ("Ready", "Progressing", "Degraded", "Gated")
"""The last of sets with a gate alone: whether it works."""
SetNodeState = Annotated[str, Meta(extra_json_schema={"enum": list(SET_NODE_STATES)})]
SetNodeReason = Annotated[
    str,
    Meta(
        description="Why a node is failed or blocked: a reason for which a pull fails, or one of "
        "Cordoned, NotReady, NoAgent, NoRuntime, AgentConflict, DiskFull, Thrashing, Paused, "
        "OutsideWindow; more may be added.",
        examples=["Cordoned"],
    ),
]


class WarmSetNodes(Document, frozen=True, kw_only=True):
    """The nodes of a set by their state: each is in exactly one."""

    total: Count
    warm: Count
    pulling: Count
    waiting: Count
    failed: Count
    blocked: Count


class WarmSetGate(Document, frozen=True, kw_only=True):
    """What Kubernetes is told of the Nodes of a set."""

    condition: bool
    taint: str | UnsetType = UNSET
    open_after: str


class WarmSetCondition(Document, frozen=True, kw_only=True):
    """What holds of a set as a whole, or not."""

    type: Annotated[str, Meta(extra_json_schema={"enum": list(SET_CONDITIONS)})]
    status: bool
    reason: str
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
    since: Milliseconds | UnsetType = UNSET
    """When it turned, as far as this coordinator has seen that."""


class WarmSetSchedule(Document, frozen=True, kw_only=True):
    """When a set may pull."""

    cron: str
    time_zone: str
    window: str
    """How long it may, from each moment that ``cron`` names."""
    joins: str
    """``window`` or ``always``: when nodes that join are warmed."""


class WarmSetWindow(Document, frozen=True, kw_only=True):
    """Whether a set that has a schedule may pull at this moment."""

    open: bool
    until: Milliseconds | UnsetType = UNSET
    """When the open window ends, unless another one begins before."""
    next: Milliseconds | UnsetType = UNSET
    """When the next one begins."""


class WarmSetRefresh(Document, frozen=True, kw_only=True):
    """How often registries are asked whether tags have moved."""

    tags: str


class WarmSetLooks(Document, frozen=True, kw_only=True):
    """Looks at the tags of a set."""

    at: Milliseconds | UnsetType = UNSET
    """When the last one that succeeded was over."""
    next: Milliseconds | UnsetType = UNSET
    """When the next one is due; it waits for a window, a warm node and a free place."""
    task: TaskId | UnsetType = UNSET
    """The one that runs."""
    failures: Count
    """How many have failed in a row."""
    reason: str | UnsetType = UNSET
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class WarmSetDigest(Document, frozen=True, kw_only=True):
    """A digest of an image, and how many nodes of the set show it."""

    digest: str
    nodes: Count
    newest: bool
    """Whether the last look at the tag brought it."""


class WarmSetDrift(Document, frozen=True, kw_only=True):
    """Which digests nodes have of an image with a tag, the most frequent first."""

    image: Image
    digests: list[WarmSetDigest]


class WarmSetPin(Document, frozen=True, kw_only=True):
    """The images are kept from the kubelet's clean-up."""

    until: Milliseconds | UnsetType = UNSET
    """Left out: as long as the set asks for it."""


class WarmSet(Document, frozen=True, kw_only=True):
    """A standing promise: these images are on these nodes."""

    name: str
    images: list[str]
    """As the client wrote them."""
    node_selector: dict[str, str]
    match_expressions: list[LabelRequirement]
    priority: int
    batch_size: int
    max_retries: int
    retry_strategy: str
    retry_delay: int
    max_failed_nodes: int | str
    rollout: str
    pull_timeout_seconds: int
    credentials: list[str] | UnsetType = UNSET
    pull_secrets: list[str] | UnsetType = UNSET
    webhook_url: str | UnsetType = UNSET
    """Scheme and host."""
    paused: bool
    schedule: WarmSetSchedule | UnsetType = UNSET
    window: WarmSetWindow | UnsetType = UNSET
    """Of a set with a schedule."""
    refresh: WarmSetRefresh | UnsetType = UNSET
    looks: WarmSetLooks | UnsetType = UNSET
    """Where a look at the tags was ever wanted."""
    drift: list[WarmSetDrift] | UnsetType = UNSET
    """In the answer to a GET of this set alone."""
    pin: WarmSetPin | UnsetType = UNSET
    """Left out where its images are not to be pinned."""
    gate: WarmSetGate | UnsetType = UNSET
    generation: Count
    """Counts what was put under the name."""
    observed_generation: Count
    """Which of these the counts are about."""
    nodes: WarmSetNodes
    warm_percent: Annotated[float, Meta(ge=0, le=100)]
    """One decimal, halves up; 0.0 without nodes."""
    reasons: dict[str, Count]
    """How many nodes are failed or blocked for each reason."""
    conditions: list[WarmSetCondition]
    repair: TaskId | UnsetType = UNSET
    """The task by which it is being repaired."""
    created_at: Milliseconds
    updated_at: Milliseconds
    created_by: str | UnsetType = UNSET
    """Who put it last, where that is known."""


class WarmSetList(Document, frozen=True, kw_only=True):
    """One page of sets, by name."""

    sets: list[WarmSet]
    total: Total
    limit: int
    offset: int


class WarmSetImage(Document, frozen=True, kw_only=True):
    """One image of a set on one node."""

    image: Image
    present: bool | UnsetType = UNSET
    """Left out while the node's agent has not said it."""
    digest: str | UnsetType = UNSET
    pin: PinStateName | UnsetType = UNSET
    """Of one that is there and is to be pinned, where the node's runtime can do that."""


class WarmSetNode(Document, frozen=True, kw_only=True):
    """One node of a set: warm, or why not, in one sentence."""

    node_name: str
    state: SetNodeState
    reason: SetNodeReason | UnsetType = UNSET
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
    image: Image | UnsetType = UNSET
    """Which image failed."""
    next_try_at: Milliseconds | UnsetType = UNSET
    """When it is tried again by itself; sooner where something changes."""
    task: TaskId | UnsetType = UNSET
    """The repair that the node is in."""
    images: list[WarmSetImage]


class WarmSetNodeList(Document, frozen=True, kw_only=True):
    """One page of a set's nodes, by name."""

    nodes: list[WarmSetNode]
    total: Total
    limit: int
    offset: int


class WarmSetDeleted(Document, frozen=True, kw_only=True):
    """A set is gone; its images stay, or are being removed."""

    name: str
    purge: PurgeName | UnsetType = UNSET
    """The purge that removes them."""
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class WarmSetRefreshing(Document, frozen=True, kw_only=True):
    """A set's tags are to be looked at."""

    name: str
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class WarmSetEvent(CloudEvent, frozen=True, kw_only=True, rename="lower"):
    """``set.…``: the set as GET returns it when the event is made."""

    data: WarmSet


class WarmSetDeletedEvent(CloudEvent, frozen=True, kw_only=True, rename="lower"):
    """``set.deleted``."""

    data: WarmSetDeleted


class WarmSetNodeEvent(CloudEvent, frozen=True, kw_only=True, rename="lower"):
    """``set.node.…``: the node as the set's ``/nodes`` returns it when the event is made."""

    data: WarmSetNode


class WarmSetWebhook(Document, frozen=True, kw_only=True):
    """What a set's webhook is sent: the set as it is at the time of the delivery."""

    event: Annotated[str, Meta(extra_json_schema={"enum": ["set.ready", "set.degraded"]})]
    set: WarmSet
    timestamp: Seconds
    """When it began to be so."""
    message: Message
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
