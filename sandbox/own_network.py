"""A network of its own for one thread and the programs that it starts: loopback and nothing else.

The network ends with the last of them. Needs root and ip(8).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET: Final = 0x40000000
_SETTINGS: Final = Path("/proc/sys/net/ipv6")
_MAPPED: Final = "0000000000000000FFFF0000"
"""How the kernel's tables begin an IPv4 address in a socket for both families."""


@contextmanager
def own_network(*commands: str, **settings: int) -> Iterator[None]:
    """Put this thread into a network where loopback is up, for as long as the block runs.

    ``commands`` are carried out there, words of ip(8); ``settings`` are sysctls below
    ``net.ipv6``, ``__`` for a dot. Raises OSError, CalledProcessError where that cannot be.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as former:
        _succeed(libc.unshare(_CLONE_NEWNET))
        try:
            for command in ("link set lo up", *commands):
                subprocess.run(["ip", *command.split()], check=True, capture_output=True)
            for name, value in settings.items():
                (_SETTINGS / name.replace("__", "/")).write_text(str(value))
            yield
        finally:
            _succeed(libc.setns(former.fileno(), _CLONE_NEWNET))


def network_of(pid: int | str) -> str:
    """Name the network that a process is in."""
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def ipv4_sockets(pid: int | str) -> list[str]:
    """Every IPv4 socket of the network that a process is in, as the kernel's tables have them.

    Those that listen or are connected, those that still wait for late packets, and IPv4 connections
    of sockets for both families.
    """
    tables = Path(f"/proc/{pid}/net")
    found = [line for name in ("tcp", "udp", "raw") for line in _lines(tables / name)]
    both = [line for name in ("tcp6", "udp6", "raw6") for line in _lines(tables / name)]
    return found + [line for line in both if _MAPPED in line]


def _lines(table: Path) -> list[str]:
    _, *lines = table.read_text().splitlines()
    return [f"{table.name}: {line.strip()}" for line in lines]


def _succeed(code: int) -> None:
    if code:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
