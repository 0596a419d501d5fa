"""A replica's own copy of all heads: kept by watching the bucket, ahead of it by its own writes.

A finished task stays for a week, and is hardly looked at: its head is kept packed, with what is
asked of all of them at hand. Decoded, one of 59 kB took 443 kB.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from coordinator.core.task import Creator, PendingNotification, TaskHead, TaskStatus
from coordinator.store import StoredHead

COMPRESSED_FROM: Final = 1024
"""Bytes; a smaller head is packed as it is."""
_LEVEL: Final = 1
_ZLIB: Final = b"\x78"
"""What compressed data begin with, and JSON never does."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TaskHead).decode


class KeptHead:
    """The newest known head of one task."""

    __slots__ = (
        "_head",
        "created_by",
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
        self.created_by: Creator | None = head.created_by
        self.finished_at: int | None = head.finished_at
        self.newest_time: int = head.finished_at or head.started_at or head.created_at
        """Milliseconds since 1970."""
        self.notify: tuple[PendingNotification, ...] = head.notify
        self._head: TaskHead | bytes = pack(head) if head.status.is_final else head

    @property
    def head(self) -> TaskHead:
        """All of it; unpacked anew each time where the task is over."""
        return unpack(self._head) if isinstance(self._head, bytes) else self._head

    @property
    def stored(self) -> StoredHead:
        """The same with its revision, for whoever wants to swap it."""
        return StoredHead(self.head, self.revision)


def pack(head: TaskHead) -> bytes:
    """A head in a tenth of its memory, or less."""
    data = _encode(head)
    return data if len(data) < COMPRESSED_FROM else zlib.compress(data, _LEVEL)


def unpack(packed: bytes) -> TaskHead:
    """The head that was packed."""
    return _decode(zlib.decompress(packed) if packed.startswith(_ZLIB) else packed)


class Heads:
    """The newest known head of every task."""

    def __init__(self) -> None:
        self._by_id: dict[str, KeptHead] = {}
        self._sorted: dict[TaskStatus | None, Sequence[str]] = {}
        self._counts: Counter[TaskStatus] = Counter()
        self._pending_of: Counter[Creator] = Counter()

    def apply(self, stored: StoredHead) -> bool:
        """Take a head in; False where the same or a newer one is known already."""
        known = self._by_id.get(stored.head.id)
        if known is not None:
            if known.revision >= stored.revision:
                return False
            self._count(known, -1)
        kept = KeptHead(stored)
        self._by_id[kept.id] = kept
        self._count(kept, 1)
        self._sorted.clear()
        return True

    def remove(self, task: str) -> bool:
        """A head was deleted; False where it was not known."""
        known = self._by_id.pop(task, None)
        if known is None:
            return False
        self._count(known, -1)
        self._sorted.clear()
        return True

    def _count(self, kept: KeptHead, by: int) -> None:
        self._counts[kept.status] += by
        if kept.status is TaskStatus.PENDING and kept.created_by is not None:
            self._pending_of[kept.created_by] += by
            if not self._pending_of[kept.created_by]:
                del self._pending_of[kept.created_by]

    def get(self, task: str) -> KeptHead | None:
        """The newest known head of a task."""
        return self._by_id.get(task)

    def count(self, status: TaskStatus) -> int:
        """How many tasks have a status."""
        return self._counts[status]

    def pending_of(self, creator: Creator) -> int:
        """How many pending tasks somebody has created."""
        return self._pending_of[creator]

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
