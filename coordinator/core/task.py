"""A task as it is stored: what was asked for, and the head that is swapped at every transition.

These Structs are both the domain's words and the stored form (JSON, camelCase, tolerant of unknown
fields). Times are whole milliseconds since 1970, UTC.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from common.texts import Param


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A stored value: immutable, named in camelCase, defaults left out."""


class TaskStatus(StrEnum):
    """Where a task is. The values are public."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the task is over and never changes again."""
        return self not in {TaskStatus.PENDING, TaskStatus.RUNNING}


class RetryStrategy(StrEnum):
    """How the delay before a retry grows."""

    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class Rollout(StrEnum):
    """When the next node may begin: with its whole batch, or as soon as a place is free."""

    BATCH = "batch"
    ROLLING = "rolling"


class PullPolicy(StrEnum):
    """Whether an image that is on the node is pulled again."""

    IF_NOT_PRESENT = "IfNotPresent"
    ALWAYS = "Always"


class Operator(StrEnum):
    """What a label requirement demands, as Kubernetes writes it."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


class Requirement(Record, frozen=True, kw_only=True):
    """One entry of ``matchExpressions``."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


class TaskImage(Record, frozen=True, kw_only=True):
    """One distinct image: by its first spelling in the task, and as the runtime is asked for it."""

    name: str
    reference: str


class TaskSpec(Record, frozen=True, kw_only=True):
    """What the user asked for, checked, defaults filled in."""

    images: tuple[str, ...]
    """As the client wrote them, doubles included; ``work`` has each once."""
    work: tuple[TaskImage, ...]
    batch_size: int = 10
    priority: int = 5
    max_retries: int = 0
    retry_strategy: RetryStrategy = RetryStrategy.LINEAR
    retry_delay: int = 30
    """Seconds."""
    webhook_url: str | None = None
    node_selector: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()
    names_nodes: bool = False
    """Whether ``nodeNames`` was given. The names (up to 10,000) are stored apart, in chunks."""
    max_failed_nodes: int | str = 0
    """A number of nodes, or a percentage like ``10%``."""
    rollout: Rollout = Rollout.BATCH
    image_pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    pull_timeout_seconds: int = 1800


class TaskCounts(Record, frozen=True, kw_only=True):
    """A task's nodes by what became of them; kept in the head once the task is over."""

    total: int = 0
    """Nodes that belong to the task; those that ceased to exist are not among them."""
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    removed: int = 0
    failed_details: int = 0
    """Entries that ``failedNodeDetails`` would have in full."""
    current_batch: int = 0
    retry_count: int = 0
    """The highest retry number that any node has used."""
    bytes: int | None = None
    """Compressed bytes of all images that are there now on completed work, where known."""


class PendingNotification(StrEnum):
    """How a finished task has yet to be announced."""

    EVENT = "event"
    WEBHOOK = "webhook"


class TaskHead(Record, frozen=True, kw_only=True):
    """The one stored truth about a task, written only at its transitions, by compare-and-swap."""

    id: str
    spec: TaskSpec
    status: TaskStatus = TaskStatus.PENDING
    created_at: int
    order: int | None = None
    """The store revision of the create; None until somebody rewrites the head."""
    started_at: int | None = None
    finished_at: int | None = None
    nodes: int = 0
    """Nodes at the start."""
    batches: int = 0
    counts: TaskCounts | None = None
    results_seq: int | None = None
    """Outcomes stored above this sequence never count."""
    message: str | None = None
    """Why it ended as it did, in English."""
    message_code: str | None = None
    """Which sentence that is (``common/texts.py``); None in heads of older versions."""
    message_params: dict[str, Param] = {}
    notify: tuple[PendingNotification, ...] = ()
    retry_of: str | None = None
    node_list: str | None = None
    """Under which name the node list of a started task is stored."""
    key: str | None = None
    """The key record (``Idempotency-Key``) that leads here, removed with the task."""
