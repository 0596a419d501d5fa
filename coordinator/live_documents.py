"""The JSON shapes of live frames: what of nodes changes too fast to be kept."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from coordinator.documents import (
    Bytes,
    Count,
    Document,
    Image,
    ImageState,
    Node,
    NodeState,
    PullPhase,
    Reason,
)


class LiveImage(Document, frozen=True, kw_only=True):
    """What of an image changes while a task runs."""

    image: Image
    state: ImageState
    phase: PullPhase | UnsetType = UNSET
    bytes: Bytes | UnsetType = UNSET
    total_bytes: Bytes | UnsetType = UNSET
    bytes_per_second: Count | UnsetType = UNSET


class LiveNode(Document, frozen=True, kw_only=True):
    """What of a node changes while a task runs."""

    node_name: str
    state: NodeState
    attempt: Annotated[int, Meta(ge=1)]
    reason: Reason | UnsetType = UNSET
    images: list[LiveImage]


class LiveNodes(Document, frozen=True, kw_only=True):
    """The frame ``event: nodes`` on a task's stream: nodes that changed, as they are now."""

    nodes: list[LiveNode]


class LiveAgents(Document, frozen=True, kw_only=True):
    """The frame ``event: agents`` on the stream of all: nodes that changed, names that are gone."""

    nodes: list[Node]
    gone: list[str]
