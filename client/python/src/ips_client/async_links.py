"""Connections for the asynchronous face: asyncio's streams."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ips_client.links import READ_BYTES, failure_of
from ips_client.talk import Address, Clock, Connect, Instruction, Pause, Read, Write

if TYPE_CHECKING:
    from ssl import SSLContext


class StreamLink:
    """A connection of asyncio's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(
        cls, address: Address, within: float, context: SSLContext | None
    ) -> StreamLink:
        """Connect, with TLS where the address says so. Raises LinkFailure."""
        tls = (context or True) if address.tls else None
        try:
            opening = asyncio.open_connection(address.host, address.port, ssl=tls)
            return cls(*await asyncio.wait_for(opening, within))
        except asyncio.TimeoutError:
            raise failure_of(TimeoutError()) from None
        except OSError as error:
            raise failure_of(error) from None

    async def write(self, data: bytes, within: float) -> None:
        """Send everything. Raises LinkFailure."""
        try:
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), within)
        except asyncio.TimeoutError:
            raise failure_of(TimeoutError()) from None
        except OSError as error:
            raise failure_of(error) from None

    async def read(self, within: float) -> bytes | None:
        """See ``talk.Read``. Raises LinkFailure."""
        try:
            return await asyncio.wait_for(self._reader.read(READ_BYTES), max(within, 0.001))
        except asyncio.TimeoutError:
            return None
        except OSError as error:
            raise failure_of(error) from None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def closed(self) -> None:
        """Wait until the operating system has it back."""
        with suppress(OSError):
            await self._writer.wait_closed()


async def carry_out(instruction: Instruction, context: SSLContext | None) -> Any:
    """Do what an instruction says and return its answer. Raises LinkFailure."""
    match instruction:
        case Connect(address, within):
            return await StreamLink.connect(address, within, context)
        case Write(StreamLink() as link, data, within):
            return await link.write(data, within)
        case Read(StreamLink() as link, within):
            return await link.read(within)
        case Pause(seconds):
            return await asyncio.sleep(seconds)
        case Clock():
            return time.monotonic()
        case _:
            raise TypeError(f"{instruction} is not for a transport")
