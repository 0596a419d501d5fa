"""What the service answers about images and where they are; as ``documents.py`` in all else."""

from __future__ import annotations

from collections.abc import Mapping

from ips_client.decoding import Document, Moment
from ips_client.documents import NodeImage


class StoredImage(Document, frozen=True, kw_only=True):
    """An image that a node's container runtime has at this moment."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    """``repository@sha256:…``."""
    pinned: bool
    size: int | None = None
    """Bytes, as the runtime counts them."""
    sets: tuple[str, ...] = ()
    """Warm sets that have it there."""
    task: str | None = None
    """The last task by which it was there, of those that are kept."""
    since: Moment | None = None
    """When a task pulled it last."""


class NodeTask(Document, frozen=True, kw_only=True):
    """What a task did on one node."""

    task_id: str
    status: str
    created_at: Moment
    state: str
    attempt: int
    images: tuple[NodeImage, ...]
    set: str | None = None
    started_at: Moment | None = None
    finished_at: Moment | None = None
    seconds: float | None = None
    """How long its pulls took there, all together."""
    bytes: int | None = None
    bytes_per_second: int | None = None
    reason: str | None = None
    message: str | None = None


class KnownImage(Document, frozen=True, kw_only=True):
    """A reference that a task or a warm set has."""

    image: str
    reference: str
    tasks: int
    sets: int
    wanted_nodes: int
    """Nodes that are to have it, for a warm set."""
    warm_nodes: int
    """Those of them on which it is."""
    last_task_at: Moment | None = None


class ImagePlace(Document, frozen=True, kw_only=True):
    """One node, and whether an image is there."""

    node_name: str
    state: str
    """``present``, ``pulling``, ``failed``, ``absent`` or ``unknown``."""
    sets: tuple[str, ...] = ()
    digest: str | None = None
    at: Moment | None = None
    """When that was so, by a task; None where it is so now, by the node's own word."""
    task: str | None = None
    reason: str | None = None
    message: str | None = None


class ImageTask(Document, frozen=True, kw_only=True):
    """What became of one image in a task."""

    task_id: str
    status: str
    created_at: Moment
    total_nodes: int
    set: str | None = None
    started_at: Moment | None = None
    finished_at: Moment | None = None
    present_nodes: int | None = None
    pulled_nodes: int | None = None
    failed_nodes: int | None = None
    reasons: Mapping[str, int] | None = None
    seconds: float | None = None
    """The mean time of a pull."""
    bytes_per_second: int | None = None
