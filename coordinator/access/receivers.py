"""Which addresses a webhook may reach. Pure.

Whoever creates tasks names them, and the coordinator stands in a network where they do not.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA: Final = frozenset({ip_address("fd00:ec2::254"), ip_address("100.100.100.200")})
"""Where clouds tell secrets of a machine on addresses that are not link-local."""
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""IPv4 addresses behind NAT64 (RFC 6052)."""
_SHARED: Final = IPv4Network("100.64.0.0/10")
_THIS: Final = IPv4Network("0.0.0.0/8")
_RESERVED: Final = IPv4Network("240.0.0.0/4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receivers:
    """What the settings allow."""

    networks: Sequence[Network] = ()
    """Allowed whatever they are."""
    private: bool = True
    loopback: bool = False

    def refusal(self, address: Address) -> str | None:
        """Why an address must not be reached, in a word or two; None where it may."""
        if any(
            address in network for network in self.networks if network.version == address.version
        ):
            return None
        within = _within(address)
        if within is not None:
            return self.refusal(within)
        return self._refusal(address)

    def _refusal(self, address: Address) -> str | None:
        for kind, applies in (
            ("loopback", address.is_loopback and not self.loopback),
            ("link-local", address.is_link_local),
            ("metadata", address in _METADATA),
            ("unspecified", address.is_unspecified or address in _THIS),
            ("multicast", address.is_multicast),
            ("reserved", address in _RESERVED),
            ("private", not self.private and _is_private(address)),
        ):
            if applies:
                return kind
        return None

    def refusal_of_host(self, host: str) -> str | None:
        """As ``refusal`` where a host is an address; None for a name, which is to be resolved."""
        address = _address(host.strip("[]").partition("%")[0])
        return None if address is None else self.refusal(address)


def parse_networks(value: str) -> tuple[Network, ...]:
    """``10.0.0.0/8,fd00::/8``. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in value.split(","))


def _address(host: str) -> Address | None:
    """An address in any form that connects: to the system 127.1 and 0x7f000001 are 127.0.0.1."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _within(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_private(address: Address) -> bool:
    shared = isinstance(address, IPv4Address) and address in _SHARED
    return (address.is_private and not address.is_loopback) or shared
