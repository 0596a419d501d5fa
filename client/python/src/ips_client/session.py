"""What one client keeps between its calls: where the server is, how patient to be, idle links."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from ips_client.talk import Address, Link
from ips_client.version import __version__

if TYPE_CHECKING:
    import h11

DEFAULT_SERVER: Final = "http://localhost:8080"
IDLE_LINKS: Final = 4
"""Connections kept open for the next call."""
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Server:
    """A parsed ``--server``."""

    url: str
    """Without credentials, for messages."""
    address: Address
    prefix: str
    """Path before ``/api/v1``; empty or beginning with a slash."""
    host: str
    """The Host header."""
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Server:
        """Read ``http(s)://[user:password@]host[:port][/path]``; a ValueError has words."""
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            port = parts.port
        except ValueError:
            raise ValueError(f"{_without_credentials(text)!r} is no address") from None
        shown = _without_credentials(text)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{shown!r} is no address such as {DEFAULT_SERVER}")
        if parts.query or parts.fragment:
            raise ValueError(f"{shown!r} must end before '?' and '#'")
        host = parts.netloc.rpartition("@")[2]
        prefix = parts.path.rstrip("/")
        return cls(
            url=f"{parts.scheme}://{host}{prefix}",
            address=Address(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "https"),
            prefix=prefix,
            host=host,
            authorization=_basic(parts.username, parts.password),
        )


def _without_credentials(text: str) -> str:
    return text.rpartition("@")[2]


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


class Wire(NamedTuple):
    """A connection and where HTTP stands on it."""

    link: Link
    http: h11.Connection


@dataclass
class Session:
    """One client's state. ``idle`` is a deque, whose ends are safe to share between threads."""

    server: Server
    timeout: float = 30.0
    """Seconds that a server may stay silent within one request."""
    patience: float = 10.0
    """Seconds to keep trying while the server is away."""
    follow_patience: float = 300.0
    """The same while waiting for a task and while following events."""
    headers: Mapping[str, str] = field(default_factory=dict)
    idle: deque[Wire] = field(default_factory=deque)
    closed: bool = False

    def keep(self, wire: Wire) -> None:
        """Put a connection by for the next call, if there is room."""
        if self.closed or len(self.idle) >= IDLE_LINKS:
            wire.link.close()
        else:
            self.idle.append(wire)

    def close(self) -> None:
        """Hang up all that is idle and keep no more."""
        self.closed = True
        while self.idle:
            self.idle.pop().link.close()

    def common_headers(self) -> dict[str, str]:
        """What goes with every request."""
        own = {"Host": self.server.host, "User-Agent": f"ips-client/{__version__}"}
        if self.server.authorization:
            own["Authorization"] = self.server.authorization
        return {**own, **self.headers}
