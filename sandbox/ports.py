"""TCP ports for programs that are about to start, each for one of them on this machine alone."""

from __future__ import annotations

import os
import random
import socket
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOPBACK = "127.0.0.1"
_FIRST: Final = 11_000  # 10080 is one of those that browsers refuse
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LINUX_EPHEMERAL: Final = 32_768
"""Where the kernel's own choice begins unless it is told otherwise (ip(7))."""
_MOST_RESERVED: Final = 64
"""As many as a process has programs that are being started at one time, and then some."""

_reserved: deque[int] = deque()
"""Descriptors of the sockets that hold the reservations, the oldest first."""


def free_port(host: str = LOOPBACK) -> int:
    """A TCP port that nothing listens on at an address as URLs write it, and nobody else is given.

    Between the choice and the start of a program another one must not take it. So the kernel's
    range for outgoing connections is left out, and who has chosen a port holds an abstract Unix
    socket of its number (unix(7)), which is gone with the process, until many more were chosen.
    """
    while True:
        port = random.randrange(_FIRST, _last())  # noqa: S311
        if _reserve(port) and _is_free(port, host):
            return port


def _last() -> int:
    with suppress(OSError, ValueError, IndexError):
        return max(_FIRST + 1_000, int(_EPHEMERAL.read_text().split()[0]))
    return _LINUX_EPHEMERAL


def _reserve(port: int) -> bool:
    with socket.socket(socket.AF_UNIX) as mark:
        try:
            mark.bind(f"\0ips-port-{port}")
        except OSError:
            return False
        _reserved.append(mark.detach())
    while len(_reserved) > _MOST_RESERVED:
        os.close(_reserved.popleft())
    return True


def _is_free(port: int, host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((host.strip("[]"), port))
        except OSError:
            return False
    return True
