"""All heads as a replica keeps them: the newest known one of each task.

A finished task stays for a week, and is hardly looked at: its head is kept packed, with what is
asked of all of them at hand. So is a large one that waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

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
        "retry_of",
        "revision",
        "status",
    )

    def __init__(self, stored: StoredHead) -> None:
        head = stored.head
        self.id: str = head.id
        self.status: TaskStatus = head.status
        self.order: int = stored.order
        self.retry_of: str | None = head.retry_of
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


class Heads:
    """The newest known head of every task."""

    def __init__(self) -> None:
        self.by_id: dict[str, KeptHead] = {}
        self.counts: Counter[TaskStatus] = Counter()
        """How many tasks have a status."""
        self.pending_of: Counter[Creator] = Counter()
        """How many pending tasks somebody has created."""
        self.retries: dict[str, list[str]] = {}
        """By task: those that repeat it, the oldest first."""
        self._sorted: dict[TaskStatus | None, Sequence[str]] = {}

    def apply(self, stored: StoredHead) -> bool:
        """Take a head in; False where the same or a newer one is known already."""
        known = self.by_id.get(stored.head.id)
        if known is not None:
            if known.revision >= stored.revision:
                return False
            self._count(known, -1)
        kept = KeptHead(stored)
        if known is None and kept.retry_of is not None:
            self.retries.setdefault(kept.retry_of, []).append(kept.id)
        self.by_id[kept.id] = kept
        self._count(kept, 1)
        self._sorted.clear()
        return True

    def remove(self, task: str) -> bool:
        """A head was deleted; False where it was not known."""
        known = self.by_id.pop(task, None)
        if known is None:
            return False
        self._count(known, -1)
        self._sorted.clear()
        retries = self.retries.get(known.retry_of or "", [])
        if task in retries:
            retries.remove(task)
            if not retries:
                del self.retries[known.retry_of or ""]
        return True

    def _count(self, kept: KeptHead, by: int) -> None:
        self.counts[kept.status] += by
        if kept.status is TaskStatus.PENDING and kept.created_by is not None:
            self.pending_of[kept.created_by] += by
            if not self.pending_of[kept.created_by]:
                del self.pending_of[kept.created_by]

    def __iter__(self) -> Iterator[KeptHead]:
        return iter(list(self.by_id.values()))

    def newest_first(self, status: TaskStatus | None) -> Sequence[str]:
        """Ids of tasks (of one status) in the store's order; sorted anew only after a change."""
        if status not in self._sorted:
            chosen = [kept for kept in self.by_id.values() if status in {None, kept.status}]
            chosen.sort(key=lambda kept: kept.order, reverse=True)
            self._sorted[status] = [kept.id for kept in chosen]
        return self._sorted[status]
