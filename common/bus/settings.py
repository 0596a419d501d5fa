"""How to reach the bus, and with what credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PORT = 4222
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\]")
_BRACKETED_PORT = re.compile(r"\[[^\[\]]*\](?::[0-9]*)?")


class Server(NamedTuple):
    """One server: where it is, without secrets, and what it shall be told."""

    url: str
    tls: bool
    user: str | None = None
    password: str | None = None
    token: str | None = None


@dataclass(frozen=True, kw_only=True)
class BusSettings:
    """Where the servers are and who we are; secrets do not show in ``repr``.

    ``servers``: URLs ``nats://host:port`` or ``tls://host:port``, with ``user:password@`` or
    ``token@`` where the server wants it so. ``token_file`` and ``creds`` are read anew at each
    connection, so that a rotated token is found. ``ca``: a PEM file that signs the server's
    certificate; it, as well as ``tls://``, demands TLS.
    """

    servers: tuple[str, ...] = field(repr=False)
    name: str = "ips"
    """How the server's monitoring names this client."""
    user: str | None = None
    """Whose password the token is, where the server has a user and no token."""
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    creds: Path | None = None
    ca: Path | None = None
    patient: bool = False
    """Whether a refusal is no mistake of ours: the server is about to be told who we are."""
    ping_seconds: int | None = None
    """Between two pings of the server, where silence is to be noticed sooner than by others."""
    inbox: str = "_INBOX"
    """What the subject begins with to which answers come; what follows is drawn at random."""
    backoff_ceiling: float = 2.0
    """Longest wait in seconds before the next try to connect; each wait is drawn from zero up."""


def parse_server(text: str) -> Server:
    """Read one server's URL; ``nats://`` and port 4222 may be left out.

    An IPv6 address stands in brackets, maybe with its interface: ``[fe80::1%eth0]``, or ``%25eth0``
    as RFC 6874 has it.
    The ValueError for a bad one does not repeat the text: it may hold a password.
    """
    try:
        parts = urlsplit(text if _SCHEME.match(text) else f"nats://{text}")
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise ValueError(f"not a NATS URL: {error}") from None
    if parts.scheme not in {"nats", "tls"}:
        raise ValueError(f"not a NATS URL: scheme {parts.scheme!r} is neither nats nor tls")
    if not parts.hostname:
        raise ValueError("not a NATS URL: no host")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("not a NATS URL: something follows the port")
    return _with_login(parts, port)


def parse_bracketed(text: str) -> IPv6Address:
    """Read an IPv6 address in brackets. Raises ValueError, which does not repeat the text."""
    found = _BRACKETED.fullmatch(text)
    try:
        return IPv6Address(found[1] if found else "")
    except ValueError:
        raise ValueError("no IPv6 address stands in the brackets") from None


def _host(parts: SplitResult) -> str:
    """The host as URLs write it; ``urlsplit`` lets anything stand around brackets."""
    host, authority = parts.hostname or "", parts.netloc.rpartition("@")[2]
    if "[" not in authority:
        return host
    if not _BRACKETED_PORT.fullmatch(authority):
        raise ValueError("not a NATS URL: something stands around the brackets")
    host = f"[{host.replace('%25', '%', 1)}]"
    parse_bracketed(host)
    return host


def _with_login(parts: SplitResult, port: int) -> Server:
    url = f"{parts.scheme}://{_host(parts)}:{port}"
    tls = parts.scheme == "tls"
    if parts.username is None:
        return Server(url, tls)
    if parts.password is None:
        return Server(url, tls, token=unquote(parts.username))
    return Server(url, tls, unquote(parts.username), unquote(parts.password))
