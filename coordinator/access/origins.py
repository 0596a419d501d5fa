"""Requests that a page of another site made a browser send, known by what browsers say of them.

Browsers send ``Sec-Fetch-Site`` and ``Origin`` and let no page change them; programs send neither.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_OWN: Final = frozenset({"same-origin", "none"})
"""``none``: the user's own doing, not a page's."""


def is_foreign(site: str | None, origin: str | None, host: str | None, own: str | None) -> bool:
    """Whether a request comes from a page of another origin.

    ``site``, ``origin``, ``host``: its ``Sec-Fetch-Site``, ``Origin`` and ``Host``; ``own``: the
    origin that the service is known by (``IPS_PUBLIC_URL``), without which the host counts.
    """
    if site is not None and site not in _OWN:
        return True
    if origin is None:
        return False
    if own is not None and origin == own:
        return False
    # What stands before a proxy with TLS cannot be known: the host alone is compared.
    return host is None or _authority(origin) != host.lower()


def is_stranger(host: str | None, own: str | None) -> bool:
    """Whether a ``Host`` that came to loopback is a name which somebody made point there.

    An address is none: whoever rebinds a name has to use one (DNS rebinding).
    """
    if host is None:  # HTTP/1.0, which no browser speaks
        return False
    name = _name(host)
    if name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return False
    return own is None or _authority(own) != host.lower()


def origin_of(url: str) -> str:
    """Scheme and authority of an address, as browsers write an origin."""
    parts = urlsplit(url)
    port = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(port)}"


def _authority(origin: str) -> str:
    return origin.partition("://")[2].lower()


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
