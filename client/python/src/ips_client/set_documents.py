"""What the service answers about warm sets, typed; as ``documents`` in all else."""

from __future__ import annotations

from collections.abc import Mapping

from ips_client.decoding import Document, Moment
from ips_client.documents import Requirement


class SetNodes(Document, frozen=True, kw_only=True):
    """The nodes of a set by their state: each is in exactly one."""

    total: int
    warm: int
    pulling: int
    waiting: int
    failed: int
    blocked: int


class SetCondition(Document, frozen=True, kw_only=True):
    """What holds of a set as a whole, or not."""

    type: str
    """``Ready``, ``Progressing``, ``Degraded``, or ``Gated`` of a set with a gate."""
    status: bool
    reason: str
    message: str | None = None
    since: Moment | None = None


class SetSchedule(Document, frozen=True, kw_only=True):
    """When a set may pull."""

    cron: str
    time_zone: str
    window: str
    joins: str
    """``window`` or ``always``: when nodes that join are warmed."""


class SetWindow(Document, frozen=True, kw_only=True):
    """Whether a set that has a schedule may pull at this moment."""

    open: bool
    until: Moment | None = None
    next: Moment | None = None


class SetRefresh(Document, frozen=True, kw_only=True):
    """How often registries are asked whether tags have moved."""

    tags: str


class SetLooks(Document, frozen=True, kw_only=True):
    """Looks at the tags of a set."""

    failures: int
    at: Moment | None = None
    next: Moment | None = None
    task: str | None = None
    reason: str | None = None
    message: str | None = None


class SetDigest(Document, frozen=True, kw_only=True):
    """A digest of an image, and how many nodes show it."""

    digest: str
    nodes: int
    newest: bool


class SetDrift(Document, frozen=True, kw_only=True):
    """Which digests nodes have of an image with a tag."""

    image: str
    digests: tuple[SetDigest, ...]


class SetPin(Document, frozen=True, kw_only=True):
    """The images are kept from the kubelet's clean-up."""

    until: Moment | None = None


class SetGate(Document, frozen=True, kw_only=True):
    """What Kubernetes is told of the Nodes of a set."""

    condition: bool
    """Whether the condition ``ips.dev/warm-<set>`` and a label like it are kept."""
    taint: str | None = None
    """The startup taint that is taken away when a node is warm."""
    open_after: str = "10m"
    """And after so long anyway."""


class WarmSet(Document, frozen=True, kw_only=True):
    """A standing promise: these images are on these nodes."""

    name: str
    images: tuple[str, ...]
    nodes: SetNodes
    warm_percent: float
    generation: int
    observed_generation: int
    paused: bool
    pin: SetPin | None = None
    gate: SetGate | None = None
    reasons: Mapping[str, int]
    """How many nodes are failed or blocked for each reason."""
    conditions: tuple[SetCondition, ...]
    node_selector: Mapping[str, str] | None = None
    match_expressions: tuple[Requirement, ...] = ()
    priority: int = 5
    batch_size: int = 10
    max_retries: int = 0
    retry_strategy: str = "linear"
    retry_delay: int = 30
    max_failed_nodes: int | str | None = None
    rollout: str | None = None
    pull_timeout_seconds: int | None = None
    credentials: tuple[str, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    webhook_url: str | None = None
    """Scheme and host only."""
    schedule: SetSchedule | None = None
    window: SetWindow | None = None
    """Of a set with a schedule."""
    refresh: SetRefresh | None = None
    looks: SetLooks | None = None
    drift: tuple[SetDrift, ...] | None = None
    """Where the set alone was asked for."""
    repair: str | None = None
    """The task by which it is being repaired."""
    created_at: Moment
    updated_at: Moment
    created_by: str | None = None

    def condition(self, kind: str) -> SetCondition | None:
        """One of its conditions."""
        return next((each for each in self.conditions if each.type == kind), None)


class SetImage(Document, frozen=True, kw_only=True):
    """One image of a set on one node."""

    image: str
    present: bool | None = None
    """None while nobody said it."""
    digest: str | None = None
    pin: str | None = None
    """``pinned``, or why not; None where it is not to be."""


class SetNode(Document, frozen=True, kw_only=True):
    """One node of a set: warm, or why not."""

    node_name: str
    state: str
    """``warm``, ``pulling``, ``waiting``, ``failed`` or ``blocked``."""
    images: tuple[SetImage, ...]
    reason: str | None = None
    message: str | None = None
    image: str | None = None
    """Which image failed."""
    next_try_at: Moment | None = None
    task: str | None = None


class SetRefreshing(Document, frozen=True, kw_only=True):
    """The answer to a request to look at a set's tags."""

    name: str
    message: str = ""


class SetDeleted(Document, frozen=True, kw_only=True):
    """The answer to a delete."""

    name: str
    purge: str | None = None
    """The purge that takes its images off its nodes."""
    message: str = ""
