"""A TCP connection's way, which can be cut (nothing gets through, nobody is told) and broken."""

from __future__ import annotations

import asyncio
from contextlib import suppress

CHUNK_BYTES = 64 * 1024


class Way:
    """Listens on loopback and hands everything on to one port, until it is cut."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None  # noqa: S101 -- it is started first
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Let nothing through; connections stay and say nothing, new ones too."""
        self._open.clear()

    def mend(self) -> None:
        """Undo ``cut``: what was under way arrives."""
        self._open.set()

    def reset(self) -> None:
        """Break every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pump = asyncio.create_task(self._go_through(reader, writer))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _go_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._open.wait()
            with suppress(OSError):
                await self._join(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers.add(back)
        try:
            async with asyncio.TaskGroup() as pumps:
                for source, sink in ((reader, back), (there, writer)):
                    pumps.create_task(self._pump(source, sink))
        except* OSError:
            pass
        finally:
            self._writers.discard(back)
            back.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK_BYTES):
            await self._open.wait()
            sink.write(data)
            await sink.drain()
        await self._open.wait()
        raise ConnectionResetError  # the other direction ends with it
