"""Server-Sent Events: kept events that resume by position, and live frames that are never kept."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, aclosing, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import Final

from aiohttp import hdrs, web

from common import texts
from common.bus import BusError
from common.logs import Log
from coordinator.api.finds import Finds
from coordinator.api.guard import HELD, Held
from coordinator.api.problems import unavailable
from coordinator.api.queries import Reader
from coordinator.core.task import TaskHead
from coordinator.documents import encode
from coordinator.event_feed import EventFeed, FeedReading, KeptEvent, NothingLeft
from coordinator.faults import Faults
from coordinator.port import Changes, Engine, StoreAway
from coordinator.views import nodes as views

CONTENT_TYPE: Final = "text/event-stream"
COMMENT: Final = b":\n\n"
PIECE_BYTES: Final = 16 * 1024
"""What is written at once: all that a client that does not read keeps in memory, beside what its
queue shares with those of others."""
SOCKET_BYTES: Final = 32 * 1024
"""What the system may keep for such a client; by itself it lets that grow to some megabytes."""
MOST_STREAMS: Final = 2000
NODES_IN_A_FRAME: Final = 1000
"""The rest is in the next frame, a second later."""
NODES_AT_A_TIME: Final = 50
"""Of a frame, as many are put into JSON before they are sent."""

_POSITION: Final = re.compile(r"[0-9]{1,40}")
_UNKNOWN_POSITION: Final = -1
"""What no event has: leads to a reset."""

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of a stream, in seconds."""

    comment: float = 5.0
    """Between two comments: they keep proxies awake, and a client that hears neither them nor
    anything else for longer knows that the stream is held back or dead."""
    live: float = 1.0
    """Between two live frames, at least."""
    patience: float = 30.0
    """How long a client may keep one write waiting before it is disconnected."""


DEFAULT_PACE: Final = Pace()


@dataclass(frozen=True, slots=True)
class _Live:
    """Where live frames come from."""

    changes: Changes
    wake: asyncio.Event
    make: Callable[[Collection[str]], Iterator[bytes]]
    """The frame that shows these nodes as they are now, in parts that are made when they are
    sent; none where there is nothing to show."""


class Streams:
    """The two routes that stream."""

    def __init__(
        self,
        engine: Engine,
        finds: Finds,
        feed: EventFeed,
        pace: Pace,
        faults: Faults,
        *,
        most: int = MOST_STREAMS,
    ) -> None:
        """``most``: streams that are open at the same time."""
        self._engine = engine
        self._finds = finds
        self._feed = feed
        self._pace = pace
        self._faults = faults
        self._most = most
        self._open = 0

    async def of_all(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/v1/events``."""
        return await self._stream(request, None)

    async def of_task(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/v1/tasks/{id}/events``."""
        return await self._stream(request, await self._finds.head(request))

    async def _stream(self, request: web.Request, head: TaskHead | None) -> web.StreamResponse:
        query = Reader(request.query)
        live = query.flag("live")
        sets = head is None and query.flag("sets")
        query.done()
        if request.method == hdrs.METH_HEAD:
            return _begun()
        if self._open >= self._most:
            raise unavailable(texts.STREAMS_TOO_MANY(most=self._most))
        self._open += 1
        try:
            return await self._send(request, head, live=live, sets=sets)
        finally:
            self._open -= 1

    async def _send(
        self, request: web.Request, head: TaskHead | None, *, live: bool, sets: bool
    ) -> web.StreamResponse:
        wake = asyncio.Event()
        with ExitStack() as stack:
            # Before the headers leave, so that a GET made after them misses nothing.
            source = stack.enter_context(self._changes(head)) if live else None
            try:
                reading = await self._feed.open(head, position(request), wake.set, sets=sets)
            except NothingLeft:
                return web.Response(status=HTTPStatus.NO_CONTENT)
            stack.enter_context(closing(reading))
            response = _begun()
            await response.prepare(request)
            _bound_buffers(request.transport)
            connection = _Connection(request, response, self._pace)
            await connection.run(reading, wake, source, request[HELD])
        return response

    @contextmanager
    def _changes(self, head: TaskHead | None) -> Iterator[_Live]:
        live, wake = self._engine.live, asyncio.Event()
        if head is None:
            source = _Live(live.of_fleet(wake.set), wake, self._fleet_frame)
        else:
            make = partial(self._task_frame, head.id)
            source = _Live(live.of_task(head.id, wake.set), wake, make)
        with closing(source.changes):
            yield source

    def _fleet_frame(self, names: Collection[str]) -> Iterator[bytes]:
        gone: list[str] = []

        def shown() -> Iterator[bytes]:
            for name in sorted(names):
                node = self._engine.nodes.get(name)
                if node is None:
                    gone.append(name)
                    continue
                made = None
                with self._faults.kept("node view"):
                    made = encode(views.fleet_node(node))
                if made is not None:
                    yield made

        yield from _long_frame("agents", shown(), lambda: b'],"gone":%b}' % encode(gone))

    def _task_frame(self, task: str, names: Collection[str]) -> Iterator[bytes]:
        shot = None
        with self._faults.kept("task view", task=task):
            shot = self._engine.tasks.snapshot(task)
        if shot is None or shot.run is None:
            return
        run, pulls = shot.run, shot.pulls
        changed = [run.by_name[name] for name in names if name in run.by_name]

        def shown() -> Iterator[bytes]:
            for node in sorted(changed, key=lambda node: node.index):
                made = None
                with self._faults.kept("task view", task=task):
                    made = encode(views.live_node(run.head, node, pulls(node)))
                if made is not None:
                    yield made

        yield from _long_frame("nodes", shown(), lambda: b"]}")


def _begun() -> web.StreamResponse:
    headers = {
        hdrs.CONTENT_TYPE: CONTENT_TYPE,
        "X-Accel-Buffering": "no",  # nginx, and ingresses made of it, buffer otherwise
    }
    return web.StreamResponse(headers=headers)


def _long_frame(event: str, nodes: Iterator[bytes], close: Callable[[], bytes]) -> Iterator[bytes]:
    """A frame whose data is an object that begins with a list of nodes, part by part.

    ``close`` gives the end of the object once all nodes were gone through.
    """
    opening = b'event: %b\ndata: {"nodes":[' % event.encode()
    while part := list(islice(nodes, NODES_AT_A_TIME)):
        yield opening + b",".join(part)
        opening = b","
    opening = opening if opening != b"," else b""
    yield opening + close() + b"\n\n"


def _bound_buffers(transport: asyncio.Transport | None) -> None:
    """Have whoever does not read cost little."""
    if transport is None:
        return
    transport.set_write_buffer_limits(high=PIECE_BYTES)
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)


