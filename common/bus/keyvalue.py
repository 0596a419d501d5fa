"""A bucket: the newest value of each key, written by compare-and-swap."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from common.bus.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from common.bus.protocol import RecordStore
    from common.bus.records import Record

_OPERATION = "KV-Operation"
_MARKER = "Nats-Marker-Reason"
_DELETED = {_OPERATION: "DEL"}


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

    def __init__(self, bus: RecordStore, bucket: str) -> None:
        self.bucket = bucket
        self._bus = bus
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."

    async def create(self, key: str, value: bytes, *, ttl: int | None = None) -> int:
        """Write a key that has no live value (none, deleted or expired); the revision.

        Raises Conflict when there is one.
        """
        try:
            return await self.update(key, value, 0, ttl=ttl)
        except Conflict:
            newest = await self._newest(key)
            if newest is not None and newest.value is not None:
                raise
            revision = newest.revision if newest else 0  # it may have expired just now
            return await self.update(key, value, revision, ttl=ttl)

    async def get(self, key: str) -> Entry | None:
        """Read the live value; None when there is none or it is deleted."""
        newest = await self._newest(key)
        return None if newest is None or newest.value is None else newest

    async def revision(self, key: str) -> int:
        """The newest revision of a key, also that of a tombstone; 0 where nothing was written."""
        newest = await self._newest(key)
        return 0 if newest is None else newest.revision

    async def update(self, key: str, value: bytes, revision: int, *, ttl: int | None = None) -> int:
        """Replace the value of exactly this revision; the new revision. Raises Conflict.

        ``ttl``: whole seconds until it expires without a trace. A value written without one
        stays, whatever the one before it had.
        """
        return await self._bus.store(self._prefix + key, value, expect_last=revision, ttl=ttl)

    async def put(self, key: str, value: bytes, *, ttl: int | None = None) -> int:
        """Write a key that nobody else writes, whatever its value is now; the revision."""
        return await self._bus.store(self._prefix + key, value, expect_last=None, ttl=ttl)

    async def delete(self, key: str, revision: int | None = None, *, ttl: int | None = None) -> int:
        """Leave a tombstone (of exactly this revision, where given); its revision.

        ``ttl``: whole seconds until the tombstone, too, is gone. Raises Conflict.
        """
        return await self._bus.store(
            self._prefix + key, b"", expect_last=revision, headers=_DELETED, ttl=ttl
        )

    async def entries(self, keys: str = ">") -> AsyncGenerator[list[Entry], None]:
        """Read the newest entry of each matching key, tombstones too, by revision; finite."""
        replay = self._bus.replay(self._stream, self._prefix + keys, last_per_subject=True)
        async with contextlib.aclosing(replay):
            async for records in replay:
                yield [self._entry(record) for record in records]

    async def watch(self, keys: str = ">", *, start: int) -> AsyncGenerator[list[Entry], None]:
        """Every change from revision ``start`` on, without end; a key's newest state at least.

        A state that was overwritten before it was read is left out. To begin: read ``entries``,
        then watch from the highest revision read plus one (1 if none).
        """
        follow = self._bus.follow(self._stream, self._prefix + keys, start=start)
        async with contextlib.aclosing(follow):
            async for records in follow:
                yield [self._entry(record) for record in records]

    async def _newest(self, key: str) -> Entry | None:
        record = await self._bus.last(self._stream, self._prefix + key)
        return None if record is None else self._entry(record)

    def _entry(self, record: Record) -> Entry:
        gone = _OPERATION in record.headers or _MARKER in record.headers
        return Entry(
            key=record.subject.removeprefix(self._prefix),
            value=None if gone else record.data,
            revision=record.seq,
            time=record.time,
        )
