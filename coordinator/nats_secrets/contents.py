"""What each Secret is to hold, given what it holds: what is missing is made, what ends is renewed.

Pure but for the drawing of keys. A value that is there and cannot be used is an error and stays: it
may be somebody's own.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

from coordinator.callout.signing_key import SigningKey, new_seed
from coordinator.nats_secrets.authority import SERVER_LEFT, Authority, Pair, is_of_one_key

TOKEN: Final = "token"  # noqa: S105 -- a key's name
"""Of the servers' Secret: the password of the coordinators, and of whoever administrates NATS."""
ISSUER: Final = "issuer"
"""The public part of the coordinators' key, whose word the servers take."""
ROUTE: Final = "route"
"""What the servers know one another by."""
CALLOUT_KEY: Final = "callout-key"
AUTHORITY: Final = ("ca.crt", "ca.key")
CERTIFICATE: Final = ("tls.crt", "tls.key")
"""As Kubernetes and cert-manager name them."""
TRUSTED: Final = "ca.crt"
KNOWN_BY_COORDINATORS: Final = (CALLOUT_KEY, "ca.key")
KNOWN_BY_SERVERS: Final = (TOKEN, ISSUER, ROUTE)
"""What nobody makes anew under servers that run: they go on by what they were started with."""

Contents = dict[str, str]


class SecretData:
    """The ``data`` of a Secret: base64 by key. None: there is no Secret yet."""

    def __init__(self, data: Mapping[str, str] | None) -> None:
        self.is_there = data is not None
        self._data = data or {}

    def get(self, key: str) -> str:
        """The text under a key, without blanks around it; empty where there is none.

        Raises ValueError for what is no text.
        """
        try:
            return base64.b64decode(self._data.get(key, ""), validate=True).decode().strip()
        except (binascii.Error, UnicodeDecodeError):
            raise ValueError(f"its key {key!r} holds no text") from None

    def pair(self, keys: tuple[str, str]) -> Pair | None:
        """A certificate and its key; None where there is neither."""
        found = [self.get(key) for key in keys]
        return Pair(*(f"{text}\n" for text in found)) if any(found) else None


class LostError(ValueError):
    """What servers and coordinators that run know one another by is gone, or is another."""


def encoded(contents: Mapping[str, str]) -> dict[str, str]:
    """As the API server takes it."""
    return {key: base64.b64encode(text.encode()).decode() for key, text in contents.items()}


def of_coordinators(
    held: SecretData, now: datetime, *, tls: bool, left: timedelta = SERVER_LEFT
) -> Contents:
    """What nobody but coordinators reads: their key, and the authority's.

    ``left``: how long an authority of somebody's own must be good for. Raises ValueError.
    """
    seed = held.get(CALLOUT_KEY) or new_seed()
    SigningKey(seed)
    if not tls:
        return {CALLOUT_KEY: seed}
    pair = held.pair(AUTHORITY)
    authority = Authority.new(now) if pair is None else Authority.read(pair).kept_up(now, left)
    return {CALLOUT_KEY: seed, **dict(zip(AUTHORITY, authority.pair, strict=True))}


def of_servers(
    held: SecretData, coordinators: Contents | None, hosts: Collection[str], now: datetime
) -> Contents:
    """What the servers of NATS are started with. Raises ValueError.

    Without ``coordinators``, whose Secret holds the keys, it is a token alone.
    """
    token = held.get(TOKEN)
    if held.is_there and not token:  # somebody's own, and not yet what it is to be
        raise ValueError(f"it has no key {TOKEN!r}")
    token = token or random_word()
    if coordinators is None:
        return {TOKEN: token}
    contents = {
        TOKEN: token,
        ISSUER: SigningKey(coordinators[CALLOUT_KEY]).issuer,
        ROUTE: held.get(ROUTE) or random_word(),
    }
    if AUTHORITY[0] not in coordinators:
        return contents
    authority = Authority.read(Pair(*(coordinators[key] for key in AUTHORITY)))
    pair = held.pair(CERTIFICATE)
    if pair is None or not authority.vouches_for(pair, hosts, now):
        pair = authority.issue(hosts, now)
    return {
        **contents,
        **dict(zip(CERTIFICATE, pair, strict=True)),
        TRUSTED: authority.pair.certificate,
    }


def of_agents(coordinators: Contents) -> Contents:
    """What agents check the servers by: no secret."""
    return {TRUSTED: coordinators[AUTHORITY[0]]}


def check_kept(held: SecretData, keys: Collection[str], taken: Contents) -> None:
    """Whether a Secret still holds what was taken of it under these keys. Raises LostError."""
    for key in keys:
        found = held.get(key)
        if key in taken and not found:
            raise LostError(f"it has no key {key!r}")
        if key in taken and found != taken[key].strip():
            raise LostError(f"under {key!r} it holds another one than this coordinator has taken")


def is_of_others(held: SecretData, wanted: Contents) -> bool:
    """Whether servers that were started with what is held will not take what is wanted."""
    issuer, trusted = held.get(ISSUER), held.get(TRUSTED)
    if issuer and issuer != wanted.get(ISSUER, issuer):
        return True
    return bool(trusted) and not is_of_one_key(trusted, wanted.get(TRUSTED, trusted))


def changes(held: SecretData, wanted: Contents) -> Contents:
    """What of a Secret is not as it is to be."""
    return {key: text for key, text in wanted.items() if held.get(key) != text.strip()}


def random_word() -> str:
    """What nobody guesses. A letter comes first: to NATS 12e3… would be a number."""
    return f"t{secrets.token_hex(24)}"
