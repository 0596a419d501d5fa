"""Images and where they are, as REST shows them."""

from __future__ import annotations

import math

from msgspec import UNSET, UnsetType

from common.image_reference import familiar
from common.messages import MOST_BYTES, ImageState, total_bytes
from coordinator import image_documents as documents
from coordinator.core.node_run import NodeRun
from coordinator.core.task import ImageCounts, TaskHead
from coordinator.snapshots import ImageOnNode, ImageUse, NodePast, Snapshot, Whereabouts
from coordinator.views.nodes import task_node
from coordinator.views.tasks import progress
from coordinator.views.texts import shown
from coordinator.views.times import milliseconds, milliseconds_if_known


def stored_image(known: ImageOnNode) -> documents.StoredImage:
    """An image that is on a node."""
    image = known.image
    return documents.StoredImage(
        id=image.id,
        tags=list(image.tags),
        digests=list(image.digests),
        size=_known(image.size),
        pinned=image.pinned,
        sets=list(known.sets),
        task=known.task or UNSET,
        since=milliseconds_if_known(known.since),
    )


def node_task(past: NodePast) -> documents.NodeTask:
    """What a task did on a node."""
    head, node = past.head, task_node(past.head, past.node, past.pulls)
    seconds, size = _pulled(past.node)
    return documents.NodeTask(
        task_id=head.id,
        status=head.status,
        set=head.set or UNSET,
        created_at=milliseconds(head.created_at),
        state=node.state,
        attempt=node.attempt,
        started_at=node.started_at,
        finished_at=node.finished_at,
        seconds=UNSET if seconds is None else round(seconds, 3),
        bytes=_known(size),
        bytes_per_second=_speed(size, seconds),
        reason=node.reason,
        message=node.message,
        message_code=node.message_code,
        message_params=node.message_params,
        images=node.images,
    )


def _pulled(node: NodeRun) -> tuple[float | None, int | None]:
    """Seconds and compressed bytes of the pulls that tell them."""
    pulled = [image for image in node.images.values() if image.state is ImageState.PULLED]
    times = [image.seconds for image in pulled if image.seconds is not None]
    sizes = [image.bytes for image in pulled if image.bytes is not None]
    return sum(times) if times else None, total_bytes(sizes) if sizes else None


def known_image(known: ImageUse) -> documents.KnownImage:
    """A reference that is known."""
    return documents.KnownImage(
        image=familiar(known.reference),
        reference=known.reference,
        tasks=known.tasks,
        last_task_at=milliseconds_if_known(known.last_task_at),
        sets=known.sets,
        wanted_nodes=known.wanted_nodes,
        warm_nodes=known.warm_nodes,
    )


def image_place(place: Whereabouts) -> documents.ImagePlace:
    """A node, and whether an image is there."""
    said = shown(place.text)
    return documents.ImagePlace(
        node_name=place.node,
        state=place.state,
        digest=place.digest or UNSET,
        at=milliseconds_if_known(place.at),
        task=place.task or UNSET,
        sets=list(place.sets),
        reason=place.reason or UNSET,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
    )


def image_task(shot: Snapshot, reference: str) -> documents.ImageTask:
    """What became of an image in a task."""
    head, counts = shot.head, _counts(shot, reference)
    return documents.ImageTask(
        task_id=head.id,
        status=head.status,
        set=head.set or UNSET,
        created_by=UNSET if head.created_by is None else head.created_by.user,
        created_at=milliseconds(head.created_at),
        started_at=milliseconds_if_known(head.started_at),
        finished_at=milliseconds_if_known(head.finished_at),
        total_nodes=progress(shot).total_nodes,
        present_nodes=UNSET if counts is None else counts.present,
        pulled_nodes=UNSET if counts is None else counts.pulled,
        failed_nodes=UNSET if counts is None else counts.failed,
        reasons=UNSET if counts is None else dict(sorted(counts.reasons.items())),
        seconds=_mean(counts),
        bytes_per_second=UNSET if counts is None else _speed(counts.bytes, counts.seconds),
    )


def _counts(shot: Snapshot, reference: str) -> ImageCounts | None:
    """None for a task that has not begun, and for one that an older version has ended."""
    place = _place(shot.head, reference)
    if place is None:
        return None
    if shot.run is not None:
        return shot.run.images[shot.head.spec.work[place].name].counts()
    images = () if shot.head.counts is None else shot.head.counts.images
    return images[place] if place < len(images) else None


def _place(head: TaskHead, reference: str) -> int | None:
    found = (n for n, image in enumerate(head.spec.work) if image.reference == reference)
    return next(found, None)


def _mean(counts: ImageCounts | None) -> float | UnsetType:
    if counts is None or not counts.timed:
        return UNSET
    return round(counts.seconds / counts.timed, 3)


def _speed(size: int | None, seconds: float | None) -> int | UnsetType:
    """Bytes a second; none where that is no number of bytes that a message can carry."""
    speed = size / seconds if size is not None and seconds else math.inf
    return round(speed) if speed < MOST_BYTES else UNSET


def _known(number: int | None) -> int | UnsetType:
    return UNSET if number is None else number
