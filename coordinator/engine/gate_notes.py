"""When taints of gates were put onto Nodes that were there: the one record ``_gates`` of the notes.

A Node says when it was made, and not when it was tainted. The leader that sees it has it stored, so
that the next one counts ``openAfter`` from the same moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from common import subjects
from common.bus import Conflict, Entry, KeyValue
from common.bus.protocol import RecordStore
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from coordinator.core.task import NodeName, StoredRecord, Time
from coordinator.engine.persistence import Persistently

noisy = RateLimitedLog(Log(__name__))

KEY: Final = "_gates"
"""No set is called so: a label has no underscore."""
MOST_NODES: Final = 5000
"""Of which it is stored; of more, the newest."""
LARGEST_BYTES: Final = 900 * 1024
GATHER_SECONDS: Final = 0.5
TaintKey = Annotated[str, Meta(max_length=128)]


class StoredTaints(StoredRecord, frozen=True, kw_only=True):
    """Taints of one Node, and when each was put onto it (ms since 1970)."""

    uid: Annotated[str, Meta(max_length=128)]
    appeared: Annotated[Mapping[TaintKey, Time], Meta(max_length=16)]


class GatesNote(StoredRecord, frozen=True, kw_only=True):
    """What is remembered of Nodes for gates."""

    nodes: Annotated[Mapping[NodeName, StoredTaints], Meta(max_length=MOST_NODES)] = msgspec.field(
        default_factory=dict
    )


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(GatesNote).decode


class GateNotes:
    """The record, read by every coordinator and written by who leads."""

    def __init__(self, bus: RecordStore, on_poison: Callable[[str], None]) -> None:
        self._bucket = KeyValue(bus, subjects.SET_NOTES_BUCKET)
        self._on_poison = on_poison
        self._nodes: dict[str, StoredTaints] = {}
        self._revision = 0
        self._changed = asyncio.Event()

    def take(self, entry: Entry) -> None:
        """The record was found in the store."""
        if self._revision >= entry.revision:
            return
        self._revision = entry.revision
        try:
            if entry.value is not None:
                self._nodes = dict(_decode(entry.value).nodes)
        except NOT_DECODABLE as why:
            self._on_poison("set note")
            noisy.warning("note", "when Nodes were tainted is lost", why=why)

    def appeared(self, node: str, uid: str, now: float) -> dict[str, float]:
        """When each taint was put onto a Node (seconds since 1970), as far as that was seen.

        None is later than ``now``, whatever is stored: a gate would stay for as long.
        """
        stored = self._nodes.get(node)
        if stored is None or stored.uid != uid:
            return {}
        return {key: min(when / 1000, now) for key, when in stored.appeared.items()}

    def note(self, node: str, uid: str, appeared: Mapping[str, float]) -> None:
        """Have it stored, where it is another one than before."""
        times = {key: round(appeared[key] * 1000) for key in sorted(appeared)[:16]}
        stored = StoredTaints(uid=uid, appeared=times) if times else None
        if stored == self._nodes.get(node):
            return
        self._nodes.pop(node, None)
        if stored is not None:
            self._nodes[node] = stored
            if len(self._nodes) > MOST_NODES:
                del self._nodes[next(iter(self._nodes))]
        self._changed.set()

    async def run(self, persistently: Persistently, held: Callable[[], bool]) -> None:
        """Store what changes, until cancelled; ``held``: whether this coordinator leads."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._changed.clear()
            await persistently(lambda: self._save(held))

    async def _save(self, held: Callable[[], bool]) -> None:
        payload = _encode(GatesNote(nodes=self._nodes))
        if len(payload) > LARGEST_BYTES:
            noisy.warning("large", "when Nodes were tainted is not stored")
            return
        try:
            self._revision = await self._bucket.update(KEY, payload, self._revision)
        except Conflict:
            if held():
                self._revision = max(await self._bucket.revision(KEY), self._revision)
            raise
