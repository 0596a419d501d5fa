"""What a browser keeps for us, sealed so that it can be neither read nor changed: cookies.

Sealed by Fernet of the package ``cryptography`` (AES-CBC and HMAC-SHA-256). The first key seals,
every key opens, so that a key can be changed while browsers still hold what the last one sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeVar

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from msgspec import Meta

from common.messages import NOT_DECODABLE
from coordinator.access.callers import MOST_GROUPS, NAME_CHARACTERS, Way

COOKIE_CHARACTERS: Final = 3800
"""A browser keeps 4,096 bytes of a cookie, its name and attributes included (RFC 6265, 6.1)."""
LOGIN_SECONDS: Final = 600.0
"""Within which a login must have come back from the issuer."""

_Short = Annotated[str, Meta(max_length=256)]
_Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)]


class TokenSession(msgspec.Struct, frozen=True, tag="token", kw_only=True):
    """A session that stands on a token: it ends when that does, since it is asked about again."""

    token: Annotated[str, Meta(min_length=1, max_length=COOKIE_CHARACTERS)]
    until: float


class CallerSession(msgspec.Struct, frozen=True, tag="caller", kw_only=True):
    """A session of somebody whom an issuer has named."""

    user: _Name
    groups: Annotated[tuple[_Name, ...], Meta(max_length=MOST_GROUPS)]
    way: Way
    until: float


class Login(msgspec.Struct, frozen=True, tag="login", kw_only=True):
    """A login that has gone to the issuer and is to come back."""

    state: _Short
    nonce: _Short
    verifier: _Short
    place: Annotated[str, Meta(max_length=512)]
    """Where the page is to go afterwards, from ``#`` on."""
    until: float


SealedSession = TokenSession | CallerSession
Sealed = TokenSession | CallerSession | Login
S = TypeVar("S", bound=Sealed)


class NoKeysError(Exception):
    """The keys are not there yet."""


class TooLargeError(Exception):
    """A browser would not keep it."""


class Seal:
    """Seals and opens with the keys of the moment."""

    def __init__(self, keys: Callable[[], Sequence[bytes]], clock: Callable[[], float]) -> None:
        """``keys``: Fernet keys, the one that seals first; ``clock``: seconds since 1970."""
        self._keys = keys
        self._clock = clock

    def seal(self, content: Sealed) -> str:
        """Make a cookie's value. Raises NoKeysError, TooLargeError."""
        sealed = self._box().encrypt(msgspec.json.encode(content)).decode()
        if len(sealed) > COOKIE_CHARACTERS:
            raise TooLargeError
        return sealed

    def open(self, sealed: str, kinds: type[S] | tuple[type[S], ...]) -> S | None:
        """What was sealed; None where it is none of these kinds, not ours, or over.

        Raises NoKeysError.
        """
        if len(sealed) > COOKIE_CHARACTERS:
            return None
        try:
            content: Sealed = msgspec.json.decode(self._box().decrypt(sealed), type=Sealed)
        except (InvalidToken, ValueError, *NOT_DECODABLE):
            return None
        if not isinstance(content, kinds) or content.until <= self._clock():
            return None
        return content

    def _box(self) -> MultiFernet:
        keys = self._keys()
        if not keys:
            raise NoKeysError
        return MultiFernet([Fernet(key) for key in keys])
