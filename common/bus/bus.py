"""JetStream as a log: store with an expectation, read in order."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from common.backoff import Backoff
from common.bus import api
from common.bus.core_nats import CoreNats, jetstream_off
from common.bus.errors import (
    BusError,
    Electing,
    NoJetStream,
    NoResponders,
    NotConnected,
    StoreRefused,
    StoreUnavailable,
    TimedOut,
)
from common.bus.headers import decode as decode_headers
from common.bus.reading import Reading
from common.bus.records import Draft, OnStored, Record, StreamConfig, StreamState

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from common.bus.calls import CallResult

ANSWER_SECONDS = 5.0
"""For one try. One replica that syncs every message takes 3,600 a second: a burst may wait."""
ELECTION_SECONDS = 15.0
"""How long to ask again while nobody leads; elections take 4 to 9 s."""
ELECTION_BACKOFF = 1.0
ANSWER_CLIP = 200
"""Characters of why an answer cannot be read."""
BATCH_LIMIT = 200
BATCH_BYTES_LIMIT = 8 * 1024 * 1024

_Answer = TypeVar("_Answer", bound=api.Answer)
_Result = TypeVar("_Result")


class Bus(CoreNats):
    """Core NATS (``Connection``) and the log. Every method here has its own time limit.

    While JetStream elects a leader (up to 9 s, no responders) it is asked again for 15 s; then
    StoreUnavailable. StoreRefused carries the server's own words.
    """

    async def _greet(self) -> None:
        """Ask whether our account may store; a server may have others of its cluster do it."""
        try:
            reply = await self.call("$JS.API.INFO", b"", ANSWER_SECONDS)
        except NoResponders:
            raise jetstream_off(self.state_text) from None
        except (TimedOut, NotConnected):
            return  # a store that is away is for those who store to say
        try:
            fault = msgspec.json.decode(reply, type=api.Answer).error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return  # see ``_request_once``
        if fault and fault.err_code in {api.OFF_FOR_ACCOUNT, api.OFF_FOR_SERVER}:
            raise NoJetStream(f"{self.state_text}, but: {fault.description}")

    # ── write ────────────────────────────────────────────────────────────────────────────────

    async def store(
        self,
        subject: str,
        payload: bytes,
        *,
        expect_last: int | None,
        ttl: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Append to whatever stream holds ``subject``; its sequence there, once it is on disk.

        ``expect_last``: the sequence of the newest record on this subject, 0 for none, None for
        "whatever it is". ``ttl``: whole seconds to live (stream with ``allow_msg_ttl``).

        Raises Conflict (10071), StoreRefused, or StoreUnavailable, after which it MAY have landed.
        """
        sent = sent_headers(headers, expect_last, ttl)
        stored = await self.request(subject, payload, api.Stored, sent)
        return stored.seq

    def store_soon(
        self, subject: str, payload: bytes, *, expect_last: int, on_stored: OnStored
    ) -> None:
        """As ``store``, for thousands at once: what comes of it goes to a callback.

        Its sequence, or what ``store`` would raise; Electing, where that would ask again.
        Raises StoreUnavailable when it cannot be sent (the callback is then not called).
        """
        answered = partial(_tell_stored, subject, on_stored)
        try:
            self.ask(subject, payload, ANSWER_SECONDS, answered, sent_headers(None, expect_last))
        except NotConnected as error:
            raise StoreUnavailable(error.cause, about=subject) from error

    async def store_batch(self, drafts: Sequence[Draft]) -> int:
        """Append 1 to 200 messages to one stream (``allow_atomic``), all or none (ADR-50).

        The sequence of the last one. Raises as ``store``.
        """
        check_batch(drafts)
        return await until_led(lambda: self._store_batch_once(drafts))

    async def _store_batch_once(self, drafts: Sequence[Draft]) -> int:
        *first, (last, commit) = in_batch(drafts, secrets.token_hex(8))
        for draft, sent in first:
            self.publish(draft.subject, draft.payload, headers=sent)
        stored = await self._request_once(last.subject, last.payload, api.Stored, commit)
        return stored.seq

    async def purge(self, stream: str, subject: str) -> int:
        """Remove all records on a subject (wildcards allowed); how many.

        Not crash-proof on one replica: they can be back after kill -9 (nats-server #8505).
        """
        request = msgspec.json.encode({"filter": subject})
        answer = await self.request(f"$JS.API.STREAM.PURGE.{stream}", request, api.Purged)
        return answer.purged

    async def ensure_stream(self, config: StreamConfig) -> None:
        """Create the stream, or change it where it differs; several programs may do so at once."""
        wanted = msgspec.to_builtins(config)
        try:
            await self.request(
                f"$JS.API.STREAM.CREATE.{config.name}", msgspec.json.encode(wanted), api.Answer
            )
        except StoreRefused as refusal:
            if refusal.code != api.STREAM_NAME_IN_USE:
                raise
            wanted.pop("first_seq", None)  # settled when the stream was made
            await self._update_stream(config.name, wanted)

    async def _update_stream(self, name: str, wanted: dict[str, object]) -> None:
        """Change only what differs: the rest (placement, limits) is an administrator's."""
        info = await self.request(f"$JS.API.STREAM.INFO.{name}", b"", api.StreamInfo)
        if any(info.config.get(key, False) != value for key, value in wanted.items()):
            changed = msgspec.json.encode(info.config | wanted)
            await self.request(f"$JS.API.STREAM.UPDATE.{name}", changed, api.Answer)

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    async def last(self, stream: str, subject: str) -> Record | None:
        """Ask the stream's leader for the newest record on a subject (never stale)."""
        found = await self._message(stream, {"last_by_subj": subject})
        if found is None:
            return None
        return Record(
            subject=found.subject,
            data=found.data,
            seq=found.seq,
            time=found.time.timestamp(),
            headers=decode_headers(found.hdrs),
        )

    async def next_seq(self, stream: str, subject: str, start: int) -> int:
        """The sequence of the first record from ``start`` on on a subject; 0 where there is none.

        Asks the stream's leader; wildcards are allowed.
        """
        wanted = {"seq": max(start, 1), "next_by_subj": subject}
        found = await self._message(stream, wanted)
        return 0 if found is None else found.seq

    async def _message(self, stream: str, wanted: dict[str, object]) -> api.StoredMessage | None:
        request = msgspec.json.encode(wanted)
        try:
            read = await self.request(f"$JS.API.STREAM.MSG.GET.{stream}", request, api.MessageRead)
        except StoreRefused as refusal:
            if refusal.code == api.NO_MESSAGE:
                return None
            raise
        assert read.message is not None  # noqa: S101 -- the API gives a message or an error
        return read.message

    def replay(
        self,
        stream: str,
        subjects: str | Sequence[str] = ">",
        *,
        start: int = 1,
        upto: int | None = None,
        last_per_subject: bool = False,
    ) -> AsyncGenerator[list[Record], None]:
        """Everything stored from ``start`` to ``upto`` (default: the end at the call), in order.

        Lists are never empty; no list at all when nothing matches. ``last_per_subject``: only the
        newest of each subject, none left out because it was overwritten meanwhile, and so without
        ``upto``. Continues over restarts of the server; waits while it is away, and for a copy of
        the stream that is behind.
        """
        reading = Reading(self, stream, subjects, start, last_per_subject=last_per_subject)
        return reading.replay(upto)

    def follow(
        self, stream: str, subjects: str | Sequence[str] = ">", *, start: int
    ) -> AsyncGenerator[list[Record], None]:
        """Every record from sequence ``start`` on, as it is stored, without end.

        In order, each exactly once, over reconnections and restarts. Close it
        (``contextlib.aclosing``) or cancel the task that reads it. Raises StoreWentBack.
        """
        return Reading(self, stream, subjects, start).follow()

    async def stream_state(self, stream: str) -> StreamState:
        """How full the stream is."""
        state = (await self._stream_info(stream, {})).state
        return StreamState(
            first_seq=state.first_seq,
            last_seq=state.last_seq,
            messages=state.messages,
            bytes=state.bytes,
        )

    async def subjects(self, stream: str, subject: str = ">") -> dict[str, int]:
        """Every subject that matches and how many records it has."""
        found: dict[str, int] = {}
        async for page in self.subject_pages(stream, subject):
            found |= page
        return found

    async def subject_pages(
        self, stream: str, subject: str = ">"
    ) -> AsyncGenerator[Mapping[str, int], None]:
        """As ``subjects``, but 100,000 at a time, as the server tells them; none is empty."""
        seen, total = 0, 1
        while seen < total:
            info = await self._stream_info(stream, {"subjects_filter": subject, "offset": seen})
            page, total = info.state.subjects, info.total
            if not page:
                return
            seen += len(page)
            yield page

    async def _stream_info(self, stream: str, request: dict[str, object]) -> api.StreamInfo:
        payload = msgspec.json.encode(request)
        return await self.request(f"$JS.API.STREAM.INFO.{stream}", payload, api.StreamInfo)

    # ── the store's answers ──────────────────────────────────────────────────────────────────

    async def request(
        self,
        subject: str,
        payload: bytes,
        answer_type: type[_Answer],
        headers: Mapping[str, str] | None = None,
    ) -> _Answer:
        """Ask JetStream, again while nobody leads; for this package alone."""
        return await until_led(lambda: self._request_once(subject, payload, answer_type, headers))

    async def _request_once(
        self,
        subject: str,
        payload: bytes,
        answer_type: type[_Answer],
        headers: Mapping[str, str] | None,
    ) -> _Answer:
        try:
            reply = await self.call(subject, payload, ANSWER_SECONDS, headers)
        except BusError as error:
            return _understood(subject, error, answer_type)
        return _understood(subject, reply, answer_type)


