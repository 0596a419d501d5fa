"""What the service answers about purges, typed; as ``documents`` in all else."""

from __future__ import annotations

from ips_client.decoding import Document, Moment


class PurgeNodes(Document, frozen=True, kw_only=True):
    """The nodes of a purge; those that are left have yet to answer."""

    total: int
    answered: int
    unanswered: int
    """Of which nothing is known."""


class PurgeImages(Document, frozen=True, kw_only=True):
    """Images on nodes: one on ten nodes counts ten times."""

    removed: int
    kept: int
    absent: int


class PurgeImage(Document, frozen=True, kw_only=True):
    """What became of one image on one node."""

    image: str
    state: str
    """``removed``, ``kept`` or ``absent``."""
    reason: str | None = None
    message: str | None = None
    also: tuple[str, ...] = ()
    """Other tags of the image, which went with it."""
    bytes: int | None = None


class PurgeNode(Document, frozen=True, kw_only=True):
    """What became of a purge on one node; with a message where nothing is known."""

    node_name: str
    images: tuple[PurgeImage, ...] = ()
    message: str | None = None


class Purge(Document, frozen=True, kw_only=True):
    """Images taken off nodes, or what would be taken off."""

    purge_id: str
    state: str
    """``running``, ``finished`` or ``interrupted``."""
    dry_run: bool
    images: tuple[str, ...]
    nodes: PurgeNodes
    image_counts: PurgeImages
    bytes: int
    set: str | None = None
    message: str | None = None
    created_at: Moment
    finished_at: Moment | None = None
    created_by: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state != "running"
