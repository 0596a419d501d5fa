"""A program's connection to the server in memory: all that ``common.bus.Bus`` does, and as it does.

Publishing, subscribing, calling and connecting again are the real ones (``Connection``); the log
is asked without JSON in between.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from common.bus import bus as real
from common.bus.api import ApiError
from common.bus.connection import Connection
from common.bus.errors import BusError, NotConnected, StoreUnavailable, TimedOut
from common.bus.headers import encode as encode_headers
from common.bus.session import check_message
from common.bus.settings import BusSettings
from sandbox.virtual.reading import VirtualReading
from sandbox.virtual.session import LOST, VirtualSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from common.bus.connection import OnState
    from common.bus.records import Draft, OnStored, Record, StreamConfig, StreamState
    from common.bus.settings import Server
    from sandbox.virtual.jetstream import JetStream
    from sandbox.virtual.link import Link
    from sandbox.virtual.server import VirtualServer

_Result = TypeVar("_Result")


class VirtualBus(Connection[VirtualSession]):
    """Made by ``connect`` under a name; ``link`` is where faults of this program's way are set."""

    def __init__(
        self, server: VirtualServer, name: str, seed: int | str, on_state: OnState | None
    ) -> None:
        self.server = server
        self.random = random.Random(f"{seed}/bus/{name}")  # noqa: S311 -- repeatable
        settings = BusSettings(servers=(server.url,), name=name)
        super().__init__(settings, on_state, self.random)

    @classmethod
    async def connect(
        cls,
        server: VirtualServer,
        name: str,
        *,
        seed: int | str = 0,
        on_state: OnState | None = None,
    ) -> Self:
        """Wait until the server takes us, however long it is away."""
        bus = cls(server, name, seed, on_state)
        await bus.establish()
        return bus

    @property
    def link(self) -> Link:
        """This program's way to the server."""
        return self.server.link(self._settings.name)

    @property
    def jetstream(self) -> JetStream:
        """The streams of the server."""
        return self.server.jetstream

    async def _open(self, server: Server, within: float) -> VirtualSession:  # noqa: ARG002 -- there is one only
        return await self.server.accept(self.link)

    async def ping(self, within: float) -> float:
        """As ``Bus.ping``; not as a message where none can be lost or late."""
        if not self.link.certain:
            return await super().ping(within)
        since = asyncio.get_running_loop().time()
        await self.session.heard(within)
        return asyncio.get_running_loop().time() - since

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
        """As ``Bus.store``."""
        check_message(subject, payload)
        if headers:
            encode_headers(headers)
        sent = real.sent_headers(headers, expect_last, ttl)
        store = partial(self._store, subject, payload, expect_last, ttl, sent)
        return await self.operate(subject, store, len(payload))

    def store_soon(
        self, subject: str, payload: bytes, *, expect_last: int, on_stored: OnStored
    ) -> None:
        """As ``Bus.store_soon``."""
        check_message(subject, payload)
        sent = real.sent_headers(None, expect_last)
        store = partial(self._store, subject, payload, expect_last, None, sent)
        try:
            stored = self.session.ask(store, real.ANSWER_SECONDS, len(payload))
        except NotConnected as error:
            raise StoreUnavailable(error.cause, about=subject) from error
        stored.add_done_callback(partial(_tell_stored, subject, on_stored))

    def _store(
        self,
        subject: str,
        payload: bytes,
        expect_last: int | None,
        ttl: int | None,
        headers: Mapping[str, str],
    ) -> int:
        self.server.spread(subject, payload, "", headers)
        seq = self.jetstream.store(subject, payload, expect_last, ttl, headers)
        return self._stored(seq)

    def _stored(self, seq: int) -> int:
        if self.link.on_write is not None:
            self.link.on_write()
        if self.link.answers_to_lose:
            self.link.answers_to_lose -= 1
            return LOST  # type: ignore[return-value]  # the session takes it for no answer
        return seq

    async def store_batch(self, drafts: Sequence[Draft]) -> int:
        """As ``Bus.store_batch``."""
        real.check_batch(drafts)
        for draft in drafts:
            check_message(draft.subject, draft.payload)
        size = sum(len(draft.payload) for draft in drafts)
        batch = real.in_batch(drafts, f"{self.random.getrandbits(64):016x}")
        return await self.operate(drafts[-1].subject, partial(self._store_batch, batch), size)

    def _store_batch(self, batch: Sequence[tuple[Draft, Mapping[str, str]]]) -> int:
        for draft, headers in batch:
            self.server.spread(draft.subject, draft.payload, "", headers)
        return self._stored(self.jetstream.store_batch(batch))

    async def purge(self, stream: str, subject: str) -> int:
        """As ``Bus.purge``."""
        return await self.operate(
            f"$JS.API.STREAM.PURGE.{stream}",
            partial(self.jetstream.purge, stream, subject),
        )

    async def ensure_stream(self, config: StreamConfig) -> None:
        """As ``Bus.ensure_stream``."""
        wanted: dict[str, Any] = msgspec.to_builtins(config)
        await self.operate(
            f"$JS.API.STREAM.CREATE.{config.name}", partial(self.jetstream.ensure, wanted)
        )

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    async def last(self, stream: str, subject: str) -> Record | None:
        """As ``Bus.last``."""
        return await self.operate(
            f"$JS.API.STREAM.MSG.GET.{stream}",
            partial(self.jetstream.last, stream, subject),
        )

    def replay(
        self,
        stream: str,
        subjects: str | Sequence[str] = ">",
        *,
        start: int = 1,
        upto: int | None = None,
        last_per_subject: bool = False,
    ) -> AsyncGenerator[list[Record], None]:
        """As ``Bus.replay``."""
        reading = VirtualReading(self, stream, subjects, start, last_per_subject=last_per_subject)
        return reading.replay(upto)

    def follow(
        self, stream: str, subjects: str | Sequence[str] = ">", *, start: int
    ) -> AsyncGenerator[list[Record], None]:
        """As ``Bus.follow``."""
        return VirtualReading(self, stream, subjects, start).follow()

    async def stream_state(self, stream: str) -> StreamState:
        """As ``Bus.stream_state``."""
        return await self.operate(
            f"$JS.API.STREAM.INFO.{stream}", partial(self.jetstream.state, stream)
        )

    async def subjects(self, stream: str, subject: str = ">") -> dict[str, int]:
        """As ``Bus.subjects``."""
        return await self.operate(
            f"$JS.API.STREAM.INFO.{stream}",
            partial(self.jetstream.subjects, stream, subject),
        )

    async def subject_pages(
        self, stream: str, subject: str = ">"
    ) -> AsyncGenerator[Mapping[str, int], None]:
        """As ``Bus.subject_pages``; everything is one page."""
        if page := await self.subjects(stream, subject):
            yield page

    # ── the store's answers ──────────────────────────────────────────────────────────────────

    async def operate(self, about: str, operation: Callable[[], _Result], size: int = 0) -> _Result:
        """Have the server's JetStream do something, again while nobody leads; errors as ``Bus``."""
        return await real.until_led(lambda: self._operate_once(about, operation, size), self.random)

    async def _operate_once(
        self, about: str, operation: Callable[[], _Result], size: int
    ) -> _Result:
        try:
            answer = await self.session.ask(operation, real.ANSWER_SECONDS, size)
        except (TimedOut, NotConnected) as error:
            raise StoreUnavailable(error.cause, about=about) from error
        if isinstance(answer, ApiError):
            raise answer.as_error(about)
        result: _Result = answer
        return result


def _tell_stored(subject: str, on_stored: OnStored, answer: asyncio.Future[Any]) -> None:
    error = answer.exception()
    if isinstance(error, BusError):
        on_stored(StoreUnavailable(error.cause, about=subject))
    elif isinstance(answer.result(), ApiError):
        on_stored(answer.result().as_error(subject))
    else:
        on_stored(answer.result())
