"""One head as a replica keeps it.

A finished task stays for a week, and is hardly looked at: its head is kept packed, with what is
asked of all of them at hand. Decoded, one of 59 kB took 443 kB.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from coordinator.core.task import PendingNotification, TaskHead, TaskStatus
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
        "_packed",
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
        self.finished_at: int | None = head.finished_at
        self.newest_time: int = head.finished_at or head.started_at or head.created_at
        """Milliseconds since 1970."""
        self.notify: tuple[PendingNotification, ...] = head.notify
        self.open: StoredHead | None = None if head.status.is_final else stored
        """As it is stored, where the task is not over."""
        self._packed = pack(head) if head.status.is_final else b""

    @property
    def head(self) -> TaskHead:
        """All of it; unpacked anew each time where the task is over."""
        return unpack(self._packed) if self.open is None else self.open.head

    @property
    def stored(self) -> StoredHead:
        """The same with its revision, for whoever wants to swap it."""
        return self.open or StoredHead(self.head, self.revision)


def pack(head: TaskHead) -> bytes:
    """A head in a tenth of its memory, or less."""
    data = _encode(head)
    return data if len(data) < COMPRESSED_FROM else zlib.compress(data, _LEVEL)


def unpack(packed: bytes) -> TaskHead:
    """The head that was packed."""
    return _decode(zlib.decompress(packed) if packed.startswith(_ZLIB) else packed)
