"""A replica's own copy of all heads: kept by watching the bucket, ahead of it by its own writes.

A finished task stays for a week, and is hardly looked at: its head is kept packed, with what is
asked of all of them at hand. So is a large one that waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from coordinator.core.packed import keep, look
from coordinator.core.task import PendingNotification, TaskHead, TaskStatus
from coordinator.store import StoredHead


class KeptHead:
    """The newest known head of one task."""

    __slots__ = (
        "_head",
        "finished_at",
        "id",
        "newest_time",
        "notify",
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
        self.finished_at: int | None = head.finished_at
        self.newest_time: int = head.finished_at or head.started_at or head.created_at
        """Milliseconds since 1970."""
        self.notify: tuple[PendingNotification, ...] = head.notify
        self._head = keep(head)

    @property
    def head(self) -> TaskHead:
        """All of it; unpacked anew each time where it is packed."""
        return look(self._head)

    @property
    def stored(self) -> StoredHead:
        """The same with its revision, for whoever wants to swap it."""
        return StoredHead(self.head, self.revision)


class Heads:
    """The newest known head of every task."""

    def __init__(self) -> None:
        self._by_id: dict[str, KeptHead] = {}
        self._sorted: dict[TaskStatus | None, Sequence[str]] = {}
        self._counts: Counter[TaskStatus] = Counter()

    def apply(self, stored: StoredHead) -> bool:
        """Take a head in; False where the same or a newer one is known already."""
        known = self._by_id.get(stored.head.id)
        if known is not None:
            if known.revision >= stored.revision:
                return False
            self._counts[known.status] -= 1
        kept = KeptHead(stored)
        self._by_id[kept.id] = kept
        self._counts[kept.status] += 1
        self._sorted.clear()
        return True

    def remove(self, task: str) -> bool:
        """A head was deleted; False where it was not known."""
        known = self._by_id.pop(task, None)
        if known is None:
            return False
        self._counts[known.status] -= 1
        self._sorted.clear()
        return True

    def get(self, task: str) -> KeptHead | None:
        """The newest known head of a task."""
        return self._by_id.get(task)

    def count(self, status: TaskStatus) -> int:
        """How many tasks have a status."""
        return self._counts[status]

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[KeptHead]:
        return iter(list(self._by_id.values()))

    def newest_first(self, status: TaskStatus | None) -> Sequence[str]:
        """Ids of tasks (of one status) in the store's order; sorted anew only after a change."""
        if status not in self._sorted:
            chosen = [kept for kept in self._by_id.values() if status in {None, kept.status}]
            chosen.sort(key=lambda kept: kept.order, reverse=True)
            self._sorted[status] = [kept.id for kept in chosen]
        return self._sorted[status]
