"""What a nats-server must be told, so that it asks the coordinators who its clients are."""

from __future__ import annotations

from typing import Any, Final

USER: Final = "ips-coordinator"
"""The one user that the server knows by itself; its password is the token of NATS."""
SYSTEM_USER: Final = "ips-system"
"""What a coordinator calls itself, with the same password, that wants to speak with the servers."""
TIMEOUT_SECONDS: Final = 5
"""How long the server waits for an answer, and a client that says nothing may stay."""


def authorization(issuer: str, password: str) -> dict[str, Any]:
    """The server's setting ``authorization``. ``issuer``: the public part of the key.

    Without an ``accounts`` block: whatever was stored before there were identities stays in reach.
    """
    return {
        "timeout": TIMEOUT_SECONDS,
        "users": [{"user": USER, "password": password}],
        "auth_callout": {"issuer": issuer, "auth_users": [USER]},
    }
