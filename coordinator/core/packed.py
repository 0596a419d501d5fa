"""A head in memory: as it is where it is small, else in a tenth of its memory.

Decoded, a head of 59 kB takes 443 kB, and so many as may wait, or be over, are kept.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from coordinator.core.task import TaskHead, TaskStatus

COMPRESSED_FROM: Final = 1024
"""Bytes; a smaller head is packed as it is."""
FEW: Final = 10
"""Images; a task with no more, and no demands on labels, has a small head."""
LARGE: Final = 2048
"""Bytes, packed; a larger head is packed while it waits, too."""
_LEVEL: Final = 1
_ZLIB: Final = b"\x78"
"""What compressed data begin with, and JSON never does."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TaskHead).decode


Kept = TaskHead | bytes
"""A head, or the same packed."""


def keep(head: TaskHead) -> Kept:
    """A head as it is worth being kept: one that runs is in use, one that is over hardly ever."""
    if head.status is TaskStatus.RUNNING:
        return head
    packed = pack(head)
    return packed if head.status.is_final or len(packed) > LARGE else head


def pack(head: TaskHead) -> bytes:
    """A head in a tenth of its memory, or less."""
    data = _encode(head)
    return data if len(data) < COMPRESSED_FROM else zlib.compress(data, _LEVEL)


def unpack(packed: bytes) -> TaskHead:
    """The head that was packed."""
    return _decode(zlib.decompress(packed) if packed.startswith(_ZLIB) else packed)
