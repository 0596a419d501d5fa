"""One head as a replica keeps it.

A finished task stays for a week, and is hardly looked at: its head is kept packed, with what is
asked of all of them at hand. So is a large one that waits.
"""

from __future__ import annotations

from coordinator.core.packed import FEW, keep, unpack
from coordinator.core.task import Creator, PendingNotification, TaskHead, TaskStatus
from coordinator.store import StoredHead


class KeptHead:
    """The newest known head of one task."""

    __slots__ = (
        "_packed",
        "created_by",
        "finished_at",
        "id",
        "newest_time",
        "notify",
        "open",
        "order",
        "revision",
        "status",
    )

    def __init__(self, stored: StoredHead) -> None:
        head = stored.head
        self.id: str = head.id
        self.status: TaskStatus = head.status
        self.order: int = stored.order
        self.revision: int = stored.revision
        self.created_by: Creator | None = head.created_by
        self.finished_at: int | None = head.finished_at
        self.newest_time: int = head.finished_at or head.started_at or head.created_at
        """Milliseconds since 1970."""
        self.notify: tuple[PendingNotification, ...] = head.notify
        spec = head.spec
        is_small = len(spec.images) <= FEW and not (spec.node_selector or spec.match_expressions)
        is_used = head.status is TaskStatus.RUNNING or (is_small and not head.status.is_final)
        kept = head if is_used else keep(head)
        self.open: StoredHead | None = None if isinstance(kept, bytes) else stored
        """As it is stored, where it is not packed."""
        self._packed = kept if isinstance(kept, bytes) else b""

    @property
    def head(self) -> TaskHead:
        """All of it; unpacked anew each time where it is packed."""
        return unpack(self._packed) if self.open is None else self.open.head

    @property
    def stored(self) -> StoredHead:
        """The same with its revision, for whoever wants to swap it."""
        return self.open or StoredHead(self.head, self.revision)
