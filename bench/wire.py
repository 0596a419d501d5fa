"""A bare connection to NATS, without a client library: ten thousand of them fit in one process.

It speaks as much of the protocol as agents need, and is never made again when it ends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Self, cast
from urllib.parse import urlsplit

OnMessage = Callable[[str, str, bytes], None]
"""Told subject, reply (empty for none) and payload of each message."""


class Wire(asyncio.Protocol):
    """One connection; what is sent in one turn of the event loop leaves it together."""

    def __init__(self, on_message: OnMessage) -> None:
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._unsent: list[bytes] = []
        self._subscriptions = 0
        self._pong: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def open(cls, url: str, token: str, on_message: OnMessage) -> Self:
        """Connect to a server, as whoever has this token. Raises OSError, ConnectionError."""
        address = urlsplit(url)
        host, port = address.hostname or "127.0.0.1", address.port or 4222
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(lambda: cls(on_message), host, port)
        options = {"auth_token": token, "verbose": False, "pedantic": False, "protocol": 1}
        wire.send(b"CONNECT %b\r\n" % json.dumps(options).encode())
        await wire.heard()
        return wire

    def subscribe(self, subject: str) -> None:
        """Have messages on a subject from now on."""
        self._subscriptions += 1
        self.send(b"SUB %b %d\r\n" % (subject.encode(), self._subscriptions))

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send a message."""
        self.send(
            b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(payload), payload)
        )

    async def heard(self) -> None:
        """Wait until the server has taken in what was sent. Raises ConnectionError."""
        self._pong = self._loop.create_future()
        self.send(b"PING\r\n")
        await self._pong

    def send(self, command: bytes) -> None:
        """Send a command of the protocol, behind those before it."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)

    def _flush(self) -> None:
        data, self._unsent = b"".join(self._unsent), []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # ── what asyncio calls ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _why: Exception | None) -> None:
        """Nobody waits any longer."""
        if not self._pong.done():
            self._pong.set_exception(ConnectionError("the server has hung up"))

    def data_received(self, data: bytes) -> None:
        """Take in as many whole messages as there are."""
        received = self._received + data if self._received else data
        at = 0
        while (end := received.find(b"\r\n", at)) >= 0:
            if received.startswith(b"MSG ", at):
                subject, _, *reply, size = received[at + 4 : end].split()
                begin, end = end + 2, end + 2 + int(size)
                if len(received) < end + 2:
                    break
                answer = reply[0].decode() if reply else ""
                self._on_message(subject.decode(), answer, received[begin:end])
            else:
                self._control(received[at:end])
            at = end + 2
        self._received = received[at:]

    def _control(self, line: bytes) -> None:
        if line == b"PING":
            self.send(b"PONG\r\n")
        elif line == b"PONG":
            if not self._pong.done():
                self._pong.set_result(None)
        elif line.startswith(b"-ERR"):
            raise ConnectionError(line.decode())
