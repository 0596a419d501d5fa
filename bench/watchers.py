"""A program: so many SSE clients of a coordinator's events, which read all and keep nothing.

``python -m bench.watchers PORT COUNT``; it says ``watching`` when all are connected.
"""

from __future__ import annotations

import asyncio
import sys

from sandbox.ports import LOOPBACK


class Watcher(asyncio.Protocol):
    """One client."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for all events from now on."""
        assert isinstance(transport, asyncio.WriteTransport)
        request = f"GET /api/v1/events HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n"
        transport.write(request.encode())

    def data_received(self, data: bytes) -> None:
        """Something has come; how it begins says whether this is a client at all."""
        if not self.answered.done():
            assert data.startswith(b"HTTP/1.1 200 "), data
            self.answered.set_result(None)

    def connection_lost(self, why: Exception | None) -> None:
        """A client that was cut off says so in this program's log."""
        print("cut off", why, flush=True)


async def main(port: int, count: int) -> None:
    """Watch until somebody ends this."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        _, watcher = await loop.create_connection(Watcher, LOOPBACK, port)
        await watcher.answered
    print("watching", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
