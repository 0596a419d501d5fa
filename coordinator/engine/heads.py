"""A replica's own copy of all heads: kept by watching the bucket, ahead of it by its own writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coordinator.core.task import TaskHead, TaskStatus
from coordinator.store import StoredHead


class Heads:
    """The newest known head of every task."""

    def __init__(self) -> None:
        self._by_id: dict[str, StoredHead] = {}
        self._sorted: dict[TaskStatus | None, Sequence[TaskHead]] = {}

    def apply(self, stored: StoredHead) -> bool:
        """Take a head in; False where the same or a newer one is known already."""
        known = self._by_id.get(stored.head.id)
        if known is not None and known.revision >= stored.revision:
            return False
        self._by_id[stored.head.id] = stored
        self._sorted.clear()
        return True

    def remove(self, task: str) -> bool:
        """A head was deleted; False where it was not known."""
        self._sorted.clear()
        return self._by_id.pop(task, None) is not None

    def get(self, task: str) -> StoredHead | None:
        """The newest known head of a task."""
        return self._by_id.get(task)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[StoredHead]:
        return iter(list(self._by_id.values()))

    def newest_first(self, status: TaskStatus | None) -> Sequence[TaskHead]:
        """Heads (of one status) in the store's order; sorted anew only after a change."""
        if status not in self._sorted:
            chosen = [s for s in self._by_id.values() if status in {None, s.head.status}]
            chosen.sort(key=lambda stored: stored.order, reverse=True)
            self._sorted[status] = [stored.head for stored in chosen]
        return self._sorted[status]