def _understood(subject: str, reply: CallResult, answer_type: type[_Answer]) -> _Answer:
    """What JetStream answered. Raises what its error means."""
    if isinstance(reply, NoResponders):
        raise Electing("no stream takes it at this moment", about=subject)
    if isinstance(reply, BusError):
        raise StoreUnavailable(reply.cause, about=subject) from reply
    try:
        answer = msgspec.json.decode(reply, type=answer_type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # Whoever shares the account can answer in the server's place.
        why = f"the answer is none of JetStream's: {error}"
        raise StoreUnavailable(why[:ANSWER_CLIP], about=subject) from error
    if answer.error is not None:
        raise answer.error.as_error(subject)
    return answer


def _tell_stored(subject: str, on_stored: OnStored, reply: CallResult) -> None:
    try:
        stored: int | BusError = _understood(subject, reply, api.Stored).seq
    except BusError as error:
        stored = error
    on_stored(stored)


async def until_led(
    attempt: Callable[[], Awaitable[_Result]], source: random.Random | None = None
) -> _Result:
    """Try again while nobody leads, 15 s long; then StoreUnavailable. For this package alone."""
    backoff: Backoff | None = None
    now = asyncio.get_running_loop().time
    give_up = now() + ELECTION_SECONDS
    while True:
        try:
            return await attempt()
        except Electing as error:
            if now() > give_up:
                raise StoreUnavailable(error.cause, about=error.about) from error
        backoff = backoff or Backoff(ELECTION_BACKOFF, source)
        await asyncio.sleep(backoff.next())


def check_batch(drafts: Sequence[Draft]) -> None:
    """Refuse with a ValueError what no stream takes as one batch."""
    size = sum(len(draft.payload) for draft in drafts)
    if not 1 <= len(drafts) <= BATCH_LIMIT or size > BATCH_BYTES_LIMIT:
        raise ValueError(f"{len(drafts)} messages of {size} bytes are no batch")


def sent_headers(
    headers: Mapping[str, str] | None, expect_last: int | None, ttl: int | None = None
) -> dict[str, str]:
    """The headers of a message to be stored; the server keeps them all. For this package alone."""
    sent = dict(headers or {})
    if expect_last is not None:
        sent["Nats-Expected-Last-Subject-Sequence"] = str(expect_last)
    if ttl is not None:
        sent["Nats-TTL"] = f"{ttl}s"
    return sent


def in_batch(drafts: Sequence[Draft], batch: str) -> list[tuple[Draft, dict[str, str]]]:
    """Each message of a batch with its headers; the last one commits it."""
    sent = [
        (
            draft,
            sent_headers(draft.headers, draft.expect_last)
            | {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)},
        )
        for number, draft in enumerate(drafts, 1)
    ]
    sent[-1][1]["Nats-Batch-Commit"] = "1"
    return sent
