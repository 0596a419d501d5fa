"""One stream in memory: records by sequence, within the limits of its settings."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from common.bus.records import Record
from sandbox.virtual.refusals import INVALID_TTL, NO_TTL, Refused, wrong_last_sequence
from sandbox.virtual.subject_tree import Filter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_NANOSECONDS = 1e9
_RECORD_OVERHEAD = 30
_HEADERS_OVERHEAD = 4
"""Bytes that nats-server's file store counts beside subject, headers and payload."""
_TRIM = 1024
_FENCED = "Nats-Expected-Last-Subject-Sequence-Subject"
"""Names the subjects that an expectation is about, where it is not the record's own."""
_MESSAGE_ID = "Nats-Msg-Id"
_DUPLICATE_WINDOW = 120.0
"""The server's default, in seconds."""


class Stream:
    """``settings`` are named as in NATS's API and may hold more than is understood here."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.name: str = settings["name"]
        self.leaderless = False
        """Whether nobody leads it: it answers nothing until somebody does."""
        self.refusal: Refused | None = None
        """What it says to each write instead of storing."""
        self.copied: int | None = None
        """Up to where the copies have it that serve consumers; None: they have all of it."""
        self.bytes = 0
        self.messages = 0
        self.last_seq: int = max(settings.get("first_seq", 0) - 1, 0)
        self._base: int = self.last_seq + 1
        """The sequence of the first place in ``_places``."""
        self._places: list[Record | None] = []
        self._head = 0
        """All places before this one are empty."""
        self._seqs: dict[str, list[int]] = {}
        self._ids: dict[str, tuple[int, float]] = {}
        """By message id: the sequence of its record, and when it came."""
        self._ends: list[tuple[float, int]] = []
        """When which record expires, soonest first."""

    # ── write ────────────────────────────────────────────────────────────────────────────────

    def check(
        self,
        subject: str,
        expect_last: int | None,
        ttl: int | None,
        headers: Mapping[str, str],
    ) -> None:
        """Raise Refused if a record must not be appended."""
        if self.refusal is not None:
            raise self.refusal
        if ttl is not None and not self.settings.get("allow_msg_ttl"):
            raise NO_TTL
        if ttl is not None and ttl < 1:
            raise INVALID_TTL
        if expect_last is not None:
            last = self._last_seq_of(headers.get(_FENCED, subject))
            if last != expect_last:
                raise wrong_last_sequence(last)

    def _last_seq_of(self, pattern: str) -> int:
        if "*" in pattern or ">" in pattern:
            wanted = Filter([pattern])
            return max((s[-1] for sub, s in self._seqs.items() if wanted.matches(sub)), default=0)
        seqs = self._seqs.get(pattern)
        return seqs[-1] if seqs else 0

    def duplicate_of(self, headers: Mapping[str, str], now: float) -> int:
        """The sequence of the record that came with the same id in the last two minutes, or 0."""
        seq, when = self._ids.get(headers.get(_MESSAGE_ID, ""), (0, 0.0))
        return seq if now - when < _DUPLICATE_WINDOW else 0

    def append(
        self, subject: str, payload: bytes, headers: Mapping[str, str], ttl: int | None, now: float
    ) -> int:
        """Store a record that was checked, and give up what the limits no longer allow."""
        self.last_seq += 1
        record = Record(subject, payload, self.last_seq, now, headers)
        self._places.append(record)
        seqs = self._seqs.get(subject)
        if seqs is None:
            seqs = self._seqs[subject] = []
        seqs.append(self.last_seq)
        self.messages += 1
        self.bytes += size_of(record)
        if _MESSAGE_ID in headers:
            self._ids[headers[_MESSAGE_ID]] = self.last_seq, now
        if ttl is not None:
            heapq.heappush(self._ends, (now + ttl, self.last_seq))
        self._keep_limits(seqs)
        return self.last_seq

    def _keep_limits(self, seqs: list[int]) -> None:
        per_subject = self.settings.get("max_msgs_per_subject", -1)
        while 0 < per_subject < len(seqs):
            self._remove(seqs[0])
        most = self.settings.get("max_bytes", -1)
        while 0 < most < self.bytes:
            self._remove(self.first_seq)

    def enforce(self) -> None:
        """Keep the limits of settings that were changed just now."""
        for seqs in list(self._seqs.values()):
            self._keep_limits(seqs)

    def expire(self, now: float) -> None:
        """Remove what is older than it may be; to be called before anything is asked or stored."""
        while self._ends and self._ends[0][0] <= now:
            _, seq = heapq.heappop(self._ends)
            self._remove(seq)
        oldest = self.settings.get("max_age", 0) / _NANOSECONDS
        while oldest and self.messages and self._first().time <= now - oldest:
            self._remove(self.first_seq)

    def purge(self, wanted: Filter) -> list[Record]:
        """Remove all records on the subjects that match."""
        gone = [
            seq for subject, seqs in self._seqs.items() if wanted.matches(subject) for seq in seqs
        ]
        return [record for seq in gone if (record := self._remove(seq)) is not None]

    def put_back(self, records: list[Record]) -> None:
        """Undo a purge, as a crash can (nats-server #8505)."""
        for record in records:
            index = record.seq - self._base
            if index < 0:
                self._places[:0] = [None] * -index
                self._base, self._head, index = record.seq, 0, 0
            if self._places[index] is None:
                self._places[index] = record
                self._head = min(self._head, index)
                seqs = self._seqs.setdefault(record.subject, [])
                seqs.insert(bisect_left(seqs, record.seq), record.seq)
                self.messages += 1
                self.bytes += size_of(record)

    def lose_after(self, seq: int) -> None:
        """Forget all records behind a sequence, as a store does that went back to an old state."""
        for lost in range(self.last_seq, seq, -1):
            self._remove(lost)
        self.last_seq = min(self.last_seq, seq)
        self._base = min(self._base, self.last_seq + 1)
        del self._places[self.last_seq + 1 - self._base :]
        self._head = min(self._head, len(self._places))

    def _remove(self, seq: int) -> Record | None:
        record = self.at(seq)
        if record is None:
            return None
        self._places[seq - self._base] = None
        seqs = self._seqs[record.subject]
        if len(seqs) == 1:
            del self._seqs[record.subject]
        seqs.remove(seq)
        self.messages -= 1
        self.bytes -= size_of(record)
        self._trim()
        return record

    def _trim(self) -> None:
        places = self._places
        while self._head < len(places) and places[self._head] is None:
            self._head += 1
        if self._head > max(_TRIM, len(places) // 2):
            del places[: self._head]
            self._base += self._head
            self._head = 0

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    @property
    def first_seq(self) -> int:
        """The first record that is there; one behind the last if none is."""
        if not self.last_seq:
            return 0
        return self._base + self._head

    def _first(self) -> Record:
        first = self._places[self._head]
        assert first is not None  # noqa: S101 -- the head is trimmed after each removal
        return first

    def at(self, seq: int) -> Record | None:
        """The record with a sequence, if it is there."""
        index = seq - self._base
        return self._places[index] if 0 <= index < len(self._places) else None

    def last(self, subject: str) -> Record | None:
        """The newest record on a subject, or on all that match a pattern."""
        newest = self._last_seq_of(subject)
        return self.at(newest) if newest else None

    def subjects(self, wanted: Filter) -> dict[str, int]:
        """Every subject that matches and how many records it has."""
        return {s: len(seqs) for s, seqs in self._seqs.items() if wanted.matches(s)}

    @property
    def readable(self) -> int:
        """The last sequence that a consumer is given."""
        return self.last_seq if self.copied is None else min(self.copied, self.last_seq)

    def newest(self, wanted: Filter, start: int) -> list[Record]:
        """The newest record of each subject that matches, by sequence, from ``start`` on."""
        seqs = sorted(s[-1] for subject, s in self._seqs.items() if wanted.matches(subject))
        return [record for seq in seqs if seq >= start and (record := self.at(seq))]

    def read(self, wanted: Filter, start: int) -> Iterator[Record]:
        """What matches from ``start`` on, in order."""
        if wanted.only_literals:
            yield from self._read_subjects(wanted, start)
            return
        for index in range(max(start - self._base, self._head), len(self._places)):
            record = self._places[index]
            if record is not None and wanted.matches(record.subject):
                yield record

    def _read_subjects(self, wanted: Filter, start: int) -> Iterator[Record]:
        found: list[int] = []
        for subject in wanted.literals:
            seqs = self._seqs.get(subject, [])
            found += seqs[bisect_left(seqs, start) :]
        for seq in sorted(found):
            if (record := self.at(seq)) is not None:
                yield record


def size_of(record: Record) -> int:
    """Bytes of a record as nats-server's file store counts them."""
    size = len(record.subject.encode()) + len(record.data) + _RECORD_OVERHEAD
    if record.headers:
        lines = sum(len(f"{name}: {value}\r\n".encode()) for name, value in record.headers.items())
        size += len("NATS/1.0\r\n\r\n") + lines + _HEADERS_OVERHEAD
    return size
