"""What the service answers, typed. Times are aware, in UTC; what is unknown is None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from ips_client.decoding import Document, Moment

FINAL_STATUSES: Final = frozenset({"completed", "failed", "cancelled"})
FINAL_NODE_STATES: Final = frozenset({"succeeded", "failed", "cancelled"})


class AnyMessage(Protocol):
    """A document that may say something."""

    @property
    def message(self) -> str | None:
        """In English; beside it in the document stand ``messageCode`` and ``messageParams``."""

    @property
    def document(self) -> Mapping[str, Any]:
        """The same as it came."""


class TaskProgress(Document, frozen=True, kw_only=True):
    """A task's nodes by their state; all zeros while the task is pending."""

    total_nodes: int
    completed_nodes: int
    """Nodes on which every image is present."""
    failed_nodes: int
    """Nodes that are given up."""
    current_batch: int
    """The highest batch begun."""
    total_batches: int
    percentage: float
    pulling_nodes: int = 0
    retrying_nodes: int = 0
    waiting_nodes: int = 0
    bytes: int | None = None
    """Compressed bytes there by now, over all nodes and images."""
    total_bytes: int | None = None
    """Of every image whose size is known by now."""
    bytes_per_second: int | None = None


class FailedImage(Document, frozen=True, kw_only=True):
    """One failed image of a node that is given up."""

    node_name: str
    image: str | None = None
    """None where the fault is the agent's."""
    reason: str
    """A code, such as ``ImageNotFound``."""
    message: str = ""
    timestamp: Moment | None = None


class Requirement(Document, frozen=True, kw_only=True):
    """One entry of ``matchExpressions``."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Task(Document, frozen=True, kw_only=True):
    """A task, as a list or a GET returns it."""

    task_id: str
    status: str
    """``pending``, ``running``, ``completed``, ``failed`` or ``cancelled``."""
    images: tuple[str, ...]
    priority: int
    batch_size: int
    max_retries: int
    retry_count: int
    """The highest retry number that any node of the task has used."""
    retry_strategy: str
    created_at: Moment
    progress: TaskProgress
    retry_delay: int | None = None
    webhook_url: str | None = None
    """Scheme and host only."""
    node_selector: Mapping[str, str] | None = None
    match_expressions: tuple[Requirement, ...] = ()
    max_failed_nodes: int | str | None = None
    rollout: str | None = None
    image_pull_policy: str | None = None
    pull_timeout_seconds: int | None = None
    credentials: tuple[str, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    paused: bool = False
    """While it is running: no new node begins."""
    retry_of: str | None = None
    """The finished task that this one repeats."""
    retries: tuple[str, ...] = ()
    """Tasks that repeat this one, the oldest first."""
    created_by: str | None = None
    """Who created it, where that is known."""
    failed_node_details: tuple[FailedImage, ...] = ()
    """The first 100; lists leave them out."""
    failed_node_details_total: int = 0
    message: str | None = None
    """Why the task failed or waits, in one sentence."""
    started_at: Moment | None = None
    finished_at: Moment | None = None
    estimated_completion: Moment | None = None

    @property
    def is_over(self) -> bool:
        """Whether the task never changes again."""
        return self.status in FINAL_STATUSES


class Cancelled(Document, frozen=True, kw_only=True):
    """The answer to a cancel."""

    task_id: str
    status: str
    message: str = ""


class NodeImage(Document, frozen=True, kw_only=True):
    """One image of a task on one node."""

    image: str
    state: str
    """``waiting``, ``pulling``, ``present``, ``pulled``, ``failed`` or ``cancelled``."""
    phase: str | None = None
    """While it is pulling, where it is known: ``queued``, ``downloading`` or ``unpacking``."""
    bytes: int | None = None
    total_bytes: int | None = None
    bytes_per_second: int | None = None
    digest: str | None = None
    seconds: float | None = None
    """How long the pull took."""
    reason: str | None = None
    message: str | None = None


class TaskNode(Document, frozen=True, kw_only=True):
    """One node of a task."""

    node_name: str
    state: str
    """``waiting``, ``assigned``, ``pulling``, ``retrying``, ``succeeded``, ``failed``,
    ``cancelled``."""
    batch: int
    attempt: int
    images: tuple[NodeImage, ...]
    started_at: Moment | None = None
    finished_at: Moment | None = None
    next_retry_at: Moment | None = None
    reason: str | None = None
    message: str | None = None

    def failures(self) -> tuple[FailedImage, ...]:
        """Its failed images, or the node's own failure where no image is at fault."""
        images = [image for image in self.images if image.state == "failed"]
        if not images:
            return (_failure(self, self, None),)
        return tuple(_failure(self, image, image.image) for image in images)


