"""What the REST interface answers, as msgspec Structs: camelCase, and no ``null`` anywhere.

A field that may be unknown is ``UNSET`` by default and then left out; a list is a list even when it
is empty. Times are RFC 3339 in UTC: whole seconds in ``Task`` and its parts, else milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, json

from common.text import Param

TASK_STATUSES: Final = ("pending", "running", "completed", "failed", "cancelled")
NODE_STATES: Final = (
    *("waiting", "assigned", "pulling", "retrying"),
    *("succeeded", "failed", "cancelled"),
)
IMAGE_STATES: Final = ("waiting", "pulling", "present", "pulled", "failed", "cancelled")
PULL_PHASES: Final = ("queued", "downloading", "unpacking")
EVENT_TYPES: Final = (
    "task.created",
    "task.started",
    "task.progress",
    "task.completed",
    "task.failed",
    "task.cancelled",
    "node.succeeded",
    "node.retrying",
    "node.failed",
    "node.removed",
)
SET_EVENT_TYPES: Final = (
    "set.created",
    "set.updated",
    "set.deleted",
    "set.ready",
    "set.degraded",
    "set.progress",
    "set.node.warm",
    "set.node.cold",
)
FINAL_EVENT_TYPES: Final = frozenset({"task.completed", "task.failed", "task.cancelled"})
"""Exactly one of these is ever sent for a task, and nothing of the task after it."""

Seconds = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, whole seconds.",
        examples=["2026-01-16T15:12:34Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
Milliseconds = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, milliseconds.",
        examples=["2026-01-16T15:12:34.567Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
TaskId = Annotated[str, Meta(examples=["task-20260116-151234-a1b2c3d4"])]
Image = Annotated[
    str, Meta(description="As first spelled in the task.", examples=["nginx:latest", "redis:7"])
]
Reason = Annotated[
    str,
    Meta(
        description="One of the documented reason codes; more may be added.",
        examples=["ImageNotFound"],
    ),
]
Message = Annotated[str, Meta(description="At most 300 characters, for a human.")]
MessageCode = Annotated[str, Meta(extra_json_schema={"$ref": "#/components/schemas/MessageCode"})]
MessageParams = Annotated[
    Mapping[str, Param], Meta(description="What stands in the sentence, by name; with every code.")
]
Count = Annotated[int, Meta(ge=0)]
Total = Annotated[int, Meta(ge=0, description="How many match, on all pages together.")]
Bytes = Annotated[int, Meta(ge=0, description="Compressed bytes, as the registry sends them.")]
TaskStatus = Annotated[str, Meta(extra_json_schema={"enum": list(TASK_STATUSES)})]
NodeState = Annotated[str, Meta(extra_json_schema={"enum": list(NODE_STATES)})]
ImageState = Annotated[str, Meta(extra_json_schema={"enum": list(IMAGE_STATES)})]
PullPhase = Annotated[
    str,
    Meta(
        description="What an image that is pulling waits for, where the runtime lets it be seen.",
        extra_json_schema={"enum": list(PULL_PHASES)},
    ),
]
EventType = Annotated[str, Meta(extra_json_schema={"enum": [*EVENT_TYPES, *SET_EVENT_TYPES]})]


class Document(Struct, frozen=True, kw_only=True, rename="camel"):
    """A REST shape: immutable, named in camelCase; what is UNSET is left out."""


# ── tasks ────────────────────────────────────────────────────────────────────────────────────


class TaskProgress(Document, frozen=True, kw_only=True):
    """A task's nodes by their state; all zeros while the task is pending."""

    total_nodes: Count = 0
    completed_nodes: Count = 0
    """Nodes on which every image is present."""
    failed_nodes: Count = 0
    """Nodes that are given up."""
    current_batch: Count = 0
    """The highest batch begun."""
    total_batches: Count = 0
    percentage: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """``completedNodes / totalNodes * 100``, one decimal, halves up; 0.0 without nodes."""
    pulling_nodes: Count = 0
    retrying_nodes: Count = 0
    waiting_nodes: Count = 0
    assigned_nodes: Count = 0
    cancelled_nodes: Count = 0
    bytes: Bytes | UnsetType = UNSET
    total_bytes: Bytes | UnsetType = UNSET
    bytes_per_second: Count | UnsetType = UNSET


