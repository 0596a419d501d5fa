"""The file with the keys that credentials are sealed with: one, or two while one is changed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from nacl.secret import SecretBox
from nacl.utils import random

MOST_KEYS: Final = 2


def new_secretbox_key() -> str:
    """A line of such a file, of random bytes."""
    return base64.b64encode(random(SecretBox.KEY_SIZE)).decode()


def read_secretbox_keys(text: str) -> Sequence[bytes]:
    """Keys of 32 bytes in base64, one a line, the one that seals first. Raises ValueError."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_KEYS:
        raise ValueError("one key or two, each on a line of its own, are needed")
    return [_read_key(number, line) for number, line in enumerate(lines, start=1)]


def _read_key(number: int, line: str) -> bytes:
    try:
        key = base64.b64decode(line.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != SecretBox.KEY_SIZE:
        raise ValueError(f"line {number} is no key: 32 random bytes in base64 are") from None
    return key
