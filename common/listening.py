"""Listening at every address of this host, of both families, on one port.

One IPv6 socket takes IPv4 too, so that port 0 is one port and nothing can hold half of it. That it
does is said for the socket, not left to the kernel (``net.ipv6.bindv6only``). Where the host has no
IPv6, an IPv4 socket does as well as ever.
"""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

EVERY_ADDRESS: Final = "[::]"
EVERY_IPV4_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - where every address is meant

LOCALHOST: Final = "localhost"
"""This machine alone, at its loopback addresses of both families."""

WILDCARDS: Final = frozenset({EVERY_ADDRESS, EVERY_IPV4_ADDRESS})

PORT_TRIES: Final = 20
"""For a port that is free in both families."""

_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})
_LOOPBACK: Final = ("127.0.0.1", "::1")


def has_ipv6() -> bool:
    """Whether a socket here can listen for both families."""
    return socket.has_dualstack_ipv6()


def listen_everywhere(port: int) -> socket.socket:
    """Listen on a port (0: any free one). Raises OSError, whose ``filename`` is the address."""
    if has_ipv6():
        try:
            return _listen(EVERY_ADDRESS, socket.AF_INET6, port)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return _listen(EVERY_IPV4_ADDRESS, socket.AF_INET, port)


def listen_on(address: str, port: int) -> list[socket.socket]:
    """Listen at an address as URLs write it, ``localhost`` and wildcards included, on one port.

    Raises OSError, whose ``filename`` is the address.
    """
    if address == EVERY_ADDRESS:
        return [listen_everywhere(port)]
    if address != LOCALHOST:
        return [_at(address, port)]
    hosts = [f"[{host}]" if ":" in host else host for host in _LOOPBACK if _is_ours(host)]
    for _ in range(PORT_TRIES if port == 0 else 1):
        first = _at(hosts[0] if hosts else _LOOPBACK[0], port)
        try:
            return [first, *(_at(host, first.getsockname()[1]) for host in hosts[1:])]
        except OSError:
            first.close()
            if port != 0:
                raise
    return [_at(_LOOPBACK[0], 0)]  # the one family that has a free port


def _at(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return _listen(address, family, port, both=False)


def own_address(wildcard: str) -> str:
    """Find this host's loopback address, as URLs write it, for who listens at every address.

    Of the wildcard's own family where the host has one of that; it may have but the other.
    """
    found = [f"[{host}]" if ":" in host else host for host in _LOOPBACK if _is_ours(host)]
    alike = [address for address in found if (":" in address) == (":" in wildcard)]
    return next(iter(alike or found), "localhost")


def has_ipv4_loopback() -> bool:
    """Whether 127.0.0.1 is an address of this host; hardly anybody takes it away."""
    return _is_ours("127.0.0.1")


def only_ipv6_address() -> str | None:
    """Find the one IPv6 address of this host, as URLs write it; None if it has more, or none.

    From ``/proc/net/if_inet6``, a line each that begins with 32 hexadecimal digits.
    """
    try:
        [line] = Path("/proc/net/if_inet6").read_text().splitlines()
        return f"[{IPv6Address(int(line.split()[0], 16))}]"
    except (OSError, ValueError):
        return None


def peer(address: str | None) -> str | None:
    """How to write a peer's address: an IPv4 peer of a socket for both families as IPv4."""
    if address is None or not address.startswith("::ffff:"):
        return address
    mapped = IPv6Address(address).ipv4_mapped
    return address if mapped is None else str(mapped)


def _listen(
    host: str, family: socket.AddressFamily, port: int, *, both: bool = True
) -> socket.socket:
    """``both``: an IPv6 socket takes IPv4, too."""
    is_dual = both and family == socket.AF_INET6
    try:
        return socket.create_server((host.strip("[]"), port), family=family, dualstack_ipv6=is_dual)
    except OSError as error:  # its own words hold the address as a tuple
        code = error.errno or errno.EINVAL
        raise OSError(code, os.strerror(code), f"{host}:{port}") from error


def _is_ours(host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
