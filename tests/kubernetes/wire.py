"""A TCP connection between a client and the API server, to be cut, frozen and refused at will."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHUNK = 64 * 1024


class Wire:
    """Forwards from a port of its own; each connection is a pair of pumps."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0
        self.bytes_per_second: int | None = None
        """Of each direction of each connection; None is as fast as it goes."""
        self.refuses = False
        self.accepted = 0
        """Connections so far."""

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._open:
            writer.transport.abort()

    def freeze(self) -> None:
        """Let nothing through, and say nothing about it: a half-open connection."""
        self._flows.clear()

    def thaw(self) -> None:
        """Let everything through again."""
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        ends = {writer}
        try:
            if self.refuses:
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            ends.add(back)
            self._open |= ends
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:
            pass  # the API server is away: so is this connection
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._flows.wait()
                if self.bytes_per_second is not None:
                    await asyncio.sleep(len(chunk) / self.bytes_per_second)
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    """Listen on a free port and forward to another one."""
    wire = Wire(port)
    server = await asyncio.start_server(wire._accept, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        wire.thaw()
        wire.cut()
        await asyncio.sleep(0)
