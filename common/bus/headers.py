"""Message headers as they are on the wire: ``NATS/1.0``, then a line ``Name: value`` for each.

Written here because nats-py looks at each character of each name: half the time of a replay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION = "NATS/1.0"


def encode(headers: Mapping[str, str]) -> bytes:
    """Write a block of headers. A line break in a name or value is a ValueError."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if any("\n" in line or "\r" in line for line in lines):
        raise ValueError("a header holds a line break")
    return "\r\n".join([_VERSION, *lines, "", ""]).encode()


def decode(block: bytes) -> dict[str, str]:
    """Read a block of headers. Never fails: bytes that are no UTF-8 become U+FFFD.

    The server's own messages have their status in the first line (``NATS/1.0 408 Request
    Timeout``); it is added as ``Status`` and ``Description``.
    """
    first, *lines = block.decode(errors="replace").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    if status := first.removeprefix(_VERSION).strip():
        headers["Status"], _, headers["Description"] = status.partition(" ")
    return headers
