"""A task as it is stored: what was asked for, and the head that is swapped at every transition.

These Structs are both the domain's words and the stored form (JSON, camelCase, tolerant of unknown
fields). Times are whole milliseconds since 1970, UTC.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from common.messages import (
    MOST_IMAGES,
    MOST_LOGINS,
    Count,
    ImageName,
    Reference,
    Seconds,
    TaskId,
)
from common.subjects import NODE_NAME, SET_NAME
from common.text import Code, MessageText, Params

LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999: no time of a task is later."""
MOST_NODES = 1_000_000
"""No task has more nodes, batches, or entries about them."""
Time = Annotated[int, Meta(ge=0, le=LATEST)]
Number = Annotated[int, Meta(ge=0, le=MOST_NODES)]
Sequence = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A place in a stream of the store."""
LabelName = Annotated[str, Meta(max_length=1024)]
NodeName = Annotated[str, Meta(pattern=rf"^(?=.{{1,253}}\Z){NODE_NAME}\Z")]
"""A node name, which becomes a token of a subject."""


CredentialName = Annotated[str, Meta(pattern=rf"^{SET_NAME}\Z")]
SetName = Annotated[str, Meta(pattern=rf"^{SET_NAME}\Z")]
NAMESPACED_NAME: Final = (
    r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?/"
    r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
)
"""Namespace and name of a Secret: an RFC 1123 label, a slash, an RFC 1123 subdomain."""
PullSecretName = Annotated[str, Meta(pattern=rf"^{NAMESPACED_NAME}\Z")]


class StoredRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A stored value: immutable, named in camelCase, defaults left out."""


class TaskStatus(StrEnum):
    """Where a task is. The values are public."""

    is_final: bool
    """Whether the task is over and never changes again."""

    def __new__(cls, value: str, is_final: bool = False) -> Self:
        """One member: its value, and whether it is final."""
        status = str.__new__(cls, value)
        status._value_ = value
        status.is_final = is_final
        return status

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed", True
    FAILED = "failed", True
    CANCELLED = "cancelled", True


FINAL: Final = tuple(status for status in TaskStatus if status.is_final)


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


class Requirement(StoredRecord, frozen=True, kw_only=True):
    """One entry of ``matchExpressions``."""

    key: LabelName
    operator: Operator
    values: Annotated[tuple[LabelName, ...], Meta(max_length=65_536)] = ()


class TaskImage(StoredRecord, frozen=True, kw_only=True):
    """One distinct image: by its first spelling in the task, and as the runtime is asked for it."""

    name: ImageName
    reference: Reference


class Asker(StoredRecord, frozen=True, kw_only=True):
    """Who is asked about again before what they may use is used for their task."""

    user: Annotated[str, Meta(max_length=256)]
    way: Annotated[str, Meta(max_length=32)]
    groups: Annotated[tuple[str, ...], Meta(max_length=1000)] = ()
    extra: Annotated[dict[str, tuple[str, ...]], Meta(max_length=100)] = {}
    """What Kubernetes knows besides."""


class TaskSpec(StoredRecord, frozen=True, kw_only=True):
    """What the user asked for, checked, defaults filled in."""

    images: Annotated[tuple[ImageName, ...], Meta(max_length=MOST_IMAGES)]
    """As the client wrote them, doubles included; ``work`` has each once."""
    work: Annotated[tuple[TaskImage, ...], Meta(max_length=MOST_IMAGES)]
    batch_size: Annotated[int, Meta(ge=1, le=MOST_NODES)] = 10
    priority: Annotated[int, Meta(ge=0, le=100)] = 5
    max_retries: Annotated[int, Meta(ge=0, le=1000)] = 0
    retry_strategy: RetryStrategy = RetryStrategy.LINEAR
    retry_delay: Annotated[int, Meta(ge=0, le=10**6)] = 30
    """Seconds."""
    webhook_url: Annotated[str, Meta(max_length=8192)] | None = None
    node_selector: Annotated[dict[LabelName, LabelName], Meta(max_length=65_536)] = {}
    match_expressions: Annotated[tuple[Requirement, ...], Meta(max_length=65_536)] = ()
    names_nodes: bool = False
    """Whether ``nodeNames`` was given. The names (up to 10,000) are stored apart, in chunks."""
    max_failed_nodes: (
        Annotated[int, Meta(ge=0, le=2**31 - 1)] | Annotated[str, Meta(pattern=r"^[0-9]{1,3}%\Z")]
    ) = 0
    """A number of nodes, or a percentage like ``10%``."""
    rollout: Rollout = Rollout.BATCH
    image_pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    pull_timeout_seconds: Annotated[int, Meta(ge=1, le=10**6)] = 1800
    max_nodes: Number | None = None
    """With more nodes than this the task fails at its start; a policy says so."""
    credentials: Annotated[tuple[CredentialName, ...], Meta(max_length=MOST_LOGINS)] = ()
    """Stored credentials by which registries may be asked."""
    pull_secrets: Annotated[tuple[PullSecretName, ...], Meta(max_length=MOST_LOGINS)] = ()
    """Secrets of Kubernetes by which registries may be asked."""
    asked_by: Asker | None = None
    """Who must still be allowed to use them; None where nobody was asked who they are."""

    @property
    def has_credentials(self) -> bool:
        """Whether it names anything that has to be sealed for its agents."""
        return bool(self.credentials or self.pull_secrets)