class FailedNodeDetail(Document, frozen=True, kw_only=True):
    """One failed image of a node that is given up; no image where the fault is the agent's."""

    node_name: str
    image: Image | UnsetType = UNSET
    reason: Reason
    message: Message
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
    timestamp: Seconds


class LabelRequirement(Document, frozen=True, kw_only=True):
    """One entry of ``matchExpressions``."""

    key: str
    operator: str
    values: list[str] | UnsetType = UNSET


class Task(Document, frozen=True, kw_only=True):
    """A task. Lists and ``task.progress`` leave out ``failedNodeDetails``."""

    task_id: TaskId
    status: TaskStatus
    priority: int
    images: list[str]
    """As the client wrote them."""
    batch_size: int
    max_retries: int
    retry_count: Count
    """The highest retry number that any node of the task has used."""
    retry_strategy: str
    retry_delay: int
    webhook_url: str | UnsetType = UNSET
    """Scheme and host only: what follows may be a secret."""
    node_selector: dict[str, str]
    match_expressions: list[LabelRequirement]
    max_failed_nodes: int | str
    rollout: str
    image_pull_policy: str
    pull_timeout_seconds: int
    credentials: list[str] | UnsetType = UNSET
    pull_secrets: list[str] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    """While it is running: no new node begins. A pause is told by ``task.progress``."""
    retry_of: TaskId | UnsetType = UNSET
    retries: list[TaskId] | UnsetType = UNSET
    """Tasks that repeat this one, the oldest first; events leave them out."""
    """The finished task that this one repeats."""
    set: str | UnsetType = UNSET
    """The warm set that it repairs."""
    created_by: str | UnsetType = UNSET
    """Who created it, where that is known."""
    progress: TaskProgress
    failed_node_details: Annotated[list[FailedNodeDetail], Meta(max_length=100)] | UnsetType = UNSET
    """The first 100; the rest is in ``/nodes?state=failed``."""
    failed_node_details_total: Count
    message: Message | UnsetType = UNSET
    """Why the task failed or waits, in one sentence."""
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
    created_at: Seconds
    started_at: Seconds | UnsetType = UNSET
    finished_at: Seconds | UnsetType = UNSET
    estimated_completion: Seconds | UnsetType = UNSET
    """While it runs, as soon as its speed is known."""
    queue_place: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    """Its place in the queue, from 1: in a list by ``sort=queue``, while it is pending."""


class TaskList(Document, frozen=True, kw_only=True):
    """One page of tasks, newest first."""

    tasks: list[Task]
    total: Total
    limit: int
    offset: int


class Cancelled(Document, frozen=True, kw_only=True):
    """The answer to a cancel."""

    task_id: TaskId
    status: TaskStatus
    message: str
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


# ── nodes of a task ──────────────────────────────────────────────────────────────────────────


class NodeImage(Document, frozen=True, kw_only=True):
    """One image of a task on one node."""

    image: Image
    state: ImageState
    phase: PullPhase | UnsetType = UNSET
    bytes: Bytes | UnsetType = UNSET
    total_bytes: Bytes | UnsetType = UNSET
    bytes_per_second: Count | UnsetType = UNSET
    digest: str | UnsetType = UNSET
    seconds: float | UnsetType = UNSET
    """How long the pull took."""
    reason: Reason | UnsetType = UNSET
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class TaskNode(Document, frozen=True, kw_only=True):
    """One node of a task."""

    node_name: str
    state: NodeState
    batch: Annotated[int, Meta(ge=1)]
    attempt: Annotated[int, Meta(ge=1)]
    """The attempt in progress, the last one, or (while it waits) the first to come."""
    started_at: Milliseconds | UnsetType = UNSET
    """Of this attempt."""
    finished_at: Milliseconds | UnsetType = UNSET
    next_retry_at: Milliseconds | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET
    """Why the node failed, or its last attempt did; where an image is at fault, the first one's."""
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
    images: list[NodeImage]


