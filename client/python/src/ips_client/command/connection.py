"""The client that a command uses."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from ips_client.client import Client
from ips_client.session import DEFAULT_SERVER


def settings(arguments: Namespace) -> dict[str, Any]:
    """What the options say about the connection, as ``Client`` and ``AsyncClient`` take it."""
    found: dict[str, Any] = {"server": arguments.server or DEFAULT_SERVER}
    if arguments.patience is not None:
        found |= {"patience": arguments.patience, "follow_patience": arguments.patience}
    return found


def connect(arguments: Namespace) -> Client:
    """A client for the server that the options name. Raises ValueError for a wrong address."""
    return Client(**settings(arguments))