def _failure(node: TaskNode, fault: TaskNode | NodeImage, image: str | None) -> FailedImage:
    return FailedImage(
        node_name=node.node_name,
        image=image,
        reason=fault.reason or node.reason or "Unknown",
        message=fault.message or node.message or "",
        timestamp=node.finished_at,
    ).of(fault.document)


class ImageDisk(Document, frozen=True, kw_only=True):
    """The file system that holds a node's images."""

    free_bytes: int
    total_bytes: int


class Node(Document, frozen=True, kw_only=True):
    """A node that images can be pulled to."""

    name: str
    labels: Mapping[str, str]
    schedulable: bool
    connected: bool
    """Whether its agent is being heard."""
    last_seen: Moment | None = None
    agent_version: str | None = None
    runtime: str | None = None
    driver: str | None = None
    platform: str | None = None
    image_disk: ImageDisk | None = None
    pulling: tuple[str, ...] = ()
    message: str | None = None
    """Why the node takes no work although an agent speaks for it."""


class AuditEntry(Document, frozen=True, kw_only=True):
    """One change, or one refusal."""

    time: Moment
    way: str
    """How they were identified: ``none``, ``tokens``, ``kubernetes`` or ``oidc``."""
    action: str
    status: int
    """Of the answer: under 400 it was done."""
    user: str | None = None
    groups: tuple[str, ...] = ()
    address: str | None = None
    reason: str | None = None
    """The code of a refusal."""
    task_id: str | None = None
    images: tuple[str, ...] = ()


class AuditEntries(Document, frozen=True, kw_only=True):
    """The newest entries of the audit, the newest first."""

    entries: tuple[AuditEntry, ...]


class Event(Document, frozen=True, kw_only=True):
    """A kept event. ``document`` is the CloudEvent as it was sent."""

    position: str
    """``events(after=position)`` goes on after this one."""
    type: str
    id: str
    """Unique for ever; the same at a repeated delivery."""
    source: str
    subject: str
    """The task, ``task/node``, the set or ``set/node``."""
    time: Moment
    task: Task | None = None
    """Of a ``task.…`` event."""
    node: TaskNode | None = None
    """Of a ``node.…`` event; what a ``set.…`` event holds stands in ``document``."""

    @property
    def task_id(self) -> str:
        """The task that the event is about."""
        return self.subject.partition("/")[0]


class LiveImage(Document, frozen=True, kw_only=True):
    """What of an image changes while a task runs."""

    image: str
    state: str
    phase: str | None = None
    bytes: int | None = None
    total_bytes: int | None = None
    bytes_per_second: int | None = None


class LiveNode(Document, frozen=True, kw_only=True):
    """What of a node changes while a task runs."""

    node_name: str
    state: str
    attempt: int
    images: tuple[LiveImage, ...]
    reason: str | None = None


class LiveNodes(Document, frozen=True, kw_only=True):
    """A live frame of one task's stream: nodes that changed, as they are now."""

    nodes: tuple[LiveNode, ...]


class LiveAgents(Document, frozen=True, kw_only=True):
    """A live frame of the stream of all: nodes that changed, and names that are gone."""

    nodes: tuple[Node, ...]
    gone: tuple[str, ...] = ()


class Reset(Document, frozen=True, kw_only=True):
    """Events may have been missed here: read the lists again."""
