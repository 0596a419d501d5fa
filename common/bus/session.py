"""One connection from its handshake to its end: a nats-py client that is dialled once.

nats-py's own reconnection is never used. A client whose connection ends is thrown away with all
that it had not sent, and another is dialled: so nothing old is sent later, no client is left half
alive, and what nats-py 2.16 does wrong while it reconnects does not concern us (the numbers below
are of its issues: #1019, closed for ever when a credential expires; #671, #93, PR #914).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import nats.errors
from nats.aio.client import PING_PROTO, Client
from nats.aio.transport import TcpTransport
from nats.protocol import command as protocol

from common.bus.credentials import credentials
from common.bus.errors import BusRefused, NotConnected, TimedOut
from common.bus.headers import decode as decode_headers
from common.bus.headers import encode as encode_headers
from common.join_token import is_for_coordinators
from common.logs import Log
from common.subjects import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from common.bus.settings import BusSettings, Server

log = Log(__name__)

DIAL_SECONDS = 10.0
"""Time for the whole handshake: a crowd that reconnects over TLS at once needs some seconds."""
PING_SECONDS = 3
PINGS_UNANSWERED = 2
"""A silent peer is noticed after 6 to 9 s; one that pauses for less than 6 s is kept."""
UNSENT_LIMIT = 16 * 1024 * 1024
"""Bytes that may wait for a slow server before publishing is refused."""

_SUBJECT = re.compile(r"\S+")
_READ_SIZE = 32 * 1024
_REFUSALS = ("authorization violation", "authentication expired", "authentication revoked")


class Delivery(NamedTuple):
    """A message as it came: ``headers`` holds ``Status`` for those the server itself makes."""

    subject: str
    data: bytes
    reply: str
    headers: Mapping[str, str] | None


class _Wire(TcpTransport):
    """nats-py's transport, torn rather than closed: it never waits for a peer that reads nothing.

    ``close`` of the original waits for unsent bytes for ever (#671).
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nats-py's is not annotated
        self.torn = False

    async def connect_tls(self, *arguments: Any, **options: Any) -> None:
        """Go over to TLS, and say so to the protocol, which nats-py leaves out.

        The end of each connection would be a warning of asyncio's, and no reading be paused.
        """
        await super().connect_tls(*arguments, **options)
        assert self._io_writer is not None  # noqa: S101 -- set by connect()
        transport = self._io_writer.transport
        transport.get_protocol().connection_made(transport)

    def close(self) -> None:
        self.torn = True
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    async def drain(self) -> None:
        assert self._io_writer is not None  # noqa: S101 -- set by connect()
        try:
            await self._io_writer.drain()
        except ConnectionError:
            if not self.torn:
                raise

    async def readline(self) -> bytes:
        """Read the next line of the handshake that is not a PING.

        A server pings a new client 2 s after it came, authenticated or not; nats-py takes that
        PING for the answer to its own and stays CONNECTING for ever (#93).
        """
        assert self._io_reader is not None  # noqa: S101 -- set by connect()
        assert self._io_writer is not None  # noqa: S101 -- set by connect()
        while (line := await self._io_reader.readline()).startswith(b"PING"):
            self._io_writer.write(b"PONG\r\n")
        if not line:
            raise nats.errors.UnexpectedEOF
        return line


class Session(Client):
    """A connected client.

    Messages go straight from the parser to their handler, without nats-py's queue and task per
    subscription: in order over all subscriptions, and what is not handled yet waits in the
    network instead of being dropped from a full queue.
    """

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.url = server.url
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done, with the reason, when the connection is no more. Never await it directly."""
        self._wire = _Wire()
        self._handlers: dict[int, Callable[[Delivery], None]] = {}
        self._demands_tls = False
        self._reach_within = DIAL_SECONDS
        self._patient = False
        """Whether the coordinators, and not the server itself, are to say who we are: a refusal may
        be another answer in a moment."""

    @classmethod
    async def dial(
        cls, settings: BusSettings, server: Server, within: float = DIAL_SECONDS
    ) -> Session:
        """Connect to one server, once, if it is reached within so many seconds.

        Raises BusRefused when it does not accept who we are, NotConnected when it is not there.
        """
        session = cls(server)
        session._demands_tls = server.tls or settings.ca is not None
        session._reach_within = within
        cancellations = _cancellations()
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await session._shake_hands(settings, server)
            if not session.is_connected:
                raise nats.errors.ProtocolError
        except (OSError, nats.errors.Error, ValueError) as error:
            raise _explained(error, server, session._patient) from error
        finally:
            swallowed = _cancellations() > cancellations
            if swallowed or not session.is_connected:
                session._tear()
            if swallowed:
                raise asyncio.CancelledError
        session._watch_tasks()
        return session

    async def _shake_hands(self, settings: BusSettings, server: Server) -> None:
        shown = credentials(settings, server)
        self._patient = settings.patient or is_for_coordinators(shown.get("token") or "")
        await self.connect(
            server.url,
            name=settings.name,
            error_cb=self._note_fault,
            allow_reconnect=False,
            connect_timeout=DIAL_SECONDS,  # type: ignore[arg-type]  # passed to wait_for as it is
            ping_interval=settings.ping_seconds or PING_SECONDS,
            max_outstanding_pings=PINGS_UNANSWERED,
            pending_size=0,
            **shown,
        )

    @property
    def alive(self) -> bool:
        """Whether messages can be sent."""
        return self.is_connected and not self.ended.done()

    @property
    def lacks_jetstream(self) -> bool:
        """Whether the server has said that it cannot store, and has no others that might."""
        info = self._server_info
        return not info.get("jetstream") and not info.get("cluster")

    def send(self, command: bytes) -> None:
        """Queue a protocol command behind those before it; raises NotConnected."""
        if not self.alive:
            raise NotConnected("not connected")
        if self._pending_data_size > UNSENT_LIMIT:
            raise NotConnected(f"the server has not taken the last {UNSENT_LIMIT >> 20} MiB")
        self._pending.append(command)
        self._pending_data_size += len(command)
        assert self._flush_queue is not None  # noqa: S101 -- set by connect()
        if self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    def send_message(
        self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> None:
        """``send`` one message."""
        self.send(publish_command(subject, payload, reply, headers))

    def listen(
        self, number: int, subject: str, handler: Callable[[Delivery], None], queue: str = ""
    ) -> None:
        """Subscribe under a number that is unique in this session."""
        self._handlers[number] = handler
        self.send(protocol.sub_cmd(subject, queue, number))

    async def heard(self, within: float) -> None:
        """Wait until the server has taken in all that was sent. Raises TimedOut, NotConnected.

        By the protocol's own PING: a message to oneself needs rights that no agent has.
        """
        pong = self._ping()
        await asyncio.wait((pong, self.ended), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if not pong.done():
            if self.ended.done():
                raise NotConnected(f"the connection to NATS is lost: {self.ended.result()}")
            raise TimedOut(f"no answer within {within:g} s")

    def _ping(self) -> asyncio.Future[bool]:
        """Queue a PING; done with its PONG. Must not be cancelled: nats-py would end over that."""
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.send(PING_PROTO)
        self._pongs.append(pong)
        return pong

    def forget(self, number: int) -> None:
        """Take back ``listen``."""
        if self._handlers.pop(number, None) is not None and self.alive:
            self.send(protocol.unsub_cmd(number, 0))

    async def hang_up(self) -> None:
        """Disconnect."""
        await self.close()

    # ── what nats-py calls ───────────────────────────────────────────────────────────────────

    async def _select_next_server(self) -> None:
        # One server, one try, over our own transport; the original tries for ever.
        (self._current_server,) = self._server_pool
        self._transport = self._wire
        within: Any = self._reach_within  # passed to wait_for as it is
        await self._wire.connect(self._current_server.uri, _READ_SIZE, within)

    def _connect_command(self) -> bytes:
        # The last moment before credentials are sent: nats-py follows the server's word on TLS.
        if self._demands_tls and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:  # noqa: ARG002
        # In its turn: the original overtakes what waits, and PONGs are told apart by order alone.
        with contextlib.suppress(NotConnected):
            self._ping()

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        handler = self._handlers.get(sid)
        if handler is None:
            return
        # NATS takes any byte in a subject. What is raised here would end the connection.
        parsed = decode_headers(headers) if headers else None
        addresses = subject.decode(errors="replace"), reply.decode(errors="replace")
        try:
            handler(Delivery(addresses[0], data, addresses[1], parsed))
        except Exception as error:  # noqa: BLE001 -- a message is no end of the connection
            log.failure("a message cannot be taken in", error, subject=addresses[0])

    # ── the end ──────────────────────────────────────────────────────────────────────────────

    def _tear(self) -> None:
        self._handlers.clear()
        self._wire.close()
        if not self.ended.done():
            self.ended.set_result(words(self.last_error) if self.last_error else "it was closed")

    def _watch_tasks(self) -> None:
        # Whatever ends a connection ends at least one of nats-py's loops. It may be no more than
        # that, for an unexpected exception leaves a client that looks connected (PR #914), and
        # closing waits for bytes that nobody takes (#671): the end of any is the end of all.
        for task in (self._reading_task, self._flusher_task, self._ping_interval_task):
            assert task is not None  # noqa: S101 -- set by connect()
            task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._err = self._err or error  # type: ignore[assignment]
        self._tear()

    async def _note_fault(self, error: Exception) -> None:
        # Violated permissions come here only; the end of a connection is told by ``ended``.
        if "permissions violation" in str(error).lower():
            log.warning("the bus does not permit it", why=words(error))
        else:
            log.debug("nats-py notes", why=words(error))


def _cancellations() -> int:
    """Count the wishes to cancel this task that were not heeded yet.

    ``wait_for`` of Python 3.11, by which nats-py connects, forgets one that comes at the very
    moment of its result; who waits for the task to end then waits for ever.
    """
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def publish_command(
    subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None
) -> bytes:
    """Encode one message for ``Session.send``; a ValueError names the subject it is not fit for."""
    check_message(subject, payload)
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(payload), payload)
    block = encode_headers(headers)
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (
        subject.encode(),
        reply.encode(),
        len(block),
        len(block) + len(payload),
        block,
        payload,
    )


def check_message(subject: str, payload: bytes) -> None:
    """Refuse with a ValueError what is too large, or has no subject."""
    if len(payload) > MAX_MESSAGE_BYTES:
        raise ValueError(f"{len(payload)} bytes for {subject}: at most {MAX_MESSAGE_BYTES}")
    check_subject(subject)


def check_subject(subject: str) -> None:
    """Refuse with a ValueError what could end a line of the protocol, or is nothing."""
    if not _SUBJECT.fullmatch(subject):
        raise ValueError(f"not a subject: {subject!r}")


def _explained(error: Exception, server: Server, patient: bool) -> BusRefused | NotConnected:
    """Tell a server that refuses us, whatever we wait, from one that is not there."""
    text = words(error)
    refused = NotConnected if patient else BusRefused
    if any(refusal in text.lower() for refusal in _REFUSALS):
        if patient:
            return NotConnected(
                f"NATS at {server.url} does not accept the token ({text}): no coordinator is there "
                "to say whose it is, or it is nobody's (the coordinator's log says why)"
            )
        return BusRefused(
            f"NATS at {server.url} does not accept the token or password ({text}): check "
            "IPS_NATS_TOKEN, IPS_NATS_TOKEN_FILE, IPS_NATS_CREDS or the password in IPS_NATS_URL"
        )
    if isinstance(error, nats.errors.SecureConnWantedError):
        return refused(f"NATS at {server.url} speaks no TLS, which tls:// or IPS_NATS_CA demand")
    if isinstance(error, ssl.SSLError):
        return refused(f"TLS with NATS at {server.url} fails ({text}): check IPS_NATS_CA")
    return NotConnected(f"NATS at {server.url} is not reachable: {text}")


def words(error: BaseException) -> str:
    """Say an error in one line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    text = " ".join(str(error).split()).removeprefix("nats: ")
    return text.strip("'") or type(error).__name__
