"""Connections for the synchronous face: plain sockets."""

from __future__ import annotations

import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from ips_client.talk import (
    Address,
    Clock,
    Connect,
    Instruction,
    LinkFailure,
    Pause,
    Read,
    Silence,
    Write,
)

if TYPE_CHECKING:
    from ssl import SSLContext

READ_BYTES: Final = 65536
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


class SocketLink:
    """A connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    def connect(cls, address: Address, within: float, context: SSLContext | None) -> SocketLink:
        """Connect, with TLS where the address says so. Raises LinkFailure."""
        try:
            connection = socket.create_connection(address[:2], timeout=within)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cls(_secured(connection, address.host, context) if address.tls else connection)
        except OSError as error:
            raise failure_of(error) from None

    def write(self, data: bytes, within: float) -> None:
        """Send everything. Raises LinkFailure."""
        try:
            self._connection.settimeout(within)
            self._connection.sendall(data)
        except OSError as error:
            raise failure_of(error) from None

    def read(self, within: float) -> bytes | None:
        """See ``talk.Read``. Raises LinkFailure."""
        try:
            self._connection.settimeout(max(within, 0.001))  # 0 would mean: do not wait at all
            return self._connection.recv(READ_BYTES)
        except TimeoutError:
            return None
        except OSError as error:
            raise failure_of(error) from None

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _secured(connection: socket.socket, host: str, context: SSLContext | None) -> socket.socket:
    import ssl  # noqa: PLC0415 -- costs start-up, and most servers are asked over http

    try:
        context = context or ssl.create_default_context()
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def failure_of(error: OSError) -> LinkFailure:
    """An operating system's error in the core's words."""
    if isinstance(error, TimeoutError):
        return Silence("no connection in time")
    if isinstance(error, socket.gaierror):
        return LinkFailure("there is no such host", lasting=error.errno == socket.EAI_NONAME)
    distrust = getattr(error, "verify_message", None)  # of ssl.SSLCertVerificationError
    if distrust:
        return LinkFailure(f"its certificate is not trusted ({distrust})", lasting=True)
    # asyncio writes texts of its own around the numbers, several where it tried several addresses.
    found = _ERRNO.search(str(error))
    words = os.strerror(int(found[1])) if found else str(error) or type(error).__name__
    return LinkFailure(words[:1].lower() + words[1:])


def carry_out(instruction: Instruction, context: SSLContext | None) -> Any:
    """Do what an instruction says and return its answer. Raises LinkFailure."""
    match instruction:
        case Connect(address, within):
            return SocketLink.connect(address, within, context)
        case Write(SocketLink() as link, data, within):
            return link.write(data, within)
        case Read(SocketLink() as link, within):
            return link.read(within)
        case Pause(seconds):
            return time.sleep(seconds)
        case Clock():
            return time.monotonic()
        case _:
            raise TypeError(f"{instruction} is not for a transport")
