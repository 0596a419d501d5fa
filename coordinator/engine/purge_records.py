"""Purges as they are stored: the bucket ``IPS_PURGES``, for a day.

Each has a head under its id, and under ``<id>.<number>`` in parts what became of its nodes; only
the coordinator that carries it out writes them. The oldest make room for new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from common import subjects
from common.bus import Entry, KeyValue
from common.bus.protocol import RecordStore
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from common.reasons import clip
from coordinator.core.purge import NodePurge, PurgeHead

noisy = RateLimitedLog(Log(__name__))

KEPT_SECONDS: Final = 24 * 3600
PART_SECONDS: Final = KEPT_SECONDS + 3600
"""No part is gone before its head."""
TOMBSTONE_SECONDS: Final = 60
MOST_KEPT: Final = 50
"""Purges that are kept: with ``purges.MOST_BYTES`` each, 100 MiB at most."""
LARGEST_BYTES: Final = subjects.MAX_MESSAGE_BYTES

_encode = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(PurgeHead).decode
_decode_part = msgspec.json.Decoder(list[NodePurge]).decode


class StoredPurge(NamedTuple):
    """A head, and when it was written by the store's clock (seconds since 1970)."""

    head: PurgeHead
    written_at: float


class PurgeRecords:
    """The bucket; errors as the bus's."""

    def __init__(self, bus: RecordStore, on_poison: Callable[[str], None]) -> None:
        self._bucket = KeyValue(bus, subjects.PURGES_BUCKET)
        self._on_poison = on_poison

    async def save(self, head: PurgeHead) -> None:
        """Store a purge as it is now."""
        await self._bucket.put(head.id, _encode(head), ttl=KEPT_SECONDS)

    async def forget(self, purge: str) -> None:
        """Remove a purge that was not begun with."""
        await self._bucket.delete(purge, ttl=TOMBSTONE_SECONDS)

    async def save_part(self, purge: str, number: int, nodes: list[NodePurge]) -> None:
        """Store what became of some nodes."""
        await self._bucket.put(f"{purge}.{number}", _encode(nodes), ttl=PART_SECONDS)

    async def load(self, purge: str) -> StoredPurge | None:
        """A purge as it is stored."""
        entry = await self._bucket.get(purge)
        return None if entry is None else self._read(entry)

    async def nodes(self, head: PurgeHead) -> list[NodePurge]:
        """What became of its nodes, as far as it is stored; in no order."""
        found: list[NodePurge] = []
        async for entries in self._bucket.entries(f"{head.id}.*"):
            for entry in entries:
                found += self._read_part(entry)
        return found

    async def make_room(self) -> None:
        """Remove the oldest where there are as many as may be."""
        heads: list[PurgeHead] = []
        async for entries in self._bucket.entries("*"):
            known = (self._read(entry) for entry in entries)
            heads += (stored.head for stored in known if stored is not None)
        heads.sort(key=lambda head: (head.finished_at is None, head.created_at))  # who runs is last
        for head in heads[: max(0, len(heads) - MOST_KEPT + 1)]:
            for number in range(head.parts):
                await self._bucket.delete(f"{head.id}.{number}", ttl=TOMBSTONE_SECONDS)
            await self._bucket.delete(head.id, ttl=TOMBSTONE_SECONDS)

    def _read(self, entry: Entry) -> StoredPurge | None:
        if entry.value is None:
            return None
        try:
            head = _decode_head(entry.value)
            if head.id != entry.key or len(entry.value) > LARGEST_BYTES:
                raise ValueError("it is no purge of ours")  # noqa: TRY301 - noted below
        except (*NOT_DECODABLE, ValueError) as why:
            self._poison(entry, why)
            return None
        return StoredPurge(head, entry.time)

    def _read_part(self, entry: Entry) -> list[NodePurge]:
        if entry.value is None:
            return []
        try:
            return _decode_part(entry.value)
        except NOT_DECODABLE as why:
            self._poison(entry, why)
            return []

    def _poison(self, entry: Entry, why: Exception) -> None:
        self._on_poison("purge")
        noisy.warning("record", "a stored purge cannot be read", key=clip(entry.key), why=why)
