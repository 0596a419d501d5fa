"""Signatures by which receivers of webhooks know us: https://www.standardwebhooks.com/."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Final

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24
MOST_BYTES: Final = 64
MOST_KEYS: Final = 2


class Signer:
    """Signs with every key there is: a receiver that has either one takes it."""

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        self._keys = keys

    def headers(self, delivery: str, seconds: int, body: bytes) -> Mapping[str, str]:
        """What goes along; ``delivery`` is the same at every repetition and holds no full stop."""
        signed = b".".join([delivery.encode(), str(seconds).encode(), body])
        signatures = [
            "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
            for key in self._keys()
        ]
        return {
            "webhook-id": delivery,
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(signatures),
        }


def read_keys(text: str) -> Sequence[bytes]:
    """Keys of a file, ``whsec_<base64>``, one a line, two at most. Raises ValueError."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_KEYS:
        raise ValueError("one key or two, each on a line of its own, are needed")
    return [_read_key(number, line) for number, line in enumerate(lines, start=1)]


def _read_key(number: int, line: str) -> bytes:
    try:
        key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not line.startswith(PREFIX) or not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(
            f"line {number} is no key: whsec_ and 24 to 64 bytes in base64 are"
        ) from None
    return key