class Creator(StoredRecord, frozen=True, kw_only=True):
    """Who created a task, where that is known."""

    user: Annotated[str, Meta(max_length=256)]
    way: Annotated[str, Meta(max_length=32)]
    """How they were identified: one name may be two people, by two ways."""


class ImageCounts(StoredRecord, frozen=True, kw_only=True):
    """What became of one image of a task, over all its nodes."""

    present: Number = 0
    """Nodes that had it before."""
    pulled: Number = 0
    failed: Number = 0
    """Nodes that were given up and have not got it."""
    reasons: Annotated[dict[Code, Number], Meta(max_length=64)] = {}
    """Why they have not, where the image was at fault."""
    timed: Number = 0
    """Pulls of which the time is known."""
    seconds: Seconds = 0.0
    """How long these took, all together."""
    bytes: Count | None = None
    """Compressed bytes that these brought, where known."""


class TaskCounts(StoredRecord, frozen=True, kw_only=True):
    """A task's nodes by what became of them; kept in the head once the task is over."""

    total: Number = 0
    """Nodes that belong to the task; those that ceased to exist are not among them."""
    completed: Number = 0
    failed: Number = 0
    cancelled: Number = 0
    removed: Number = 0
    failed_details: Annotated[int, Meta(ge=0, le=MOST_NODES * (MOST_IMAGES + 1))] = 0
    """Entries that ``failedNodeDetails`` would have in full."""
    current_batch: Number = 0
    retry_count: Number = 0
    """The highest retry number that any node has used."""
    bytes: Count | None = None
    """Compressed bytes of all images that are there now on completed work, where known."""
    images: Annotated[tuple[ImageCounts, ...], Meta(max_length=MOST_IMAGES)] = ()
    """Of each image of ``TaskSpec.work``; empty in heads of older versions."""


class PendingNotification(StrEnum):
    """How a finished task has yet to be announced."""

    EVENT = "event"
    WEBHOOK = "webhook"


class TaskHead(StoredRecord, frozen=True, kw_only=True):
    """What is stored of a task as a whole, written at its transitions by compare-and-swap."""

    id: TaskId
    spec: TaskSpec
    status: TaskStatus = TaskStatus.PENDING
    created_at: Time
    order: Sequence | None = None
    """The store revision of the create; None until somebody rewrites the head."""
    started_at: Time | None = None
    finished_at: Time | None = None
    nodes: Number = 0
    """Nodes at the start."""
    batches: Number = 0
    counts: TaskCounts | None = None
    results_seq: Sequence | None = None
    """Outcomes stored above this sequence never count."""
    message: MessageText | None = None
    """Why it ended as it did, in English."""
    message_code: Code | None = None
    """Which sentence that is (``common/texts.py``); None in heads of older versions."""
    message_params: Params = {}
    notify: Annotated[tuple[PendingNotification, ...], Meta(max_length=10)] = ()
    paused: bool = False
    """No new node begins, of a running task; what is in flight goes on."""
    retry_of: TaskId | None = None
    set: SetName | None = None
    """The set that it repairs: made by the leader, and counted apart from users' tasks."""
    looks: bool = False
    """It looks, on a warm node, whether tags of that set have moved."""
    created_by: Creator | None = None
    node_list: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}\Z")] | None = None
    """Under which name the node list of a started task is stored."""
    key: Annotated[str, Meta(pattern=r"^idem\.[0-9a-z]{1,64}\Z")] | None = None
    """The key record (``Idempotency-Key``) that leads here, removed with the task."""
