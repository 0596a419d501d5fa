"""What the REST interface answers about images; as ``documents.py`` in all else."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from coordinator.documents import (
    Bytes,
    Count,
    Document,
    Message,
    MessageCode,
    MessageParams,
    Milliseconds,
    NodeImage,
    NodeState,
    Reason,
    TaskId,
    TaskStatus,
    Total,
)
from coordinator.set_documents import SetNodeReason

PLACE_STATES: Final = ("present", "pulling", "failed", "absent", "unknown")
ImagePlaceState = Annotated[
    str,
    Meta(
        description="absent: by the node's own word, which only a warm set has it give; unknown: "
        "neither a set nor a task that is kept has the image there.",
        extra_json_schema={"enum": list(PLACE_STATES)},
    ),
]
Reference = Annotated[str, Meta(description="In full.", examples=["docker.io/library/redis:7"])]


class StoredImage(Document, frozen=True, kw_only=True):
    """An image that a node's container runtime has at this moment."""

    id: str
    tags: list[Reference]
    digests: list[Reference]
    """``repository@sha256:…``, of all manifests and indexes that it is known by."""
    size: Count | UnsetType = UNSET
    """Bytes, as the runtime counts them."""
    pinned: bool
    """Whether the runtime keeps it from the kubelet's clean-up."""
    sets: list[str]
    """Warm sets that have it there."""
    task: TaskId | UnsetType = UNSET
    """The last task of those that are kept by which it was there."""
    since: Milliseconds | UnsetType = UNSET
    """When a task pulled it last."""


class StoredImageList(Document, frozen=True, kw_only=True):
    """One page of a node's images, ordered by id."""

    node_name: str
    images: list[StoredImage]
    total: Total
    limit: int
    offset: int


class NodeTask(Document, frozen=True, kw_only=True):
    """What a task did on one node."""

    task_id: TaskId
    status: TaskStatus
    set: str | UnsetType = UNSET
    """The warm set that the task repairs."""
    created_at: Milliseconds
    state: NodeState
    attempt: Annotated[int, Meta(ge=1)]
    started_at: Milliseconds | UnsetType = UNSET
    """Of this attempt."""
    finished_at: Milliseconds | UnsetType = UNSET
    seconds: float | UnsetType = UNSET
    """How long the pulls took that the task made there, all together."""
    bytes: Bytes | UnsetType = UNSET
    bytes_per_second: Count | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
    images: list[NodeImage]


class NodeTaskList(Document, frozen=True, kw_only=True):
    """One page of what tasks did on a node, the newest first."""

    node_name: str
    tasks: list[NodeTask]
    total: Total
    limit: int
    offset: int


class KnownImage(Document, frozen=True, kw_only=True):
    """A reference that a task or a warm set has."""

    image: Annotated[str, Meta(description="As Docker shows it.", examples=["redis:7"])]
    reference: Reference
    tasks: Count
    """Tasks with it, of those that are kept."""
    last_task_at: Milliseconds | UnsetType = UNSET
    """When the newest of them was created."""
    sets: Count
    wanted_nodes: Count
    """Nodes that are to have it, for a warm set."""
    warm_nodes: Count
    """Those of them on which it is."""


class KnownImageList(Document, frozen=True, kw_only=True):
    """One page of references, in their order."""

    images: list[KnownImage]
    total: Total
    limit: int
    offset: int


class ImagePlace(Document, frozen=True, kw_only=True):
    """One node, and whether an image is there."""

    node_name: str
    state: ImagePlaceState
    digest: str | UnsetType = UNSET
    at: Milliseconds | UnsetType = UNSET
    """When that was so, by a task; left out where it is so now, by the node's own word."""
    task: TaskId | UnsetType = UNSET
    """The task that says it."""
    sets: list[str]
    """Warm sets that have it there."""
    reason: SetNodeReason | UnsetType = UNSET
    message: Message | UnsetType = UNSET
    """Why it is not there."""
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class PlaceCounts(Document, frozen=True, kw_only=True):
    """All nodes, by whether an image is there."""

    present: Count = 0
    pulling: Count = 0
    failed: Count = 0
    absent: Count = 0
    unknown: Count = 0


class ImagePlaceList(Document, frozen=True, kw_only=True):
    """One page of nodes, ordered by name."""

    image: str
    reference: Reference
    nodes: list[ImagePlace]
    total: Total
    limit: int
    offset: int
    states: PlaceCounts
    """Of all nodes, whatever was asked for."""
    digests: dict[str, Count]
    """On how many nodes each digest is, as far as it is known."""


class ImageTask(Document, frozen=True, kw_only=True):
    """What became of one image in a task. What a running one's counts are changes."""

    task_id: TaskId
    status: TaskStatus
    set: str | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    created_at: Milliseconds
    started_at: Milliseconds | UnsetType = UNSET
    finished_at: Milliseconds | UnsetType = UNSET
    total_nodes: Count
    present_nodes: Count | UnsetType = UNSET
    """Nodes that had it before. This and what follows are left out where a task is too old."""
    pulled_nodes: Count | UnsetType = UNSET
    failed_nodes: Count | UnsetType = UNSET
    """Nodes that were given up and have not got it."""
    reasons: dict[str, Count] | UnsetType = UNSET
    """How many of them for which reason, where the image was at fault."""
    seconds: float | UnsetType = UNSET
    """The mean time of a pull."""
    bytes_per_second: Count | UnsetType = UNSET
    """The mean speed of a pull."""


class ImageTaskList(Document, frozen=True, kw_only=True):
    """One page of the tasks with an image, the newest first."""

    image: str
    reference: Reference
    tasks: list[ImageTask]
    total: Total
    limit: int
    offset: int
