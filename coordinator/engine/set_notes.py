"""What the leader remembers of sets: the bucket ``IPS_SET_NOTES``, one record a set.

It holds what is in no inventory and must outlive a leader: since when what holds of a set holds,
which turns a webhook has still to be told of, what looks at its tags came to, and until when it
rests. Written at transitions only, by the leader alone. Beside them are records of its nodes
(``node_notes.py``), and one of gates (``gate_notes.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final, NoReturn

import msgspec
from msgspec import Meta

from common import subjects
from common.bus import Entry, KeyValue
from common.bus.protocol import RecordStore
from common.logs import Log, RateLimitedLog
from common.messages import MOST_IMAGES, NOT_DECODABLE, Digest, Reference
from common.reasons import clip
from coordinator.core.sets.events import SetEvent, SetNoted
from coordinator.core.sets.freshness import MOST_DIGESTS, NEVER, Refreshed, TagDigests
from coordinator.core.sets.memory import NO_REST
from coordinator.core.sets.standing import SetCondition, Turn
from coordinator.core.task import SetName, StoredRecord, Time
from coordinator.engine import gate_notes
from coordinator.engine.gate_notes import GateNotes
from coordinator.engine.node_notes import NodeNotes, is_of_nodes
from coordinator.engine.stored_memory import StoredRest, rest_of

noisy = RateLimitedLog(Log(__name__))

MOST_UNTOLD: Final = 16
"""Turns of a set that wait for one webhook; of more, the newest."""
LARGEST_BYTES: Final = 256 * 1024


class StoredTurn(StoredRecord, frozen=True, kw_only=True):
    """Whether a condition holds. Times are milliseconds since 1970."""

    holds: bool
    since: Time
    held_since: Time | None = None
    """When it last began to hold."""


class UntoldTurn(StoredRecord, frozen=True, kw_only=True):
    """A condition began to hold then, which a webhook is to be told of."""

    condition: SetCondition
    since: Time


StoredDigests = Annotated[tuple[Digest, ...], Meta(max_length=MOST_DIGESTS + 1)]


class StoredTag(StoredRecord, frozen=True, kw_only=True):
    """Which digests of a tag are current, the newest first, and which are outdated."""

    current: Annotated[tuple[Digest, ...], Meta(min_length=1, max_length=MOST_DIGESTS + 1)]
    outdated: StoredDigests = ()


class StoredRefresh(StoredRecord, frozen=True, kw_only=True):
    """What looks at a set's tags came to (``Refreshed``); times in milliseconds since 1970."""

    looked_at: Time
    honoured: Time = 0
    tags: Annotated[Mapping[Reference, StoredTag], Meta(max_length=MOST_IMAGES)] = msgspec.field(
        default_factory=dict
    )


class SetNote(StoredRecord, frozen=True, kw_only=True):
    """What is remembered of one set."""

    name: SetName
    created_at: Time
    """Of the set that it is about: another one of the name has nothing to do with it."""
    turns: Mapping[SetCondition, StoredTurn] = msgspec.field(default_factory=dict)
    webhooks: Annotated[tuple[UntoldTurn, ...], Meta(max_length=MOST_UNTOLD)] = ()
    refreshed: StoredRefresh | None = None
    rest: StoredRest | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SetNote).decode


class SetNotes:
    """The bucket, and what is known of it here; what is found is fed to the sets' core."""

    def __init__(
        self,
        bus: RecordStore,
        feed: Callable[[SetEvent], None],
        on_poison: Callable[[str], None],
    ) -> None:
        self.of_nodes = NodeNotes(bus, feed, on_poison)
        self.of_gates = GateNotes(bus, on_poison)
        self._bucket = KeyValue(bus, subjects.SET_NOTES_BUCKET)
        self._feed = feed
        self._on_poison = on_poison
        self._notes: dict[str, SetNote] = {}
        self._revisions: dict[str, int] = {}
        self._end = 0

    @property
    def all(self) -> Mapping[str, SetNote]:
        """Every note, by the name of its set."""
        return self._notes

    async def load(self) -> None:
        """Take in all that is stored by now, also what was read before its set. Raises BusError."""
        async for entries in self._bucket.entries():
            for entry in entries:
                self._take(entry, again=True)

    async def watch(self) -> NoReturn:
        """Take in, from now on, what is written after what was loaded. Raises BusError."""
        async for entries in self._bucket.watch(start=self._end + 1):
            for entry in entries:
                self._take(entry)
        raise AssertionError  # a watch has no end

    async def save(self, note: SetNote) -> None:
        """Store a note over what is known. Raises Conflict where that is not the newest."""
        revision = self._revisions.get(note.name, 0)
        self._revisions[note.name] = await self._bucket.update(note.name, _encode(note), revision)
        self._notes[note.name] = note

    async def forget(self, name: str) -> None:
        """Remove the note of a set, where there is one. Raises Conflict, as ``save``."""
        if name in self._notes:
            self._revisions[name] = await self._bucket.delete(name, self._revisions[name])
            self._notes.pop(name, None)

    async def look_again(self, name: str) -> None:
        """Learn the newest revision after a Conflict. Raises BusError."""
        newest = await self._bucket.revision(name)
        self._revisions[name] = max(newest, self._revisions.get(name, 0))

    def _take(self, entry: Entry, *, again: bool = False) -> None:
        self._end = max(self._end, entry.revision)
        if is_of_nodes(entry.key):
            self.of_nodes.take(entry, again=again)
        elif entry.key == gate_notes.KEY:
            self.of_gates.take(entry)
        else:
            self._take_note(entry)

    def _take_note(self, entry: Entry) -> None:
        if self._revisions.get(entry.key, 0) > entry.revision:
            return
        self._revisions[entry.key] = entry.revision
        note, before = self._read(entry), self._notes.pop(entry.key, None)
        if note is None:
            return
        self._notes[note.name] = note
        turns = {kind: Turn(turn.holds, turn.since / 1000) for kind, turn in note.turns.items()}
        refreshed, rest = _refreshed(note.refreshed), rest_of(note.rest)
        is_same = before is not None and before.created_at == note.created_at
        rested = rest_of(before.rest) if before is not None and is_same else NO_REST
        self._feed(SetNoted(note.name, note.created_at, turns, refreshed, rest, rested))

    def _read(self, entry: Entry) -> SetNote | None:
        if entry.value is None:
            return None
        try:
            if len(entry.value) > LARGEST_BYTES:
                raise ValueError("the record is too large")  # noqa: TRY301 - noted below
            note = _decode(entry.value)
            if note.name != entry.key:
                raise ValueError("it is that of another set")  # noqa: TRY301
        except (*NOT_DECODABLE, ValueError) as why:
            self._on_poison("set note")
            noisy.warning("note", "a note of a set cannot be read", key=clip(entry.key), why=why)
            return None
        return note


def _refreshed(stored: StoredRefresh | None) -> Refreshed:
    if stored is None:
        return NEVER
    tags = {each: TagDigests(tag.current, tag.outdated) for each, tag in stored.tags.items()}
    return Refreshed(stored.looked_at / 1000, stored.honoured, tags)


def stored_refresh(known: Refreshed) -> StoredRefresh:
    """What is to be stored of it."""
    return StoredRefresh(
        looked_at=int(known.looked_at * 1000),
        honoured=known.honoured,
        tags={
            each: StoredTag(current=tag.current, outdated=tag.outdated)
            for each, tag in known.tags.items()
        },
    )
