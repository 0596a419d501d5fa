"""Where the server is, who asks it, and how patient to be: what one client keeps between calls."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from ips_client.requests import Request
from ips_client.version import __version__

DEFAULT_SERVER: Final = "http://localhost:8080"
_SCHEMES: Final = frozenset({"http", "https"})
_BRACKETED: Final = re.compile(r"\[[^\[\]]+\](?::[0-9]*)?")
"""An IPv6 address in a URL, with maybe a port; ``urlsplit`` lets anything stand around it."""

Token = str | Callable[[], str]
"""A token, or what is asked for it before each request: tokens in files are renewed."""


@dataclass(frozen=True)
class Server:
    """A parsed ``--server``."""

    url: str
    """Without credentials, for messages and for requests."""
    scheme: str
    hostname: str
    authorization: str | None = field(default=None, repr=False)
    """The header that user and password make."""

    @classmethod
    def parse(cls, text: str) -> Server:
        """Read ``http(s)://[user:password@]host[:port][/path]``; a ValueError has words."""
        shown = without_credentials(text)
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            _ = parts.port
        except ValueError:
            raise ValueError(f"{shown!r} is no address") from None
        if parts.scheme not in _SCHEMES or not parts.hostname or not text.isprintable():
            raise ValueError(f"{shown!r} is no address such as {DEFAULT_SERVER}")
        if parts.query or parts.fragment:
            raise ValueError(f"{shown!r} must end before '?' and '#'")
        host = parts.netloc.rpartition("@")[2]
        if "[" in host and not _BRACKETED.fullmatch(host):
            raise ValueError(f"{shown!r} is no address")
        return cls(
            url=f"{parts.scheme}://{host}{parts.path.rstrip('/')}",
            scheme=parts.scheme,
            hostname=parts.hostname,
            authorization=_basic(parts.username, parts.password),
        )


def without_credentials(text: str) -> str:
    """An address, or what was meant to be one, as it may be shown."""
    front, at, rest = text.rpartition("@")
    scheme, separator, _ = front.partition("://")
    return f"{scheme}{separator}{rest}" if at and separator else rest


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


@dataclass(frozen=True)
class Session:
    """One client's settings. Raises ValueError where they contradict one another."""

    server: Server
    timeout: float = 30.0
    """Seconds that a server may stay silent within one request."""
    patience: float = 10.0
    """Seconds to keep trying while the server is away."""
    follow_patience: float = 300.0
    """The same while waiting for a task or a set and while following events."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request."""
    token: Token | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.token is not None and self.server.authorization is not None:
            raise ValueError("both a token and a password in the address: leave one of them out")

    def url_of(self, request: Request) -> str:
        """Where a request goes."""
        return self.server.url + request.target

    def headers_of(self, request: Request) -> dict[str, str]:
        """A request's headers, credentials included. Raises ValueError for what cannot be sent."""
        headers = {"Accept": "application/json", "User-Agent": f"ips-client/{__version__}"}
        if authorization := self._authorization():
            headers["Authorization"] = authorization
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        headers |= {**self.headers, **request.headers}
        for name, value in headers.items():
            if not (name.isascii() and value.isascii() and (name + value).isprintable()):
                raise ValueError(
                    f"this cannot be sent: header {name!r} has characters of no header"
                )
        return headers

    def _authorization(self) -> str | None:
        if self.token is None:
            return self.server.authorization
        return f"Bearer {self.token if isinstance(self.token, str) else self.token()}"