def position(request: web.Request) -> int | None:
    """The position after which a client goes on; a browser that comes back sends the header."""
    text = request.headers.get("Last-Event-ID") or request.query.get("lastEventId")
    if not text:
        return None
    return int(text) if _POSITION.fullmatch(text) else _UNKNOWN_POSITION


def frame(event: str, data: bytes, event_id: int | None = None) -> bytes:
    """One event as it goes over the wire; ``data`` is one line."""
    return b"".join(frame_parts(event, data, event_id))


def frame_parts(event: str, data: bytes, event_id: int | None = None) -> tuple[bytes, ...]:
    """The same in parts, of which the data is one."""
    line = b"" if event_id is None else b"id: %d\n" % event_id
    return b"event: %b\n%bdata: " % (event.encode(), line), data, b"\n\n"


class _Connection:
    """One client; everything that is sent to it goes in whole frames."""

    def __init__(self, request: web.Request, response: web.StreamResponse, pace: Pace) -> None:
        self._request = request
        self._response = response
        self._pace = pace
        self._writing = asyncio.Lock()
        """Held for one frame at a time."""

    async def run(
        self, reading: FeedReading, wake: asyncio.Event, live: _Live | None, held: Held
    ) -> None:
        """Send until the kept events end, the client goes or its credential is no longer good.

        A slow client is disconnected.
        """
        try:
            await self._write(COMMENT)  # a client learns at once that the stream is open
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(self._keep_awake())]
                if live is not None:
                    others.append(group.create_task(self._send_live(live)))
                kept = group.create_task(self._send_kept(reading, wake))
                others.append(group.create_task(held.ends()))
                await asyncio.wait([kept, others[-1]], return_when=asyncio.FIRST_COMPLETED)
                for other in (kept, *others):
                    other.cancel()
        except* (ConnectionError, TimeoutError):
            self._abort()
        except* (BusError, StoreAway) as failed:
            log.info("a stream breaks off", why=str(failed.exceptions[0]))
            self._abort()
        except* Exception as failed:  # noqa: BLE001 -- no problem can follow an answer begun
            log.failure("a stream failed", failed, path=self._request.path)
            self._abort()

    async def _send_kept(self, reading: FeedReading, wake: asyncio.Event) -> None:
        if reading.reset_to is not None:
            await self._write(frame("reset", b"{}", reading.reset_to))
        elif reading.task is None:
            # An id without data is no event: it only tells where to go on, from the first moment.
            await self._write(b"id: %d\n\n" % reading.after)
        async with aclosing(reading.kept()) as batches:
            async for events in batches:
                if await self._send(reading, events):
                    return
        while True:
            wake.clear()
            if events := reading.take():
                if await self._send(reading, events):
                    return
            elif reading.ended:
                return
            else:
                await wake.wait()

    async def _send(self, reading: FeedReading, events: Iterable[KeptEvent]) -> bool:
        """Send events; True where the reading's task is over with the last of them."""
        piece, is_over = bytearray(), False
        for event in events:
            if piece and len(piece) + len(event.data) > PIECE_BYTES:
                await self._write(bytes(piece))
                piece.clear()
            if len(event.data) > PIECE_BYTES:
                # In parts, and not copied: others wait for the same event.
                await self._write(*frame_parts(event.type, event.data, event.position))
            else:
                piece += frame(event.type, event.data, event.position)
            is_over = is_over or (event.is_last and reading.task is not None)
        if piece:
            await self._write(bytes(piece))
        return is_over

    async def _send_live(self, live: _Live) -> None:
        while True:
            live.wake.clear()
            if names := live.changes.take(NODES_IN_A_FRAME):
                await self._write_all(live.make(names))
                await asyncio.sleep(self._pace.live)
            else:
                await live.wake.wait()

    async def _keep_awake(self) -> None:
        while True:
            await asyncio.sleep(self._pace.comment)
            await self._write(COMMENT)

    async def _write(self, *parts: bytes) -> None:
        await self._write_all(parts)

    async def _write_all(self, parts: Iterable[bytes]) -> None:
        """Send the parts of whole frames, with nothing of another frame between them."""
        async with self._writing:
            for part in parts:
                view = memoryview(part)
                for start in range(0, len(view), PIECE_BYTES):
                    await self._write_piece(view[start : start + PIECE_BYTES])

    async def _write_piece(self, piece: memoryview) -> None:
        async with asyncio.timeout(self._pace.patience):
            await self._response.write(piece)
            await self._request.writer.drain()  # by itself it waits behind 64 KiB only

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
