"""The key of the coordinators: it signs what NATS is told of its users, and makes join tokens."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final, Self

import nkeys

from coordinator.data_dir import write_once

_JOINS: Final = b"ips join tokens"
_NO_SEED: Final = "it holds no seed of a NATS account (SA…)"
_SEED_PREFIX: Final = "SA"
"""Of an account's seed: NATS wants users to be signed by an account."""


class SigningKey:
    """An nkey of the kind ``account``, from its seed."""

    def __init__(self, seed: str) -> None:
        """Raises ValueError, which does not repeat the seed."""
        try:
            self._key = nkeys.from_seed(bytearray(seed.encode()))
            self.issuer = bytes(self._key.public_key).decode()
        except (ValueError, nkeys.NkeysError):
            raise ValueError(_NO_SEED) from None
        if not seed.startswith(_SEED_PREFIX):
            raise ValueError(_NO_SEED)
        self._joins = hmac.digest(seed.encode(), _JOINS, hashlib.sha256)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read it from a file. Raises ValueError, OSError."""
        return cls(file.read_text(encoding="ascii").strip())

    def sign(self, message: bytes) -> bytes:
        """Sign by Ed25519."""
        return bytes(self._key.sign(message))

    def mac(self, message: str) -> bytes:
        """What nobody can make who has no key; of a key that is derived for join tokens alone."""
        return hmac.digest(self._joins, message.encode(), hashlib.sha256)


def new_seed() -> str:
    """A seed that nobody guesses."""
    return bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_ACCOUNT)).decode()


def kept_key(file: Path) -> SigningKey:
    """The key in a file of our own, made where there is none. Raises ValueError, OSError."""
    write_once(file, new_seed())
    return SigningKey.read(file)