class TaskNodeList(Document, frozen=True, kw_only=True):
    """One page of a task's nodes, ordered by batch, then name."""

    nodes: list[TaskNode]
    total: Total
    limit: int
    offset: int


# ── nodes ────────────────────────────────────────────────────────────────────────────────────


class ImageDisk(Document, frozen=True, kw_only=True):
    """The file system that holds a node's images."""

    free_bytes: Count
    total_bytes: Count


class Node(Document, frozen=True, kw_only=True):
    """A node that images can be pulled to."""

    name: str
    labels: dict[str, str]
    schedulable: bool
    connected: bool
    """Whether its agent is being heard."""
    last_seen: Milliseconds | UnsetType = UNSET
    agent_version: str | UnsetType = UNSET
    runtime: Annotated[str, Meta(examples=["containerd 2.1.9"])] | UnsetType = UNSET
    driver: Annotated[str, Meta(examples=["cri"])] | UnsetType = UNSET
    platform: Annotated[str, Meta(examples=["linux/amd64"])] | UnsetType = UNSET
    image_disk: ImageDisk | UnsetType = UNSET
    can_pin: bool | UnsetType = UNSET
    """Whether images can be kept from the kubelet's clean-up there; left out without an agent."""
    pulling: list[str]
    message: Message | UnsetType = UNSET
    """Why the node takes no work although an agent speaks for it."""
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class NodeCounts(Document, frozen=True, kw_only=True):
    """How many nodes are in each state; each is in one."""

    ready: Count = 0
    offline: Count = 0
    """No agent is heard there: a task waits for it, and the node fails where none comes."""
    unschedulable: Count = 0
    """It takes no new work: a selector leaves it out, and a node that is named fails."""


class NodeList(Document, frozen=True, kw_only=True):
    """One page of nodes, ordered by name."""

    nodes: list[Node]
    total: Total
    limit: int
    offset: int
    states: NodeCounts
    """Of all nodes that match, not of this page alone."""
    left_out: int = 0
    """Nodes that Kubernetes has and ``IPS_NODE_SELECTOR`` leaves out; they are in no list."""


# ── events ───────────────────────────────────────────────────────────────────────────────────


class CloudEvent(Document, frozen=True, kw_only=True, rename="lower"):
    """A CloudEvent 1.0 in structured JSON; CloudEvents writes its attributes in lower case."""

    specversion: str = "1.0"
    id: str
    """Unique for ever; a repeated delivery carries the same one."""
    source: str
    """The coordinator's installation."""
    type: EventType
    subject: str
    """The task, ``task/node``, the set, or ``set/node``."""
    time: Milliseconds
    datacontenttype: str = "application/json"


class TaskEvent(CloudEvent, frozen=True, kw_only=True, rename="lower"):
    """``task.…``: the task as GET returns it, ``task.progress`` without ``failedNodeDetails``."""

    data: Task


class NodeEvent(CloudEvent, frozen=True, kw_only=True, rename="lower"):
    """``node.…``: the node as the task's ``/nodes`` returns it."""

    data: TaskNode


class Webhook(Document, frozen=True, kw_only=True):
    """What a webhook's receiver is sent."""

    event: EventType
    task: Task
    timestamp: Seconds
    message: Message
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


# ── errors ───────────────────────────────────────────────────────────────────────────────────


class Fault(Document, frozen=True, kw_only=True):
    """One thing wrong with a request."""

    field: Annotated[
        str,
        Meta(
            description="A JSON pointer into the body, `?name` of a query parameter, "
            "or a header's name.",
            examples=["/batchSize", "/images/3", "?limit"],
        ),
    ]
    message: str
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class Problem(Document, frozen=True, kw_only=True):
    """RFC 9457 ``application/problem+json``; the type is ``about:blank``, so the status tells."""

    title: str
    status: int
    detail: str
    message_code: MessageCode | UnsetType = UNSET
    """Which sentence `detail` is."""
    message_params: MessageParams | UnsetType = UNSET
    errors: list[Fault] | UnsetType = UNSET
    """With 400: every fault at once."""


encode: Final = json.Encoder().encode
"""A document as JSON in UTF-8."""
