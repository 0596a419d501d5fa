"""A purge: images taken off nodes. What was asked for, and what became of it; pure.

These Structs are the stored form, too. Times are whole milliseconds since 1970, UTC.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, field
from msgspec.structs import replace

from common.messages import MOST_IMAGES, Count, ImageName, Name, Reference, total_bytes
from common.removals import MOST_ALSO, KeptFor, Removals, RemovalState
from common.subjects import PURGE_ID
from common.text import Code, MessageText, Params, Text, fields_of, text_of
from coordinator.core.task import (
    Creator,
    NodeName,
    Number,
    SetName,
    StoredRecord,
    TaskImage,
    Time,
)

MOST_PARTS: Final = 10_000
PurgeId = Annotated[str, Meta(pattern=rf"^{PURGE_ID}\Z")]
ImagesOnNodes = Annotated[int, Meta(ge=0, le=2**53)]


class PurgeState(StrEnum):
    """How far a purge is. The values are public."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    """Its coordinator ended: nodes that were not told of may have been asked or not."""


class ImagePurge(StoredRecord, frozen=True, kw_only=True):
    """What became of one image on one node."""

    image: Annotated[int, Meta(ge=0, le=MOST_IMAGES - 1)]
    """Its place in the purge's ``work``."""
    state: RemovalState
    reason: KeptFor | None = None
    about: Annotated[str, Meta(max_length=1280)] = ""
    also: Annotated[tuple[Reference, ...], Meta(max_length=MOST_ALSO)] = ()
    bytes: Count | None = None


class NodePurge(StoredRecord, frozen=True, kw_only=True):
    """What became of a purge on one node; with a message instead where nothing is known."""

    node: NodeName
    images: Annotated[tuple[ImagePurge, ...], Meta(max_length=MOST_IMAGES)] = ()
    message: MessageText | None = None
    message_code: Code = ""
    message_params: Params = field(default_factory=dict)

    @property
    def problem(self) -> Text | None:
        """Why nothing is known of it; None where its agent has answered."""
        return text_of(self.message, self.message_code, self.message_params)


class PurgeCounts(StoredRecord, frozen=True, kw_only=True):
    """What has become of a purge's nodes, and of its images on them."""

    answered: Number = 0
    unanswered: Number = 0
    """Nodes of which nothing is known."""
    removed: ImagesOnNodes = 0
    kept: ImagesOnNodes = 0
    absent: ImagesOnNodes = 0
    bytes: Count = 0
    """Of removed images, as the runtimes counted them."""

    def and_of(self, found: NodePurge) -> PurgeCounts:
        """With one more node."""
        if found.problem is not None:
            return replace(self, unanswered=self.unanswered + 1)
        states = [image.state for image in found.images]
        return PurgeCounts(
            answered=self.answered + 1,
            unanswered=self.unanswered,
            removed=self.removed + states.count(RemovalState.REMOVED),
            kept=self.kept + states.count(RemovalState.KEPT),
            absent=self.absent + states.count(RemovalState.ABSENT),
            bytes=total_bytes((self.bytes, *(image.bytes or 0 for image in found.images))),
        )


class PurgeHead(StoredRecord, frozen=True, kw_only=True):
    """What is stored of a purge as a whole, by the coordinator that carries it out."""

    id: PurgeId
    images: Annotated[tuple[ImageName, ...], Meta(max_length=MOST_IMAGES)]
    """As the client wrote them."""
    work: Annotated[tuple[TaskImage, ...], Meta(max_length=MOST_IMAGES)]
    """Each once."""
    dry_run: bool = False
    set: SetName | None = None
    """The set that was deleted with it."""
    run: Name
    """Names the life of the coordinator that carries it out."""
    nodes: Number = 0
    counts: PurgeCounts = PurgeCounts()
    parts: Annotated[int, Meta(ge=0, le=MOST_PARTS)] = 0
    """In which what became of the nodes is stored."""
    cut: bool = False
    """Whether there was too much of it to be kept: some nodes are without their images."""
    created_at: Time
    finished_at: Time | None = None
    created_by: Creator | None = None


def answered(node: str, head: PurgeHead, answer: Removals) -> NodePurge:
    """What an agent's answer says. Raises ValueError for one that lacks an image."""
    found = {removal.reference: removal for removal in answer.removals}
    images: list[ImagePurge] = []
    for place, image in enumerate(head.work):
        removal = found.get(image.reference)
        if removal is None:
            raise ValueError(f"nothing is said of {image.reference}")
        images.append(
            ImagePurge(
                image=place,
                state=removal.state,
                reason=removal.reason,
                about=removal.about,
                also=removal.also,
                bytes=removal.bytes,
            )
        )
    return NodePurge(node=node, images=tuple(images))


def silent(node: str, why: Text) -> NodePurge:
    """Nothing is known of a node, for this reason."""
    return NodePurge(node=node, **fields_of(why))
