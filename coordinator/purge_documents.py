"""What the REST interface answers about purges; as ``documents.py`` in all else."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from common.removals import KeptFor, RemovalState
from coordinator.core.purge import PurgeState
from coordinator.documents import (
    Count,
    Document,
    Image,
    Message,
    MessageCode,
    MessageParams,
    Milliseconds,
    Total,
)
from coordinator.set_documents import PurgeName

PurgeStateName = Annotated[
    str,
    Meta(
        description="interrupted: the coordinator that carried it out ended meanwhile; nodes that "
        "are missing were not asked, or their answer is lost.",
        extra_json_schema={"enum": list(PurgeState)},
    ),
]
RemovalStateName = Annotated[str, Meta(extra_json_schema={"enum": list(RemovalState)})]
KeptReason = Annotated[
    str,
    Meta(
        description=f"Why an image stays: one of {', '.join(KeptFor)}; more may be added.",
        examples=[KeptFor.IN_USE],
    ),
]


class PurgeNodes(Document, frozen=True, kw_only=True):
    """The nodes of a purge."""

    total: Count
    answered: Count
    unanswered: Count
    """Nodes of which nothing is known; the rest has yet to be asked, or is being asked."""


class PurgeCounted(Document, frozen=True, kw_only=True):
    """Images on nodes, by what became of them: one on ten nodes counts ten times."""

    removed: Count
    kept: Count
    absent: Count
    """Those that were not there."""


class PurgeImage(Document, frozen=True, kw_only=True):
    """What became of one image on one node."""

    image: Image
    state: RemovalStateName
    reason: KeptReason | UnsetType = UNSET
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
    also: list[str]
    """Other tags of the same image, which went with it; ten at most."""
    bytes: Count | UnsetType = UNSET
    """As the runtime counts them; layers that other images share stay on the disk all the same."""


class PurgeNode(Document, frozen=True, kw_only=True):
    """What became of a purge on one node; with a message where nothing is known."""

    node_name: str
    images: list[PurgeImage]
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET


class Purge(Document, frozen=True, kw_only=True):
    """Images taken off nodes, or what would be taken off; kept for a day."""

    purge_id: PurgeName
    state: PurgeStateName
    dry_run: bool
    set: str | UnsetType = UNSET
    """The warm set that was deleted, whose images these were."""
    images: list[str]
    """As the client wrote them."""
    nodes: PurgeNodes
    image_counts: PurgeCounted
    bytes: Count
    """Of all removed images, as the runtimes counted them."""
    cut: bool
    """Whether there was more to be told of nodes than is kept: some are without their images."""
    message: Message | UnsetType = UNSET
    message_code: MessageCode | UnsetType = UNSET
    message_params: MessageParams | UnsetType = UNSET
    created_at: Milliseconds
    finished_at: Milliseconds | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    node_list: list[PurgeNode]
    """One page of the nodes that are known by now, by name."""
    total: Total
    limit: int
    offset: int
