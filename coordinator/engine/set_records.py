"""Sets as they are stored: the bucket ``IPS_SETS``, one record a set, under its name.

Written by whichever coordinator is asked, by compare-and-swap; what is deleted leaves a tombstone.
A record that cannot be read is left alone: a newer version may have written it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from common import subjects
from common.bus import Entry, KeyValue
from common.bus.protocol import RecordStore
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from common.reasons import clip
from coordinator.core.sets.head import SetHead
from coordinator.core.task import Asker, Creator
from coordinator.set_port import SetOrder
from coordinator.snapshots import StoredSet

noisy = RateLimitedLog(Log(__name__))

LARGEST_BYTES: Final = 160 * 1024
"""Of one record: a spec may have 64 KiB, and its images twice as much as references."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SetHead).decode


@dataclass(frozen=True, slots=True)
class SetTombstone:
    """A set that was deleted."""

    name: str
    revision: int


class SetRecords:
    """The bucket; errors as the bus's."""

    def __init__(self, bus: RecordStore, on_poison: Callable[[str], None]) -> None:
        self._bucket = KeyValue(bus, subjects.SETS_BUCKET)
        self._on_poison = on_poison

    async def create(self, head: SetHead) -> StoredSet:
        """Store a new set. Raises Conflict where there is one of the name."""
        return StoredSet(head, await self._bucket.create(head.name, _encode(head)))

    async def swap(self, old: StoredSet, new: SetHead) -> StoredSet:
        """Replace exactly this set. Raises Conflict where it has changed since."""
        return StoredSet(new, await self._bucket.update(new.name, _encode(new), old.revision))

    async def delete(self, stored: StoredSet) -> int:
        """Remove exactly this set; the tombstone's revision. Raises Conflict."""
        return await self._bucket.delete(stored.head.name, stored.revision)

    async def load(self, name: str) -> StoredSet | None:
        """A set as the store has it now."""
        entry = await self._bucket.get(name)
        found = None if entry is None else self._read(entry)
        return None if isinstance(found, SetTombstone) else found

    async def load_all(self) -> AsyncIterator[StoredSet | SetTombstone]:
        """Every set there is, and the tombstones, in the order of their revisions."""
        async for entries in self._bucket.entries():
            for found in self._readable(entries):
                yield found

    async def watch(self, start: int) -> AsyncIterator[StoredSet | SetTombstone]:
        """Every change from a revision on, without end."""
        async for entries in self._bucket.watch(start=start):
            for found in self._readable(entries):
                yield found

    def _readable(self, entries: Iterable[Entry]) -> Iterator[StoredSet | SetTombstone]:
        return (found for entry in entries if (found := self._read(entry)) is not None)

    def _read(self, entry: Entry) -> StoredSet | SetTombstone | None:
        if entry.value is None:
            return SetTombstone(entry.key, entry.revision)
        try:
            if len(entry.value) > LARGEST_BYTES:
                raise ValueError("the record is too large")  # noqa: TRY301 - noted below
            head = _decode(entry.value)
            if head.name != entry.key:
                raise ValueError("it is that of another set")  # noqa: TRY301
        except (*NOT_DECODABLE, ValueError) as why:
            self._on_poison("set")
            noisy.warning("record", "a stored set cannot be read", key=clip(entry.key), why=why)
            return None
        return StoredSet(head, entry.revision)


def is_so(head: SetHead, order: SetOrder) -> bool:
    """Whether a set is already what is wanted, whoever asks: it stays whose it is."""
    return _is_wished(head, order) and not _is_known_anew(head.spec.asked_by, order.spec.asked_by)


def _is_wished(head: SetHead, order: SetOrder) -> bool:
    spec = replace(order.spec, asked_by=head.spec.asked_by)
    wanted = (spec, order.paused, order.schedule, order.refresh, order.gate, order.pin)
    return (head.spec, head.paused, head.schedule, head.refresh, head.gate, head.pin) == wanted


def _is_known_anew(before: Asker | None, now: Asker | None) -> bool:
    """Whether somebody is in other groups than before: their rights may be others."""
    if before is None or now is None or before == now:
        return False
    return (before.user, before.way) == (now.user, now.way)


def head_of(old: StoredSet | None, order: SetOrder, creator: Creator | None, now: float) -> SetHead:
    """What is to be stored for an order; ``old`` is what it replaces, if anything."""
    moment = int(now * 1000)
    if old is None:
        return SetHead(
            name=order.name,
            spec=order.spec,
            paused=order.paused,
            schedule=order.schedule,
            refresh=order.refresh,
            pin=order.pin,
            gate=order.gate,
            gate_since=0 if order.gate is None else moment,
            created_at=moment,
            updated_at=moment,
            created_by=creator,
        )
    if _is_wished(old.head, order):
        return replace(old.head, spec=order.spec)
    return replace(
        old.head,
        spec=order.spec,
        paused=order.paused,
        schedule=order.schedule,
        refresh=order.refresh,
        pin=order.pin,
        gate=order.gate,
        gate_since=old.head.gate_since if old.head.gate == order.gate else moment,
        generation=old.head.generation + 1,
        updated_at=moment,
        created_by=creator,
    )
