"""The streams of the pretended server, and what is asked of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.bus.records import Record, StreamState
from sandbox.virtual.consumer import Client, Consumer, Reader
from sandbox.virtual.refusals import (
    DISK_FULL,
    DUPLICATE_IN_BATCH,
    INCOMPLETE_BATCH,
    LOST_IN_BATCH,
    NO_ATOMIC_BATCH,
    NO_REPLICAS,
    NO_STREAM_TAKES_IT,
    OVERLAP,
    STORE_FULL,
    STREAM_NOT_FOUND,
    Refused,
)
from sandbox.virtual.stream import Stream
from sandbox.virtual.subject_tree import Filter, SubjectTree, overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from common.bus.records import Draft

_NO_HEADERS: Mapping[str, str] = {}


class JetStream:
    """All methods raise Refused with what the real server would answer."""

    def __init__(self, now: Callable[[], float], max_file_store: int | None) -> None:
        self.streams: dict[str, Stream] = {}
        self._consumers: dict[str, dict[str, Consumer]] = {}
        """Who reads each stream, by name, oldest first."""
        self._now = now
        self._max_file_store = max_file_store
        self._by_subject: SubjectTree[Stream] = SubjectTree()
        self._purged: list[tuple[Stream, list[Record]]] = []
        self.on_stored: Callable[[Record], None] | None = None
        """Told each record that is stored."""

    # ── faults ───────────────────────────────────────────────────────────────────────────────

    def refuse(self, stream: str, refusal: Refused | None = DISK_FULL) -> None:
        """Have a stream refuse all writes from now on; None: take them again."""
        self.streams[stream].refusal = refusal

    def lead(self, stream: str, *, leads: bool) -> None:
        """Have a stream answer nobody, as in an election, or answer again."""
        self.streams[stream].leaderless = not leads

    def hold_copies(self, stream: str) -> None:
        """Let those who read a stream see nothing newer, as from a copy that falls behind."""
        self.streams[stream].copied = self.streams[stream].last_seq

    def catch_up(self, stream: str) -> None:
        """Undo ``hold_copies``: who waits is given the rest."""
        self.streams[stream].copied = None
        for consumer in self._consumers[stream].values():
            consumer.notice()

    def undo_purges(self) -> None:
        """Bring back what was purged since the last call, as a crash of one replica does."""
        for stream, records in self._purged:
            stream.put_back(records)
        self._purged.clear()

    # ── write ────────────────────────────────────────────────────────────────────────────────

    def takes(self, subject: str) -> Stream | None:
        """The stream that holds a subject."""
        found = self._by_subject.match(subject)
        return found[0] if found else None

    def store(
        self,
        subject: str,
        payload: bytes,
        expect_last: int | None,
        ttl: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Append one message; its sequence."""
        stream, sent, now = self._writable(subject), headers or _NO_HEADERS, self._now()
        if duplicate := stream.duplicate_of(sent, now):
            return duplicate
        stream.check(subject, expect_last, ttl, sent)
        self._check_room(len(payload))
        seq = stream.append(subject, payload, sent, ttl, now)
        self._notice(stream, 1)
        return seq

    def store_batch(self, batch: Sequence[tuple[Draft, Mapping[str, str]]]) -> int:
        """Append all or none, each with the headers that it is sent with; the last sequence."""
        stream = self._writable(batch[-1][0].subject)
        if not stream.settings.get("allow_atomic"):
            raise NO_ATOMIC_BATCH
        self._check_batch(stream, batch)
        now = self._now()
        for draft, headers in batch:
            stream.append(draft.subject, draft.payload, headers, None, now)
        self._notice(stream, len(batch))
        return stream.last_seq

    def _notice(self, stream: Stream, stored: int) -> None:
        if self.on_stored is not None:
            for seq in range(stream.last_seq - stored + 1, stream.last_seq + 1):
                if (record := stream.at(seq)) is not None:
                    self.on_stored(record)
        for consumer in self._consumers[stream.name].values():
            consumer.notice()

    def _check_batch(
        self, stream: Stream, batch: Sequence[tuple[Draft, Mapping[str, str]]]
    ) -> None:
        if any(self.takes(draft.subject) is not stream for draft, _ in batch):
            raise INCOMPLETE_BATCH
        subjects: set[str] = set()
        ids: set[str] = set()
        for draft, headers in batch:
            message = headers.get("Nats-Msg-Id", "")
            if message in ids or stream.duplicate_of(headers, self._now()):
                raise DUPLICATE_IN_BATCH
            if draft.expect_last is not None and draft.subject in subjects:
                raise LOST_IN_BATCH
            stream.check(draft.subject, draft.expect_last, None, headers)
            subjects.add(draft.subject)
            if message:
                ids.add(message)
        self._check_room(sum(len(draft.payload) for draft, _ in batch))

    def _writable(self, subject: str) -> Stream:
        stream = self.takes(subject)
        if stream is None or stream.leaderless:
            raise NO_STREAM_TAKES_IT
        stream.expire(self._now())
        return stream

    def _check_room(self, size: int) -> None:
        limit = self._max_file_store
        if limit is not None and sum(s.bytes for s in self.streams.values()) + size > limit:
            raise STORE_FULL

    def purge(self, name: str, subject: str) -> int:
        """Remove all records on the subjects that match; how many."""
        stream = self.stream(name)
        gone = stream.purge(Filter([subject]))
        self._purged.append((stream, gone))
        return len(gone)

    # ── the streams themselves ───────────────────────────────────────────────────────────────

    def ensure(self, wanted: Mapping[str, Any]) -> None:
        """Make a stream, or change the settings of it that differ."""
        if wanted.get("num_replicas", 1) > 1:
            raise NO_REPLICAS
        name = wanted["name"]
        if name in self.streams:
            self.stream(name)
            changed = {key: value for key, value in wanted.items() if key != "first_seq"}
            self.update(self.streams[name].settings | changed)
            return
        self._check_overlap(name, wanted["subjects"])
        stream = self.streams[name] = Stream(dict(wanted))
        self._consumers[name] = {}
        for subject in wanted["subjects"]:
            self._by_subject.add(subject, stream)

    def update(self, settings: dict[str, Any]) -> None:
        """Change a stream's settings to these."""
        stream = self.stream(settings["name"])
        self._check_overlap(stream.name, settings["subjects"])
        for subject in stream.settings["subjects"]:
            self._by_subject.remove(subject, stream)
        stream.settings = settings
        for subject in settings["subjects"]:
            self._by_subject.add(subject, stream)
        stream.enforce()

    def _check_overlap(self, name: str, subjects: Sequence[str]) -> None:
        for other in self.streams.values():
            if other.name != name and any(
                overlap(one, theirs) for one in subjects for theirs in other.settings["subjects"]
            ):
                raise OVERLAP

    def stream(self, name: str) -> Stream:
        """Find a stream and bring it up to date; refuses when it is not there, or not led."""
        stream = self.streams.get(name)
        if stream is None:
            raise STREAM_NOT_FOUND
        if stream.leaderless:
            raise NO_STREAM_TAKES_IT
        stream.expire(self._now())
        return stream

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    def last(self, name: str, subject: str) -> Record | None:
        """The newest record on a subject."""
        return self.stream(name).last(subject)

    def next_seq(self, name: str, subjects: Sequence[str], start: int) -> int:
        """The first record from a sequence on that matches; 0 where there is none."""
        found = next(self.stream(name).read(Filter(subjects), start), None)
        return 0 if found is None else found.seq

    def state(self, name: str) -> StreamState:
        """How full a stream is."""
        stream = self.stream(name)
        return StreamState(stream.first_seq, stream.last_seq, stream.messages, stream.bytes)

    def subjects(self, name: str, subject: str) -> dict[str, int]:
        """Every subject that matches and how many records it has."""
        return self.stream(name).subjects(Filter([subject]))

    def consumers(self, name: str) -> list[str]:
        """The names of who reads a stream."""
        return list(self._consumers[self.stream(name).name])

    def read(
        self,
        name: str,
        consumer: str,
        client: Client,
        reader: Reader,
        subjects: Sequence[str],
        start: int,
        *,
        last_per_subject: bool,
    ) -> int:
        """Begin to read; where the stream ends at this moment."""
        stream = self.stream(name)
        wanted = Filter(subjects)
        self._consumers[name][consumer] = Consumer(
            stream, client, reader, wanted, start, last_per_subject=last_per_subject
        )
        return stream.last_seq

    def grant(self, name: str, consumer: str, records: int) -> None:
        """Let a consumer send so many more; without effect if it is not there."""
        found = self._consumers.get(name, {}).get(consumer)
        if found is not None:
            self.streams[name].expire(self._now())
            found.grant(records)

    def end_reading(self, name: str, consumer: str, why: str = "") -> bool:
        """Remove a consumer; whether it was there. Its reader is told the reason, if any."""
        found = self._consumers.get(name, {}).pop(consumer, None)
        if found is not None:
            found.end(why)
        return found is not None

    def forget_reader(self, client: Client) -> None:
        """Remove all consumers of a session that is over."""
        for stream, consumers in self._consumers.items():
            for name in [name for name, found in consumers.items() if found.client is client]:
                self.end_reading(stream, name)
