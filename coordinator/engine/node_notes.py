"""What the leader remembers of the nodes of sets: records of ``IPS_SET_NOTES``, 16 a set.

A node is in the record that its name's checksum says, so that a change rewrites few others. Written
by the leader alone, where something has changed; read by every coordinator.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from common import subjects
from common.bus import Entry, KeyValue
from common.bus.protocol import RecordStore
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from common.reasons import clip
from coordinator.core.sets.events import NodesNoted, SetEvent
from coordinator.core.sets.records import NodeMemory
from coordinator.engine.stored_memory import NodesNote

noisy = RateLimitedLog(Log(__name__))

RECORDS_OF_A_SET: Final = 16
LARGEST_BYTES: Final = 900 * 1024
"""Of one record; NATS takes 1 MiB."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NodesNote).decode


def key_of(name: str, node: str) -> str:
    """The record of a node in a set."""
    return _key(name, binascii.crc32(node.encode()) % RECORDS_OF_A_SET)


def _key(name: str, number: int) -> str:
    return f"{name}.{number}"


def is_of_nodes(key: str) -> bool:
    """Whether a record of the bucket is about nodes: a set's own has no dot in its key."""
    return "." in key


class NodeNotes:
    """The records, and what is known of them here; what is found is fed to the sets' core."""

    def __init__(
        self,
        bus: RecordStore,
        feed: Callable[[SetEvent], None],
        on_poison: Callable[[str], None],
    ) -> None:
        self._bucket = KeyValue(bus, subjects.SET_NOTES_BUCKET)
        self._feed = feed
        self._on_poison = on_poison
        self._notes: dict[str, NodesNote] = {}
        self._revisions: dict[str, int] = {}

    @property
    def keys(self) -> Iterable[str]:
        """Every record that is stored."""
        return list(self._notes)

    def take(self, entry: Entry, *, again: bool = False) -> None:
        """A record was found in the store; ``again``: it counts also where it was found before."""
        if self._revisions.get(entry.key, 0) >= entry.revision + again:
            return  # of what was written here nobody has to be told
        self._revisions[entry.key] = entry.revision
        before = self._notes.pop(entry.key, None)
        found = self._read(entry)
        if found is None:
            return
        note, memories = found
        self._notes[entry.key] = note
        is_same = before is not None and before.created_at == note.created_at
        known = before.memories() if before is not None and is_same else {}
        self._feed(NodesNoted(note.name, note.created_at, note.generation, memories, known))

    def _read(self, entry: Entry) -> tuple[NodesNote, Mapping[str, NodeMemory]] | None:
        if entry.value is None:
            return None
        try:
            if len(entry.value) > LARGEST_BYTES:
                raise ValueError("the record is too large")  # noqa: TRY301 - noted below
            note = _decode(entry.value)
            if any(key_of(note.name, node) != entry.key for node in note.nodes):
                raise ValueError("it is that of other nodes")  # noqa: TRY301
            return note, note.memories()
        except (*NOT_DECODABLE, ValueError) as why:
            self._on_poison("set note")
            noisy.warning(
                "note", "what was remembered of nodes is lost", key=clip(entry.key), why=why
            )
            return None

    async def save(self, key: str, note: NodesNote | None) -> None:
        """Store a record over what is known, or remove it. Raises Conflict, as the bucket."""
        if note == self._notes.get(key):
            return
        revision = self._revisions.get(key, 0)
        if note is None:
            self._revisions[key] = await self._bucket.delete(key, revision)
            self._notes.pop(key, None)  # the watch may have told of it before the answer came
            return
        payload = _encode(note)
        if len(payload) > LARGEST_BYTES:
            noisy.warning("large", "what is remembered of nodes is not stored", key=key)
            return
        self._revisions[key] = await self._bucket.update(key, payload, revision)
        self._notes[key] = note

    async def look_again(self, key: str) -> None:
        """Learn the newest revision after a Conflict. Raises BusError."""
        newest = await self._bucket.revision(key)
        self._revisions[key] = max(newest, self._revisions.get(key, 0))
