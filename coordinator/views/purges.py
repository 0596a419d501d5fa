"""A purge as REST shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import UNSET

from common import purge_texts as texts
from common.removals import KeptFor
from common.text import Text
from coordinator import purge_documents as documents
from coordinator.core.purge import ImagePurge, NodePurge, PurgeHead, PurgeState
from coordinator.snapshots import PurgeSnapshot
from coordinator.views.texts import shown
from coordinator.views.times import milliseconds, milliseconds_if_known

_WHY: Final[Mapping[KeptFor, Callable[[str], Text]]] = {
    KeptFor.IN_USE: lambda _: texts.KEPT_IN_USE(),
    KeptFor.WANTED: lambda about: texts.KEPT_WANTED(image=about),
    KeptFor.PINNED: lambda _: texts.KEPT_PINNED(),
    KeptFor.PULLING: lambda about: texts.KEPT_PULLING(image=about),
    KeptFor.NOT_REMOVED: lambda about: texts.KEPT_NOT_REMOVED(why=about),
    KeptFor.TOO_LATE: lambda _: texts.KEPT_TOO_LATE(),
}


def purge(
    shot: PurgeSnapshot, nodes: Sequence[NodePurge], limit: int, offset: int
) -> documents.Purge:
    """A purge with one page of its nodes."""
    head, counts = shot.head, shot.head.counts
    is_left = shot.state is PurgeState.INTERRUPTED
    said = shown(texts.PURGE_INTERRUPTED() if is_left else None)
    return documents.Purge(
        purge_id=head.id,
        state=shot.state,
        dry_run=head.dry_run,
        set=head.set or UNSET,
        images=list(head.images),
        nodes=documents.PurgeNodes(
            total=head.nodes, answered=counts.answered, unanswered=counts.unanswered
        ),
        image_counts=documents.PurgeCounted(
            removed=counts.removed, kept=counts.kept, absent=counts.absent
        ),
        bytes=counts.bytes,
        cut=head.cut,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
        created_at=milliseconds(head.created_at),
        finished_at=milliseconds_if_known(head.finished_at),
        created_by=UNSET if head.created_by is None else head.created_by.user,
        node_list=[_node(head, node) for node in nodes],
        total=len(shot.nodes),
        limit=limit,
        offset=offset,
    )


def _node(head: PurgeHead, found: NodePurge) -> documents.PurgeNode:
    said = shown(found.problem)
    return documents.PurgeNode(
        node_name=found.node,
        images=[_image(head, image) for image in found.images if image.image < len(head.work)],
        message=said.message,
        message_code=said.code,
        message_params=said.params,
    )


def _image(head: PurgeHead, found: ImagePurge) -> documents.PurgeImage:
    said = shown(None if found.reason is None else _WHY[found.reason](found.about))
    return documents.PurgeImage(
        image=head.work[found.image].name,
        state=found.state,
        reason=found.reason or UNSET,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
        also=list(found.also),
        bytes=UNSET if found.bytes is None else found.bytes,
    )
