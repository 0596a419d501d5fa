"""How to reach the bus, and with what credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


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
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    creds: Path | None = None
    ca: Path | None = None
    backoff_ceiling: float = 2.0
    """Longest wait in seconds before the next try to connect; each wait is drawn from zero up."""

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        name: str = "ips",
        token: str | None = None,
        token_file: Path | None = None,
        creds: Path | None = None,
        ca: Path | None = None,
    ) -> BusSettings:
        """Read ``IPS_NATS_URL``: one URL, or several with commas. A bad one is a ValueError."""
        raise NotImplementedError
