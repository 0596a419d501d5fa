"""A bucket: the newest value of each key, written by compare-and-swap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.bus.bus import Bus


class Entry(msgspec.Struct, frozen=True):
    """The newest state of a key."""

    key: str
    value: bytes | None
    """None: the key is deleted."""
    revision: int
    time: float
    """When it was written, by the store's clock: seconds since 1970."""


class KeyValue:
    """Keys of one bucket (stream ``KV_<bucket>``). Reads ask the leader; errors as ``Bus``."""

    def __init__(self, bus: Bus, bucket: str) -> None:
        self._bus = bus
        self.bucket = bucket

    async def create(self, key: str, value: bytes, *, ttl: int | None = None) -> int:
        """Write a key that has no live value (none, deleted or expired); the revision.

        Raises Conflict when there is one.
        """
        raise NotImplementedError

    async def get(self, key: str) -> Entry | None:
        """Read the live value; None when there is none or it is deleted."""
        raise NotImplementedError

    async def update(self, key: str, value: bytes, revision: int, *, ttl: int | None = None) -> int:
        """Replace the value of exactly this revision; the new revision. Raises Conflict."""
        raise NotImplementedError

    async def delete(self, key: str, revision: int | None = None) -> int:
        """Leave a tombstone (of exactly this revision, where given); its revision.

        Raises Conflict.
        """
        raise NotImplementedError

    def entries(self, keys: str = ">") -> AsyncIterator[list[Entry]]:
        """Read the newest entry of each matching key, tombstones too, by revision; finite."""
        raise NotImplementedError

    def watch(self, keys: str = ">", *, start: int) -> AsyncIterator[list[Entry]]:
        """Every change from revision ``start`` on, without end; a key's newest state at least.

        A state that was overwritten before it was read is left out. To begin: read ``entries``,
        then watch from the highest revision read plus one (1 if none).
        """
        raise NotImplementedError
