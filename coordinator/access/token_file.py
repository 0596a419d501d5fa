"""A file of hashed tokens: a line for each, with the name and the groups of whoever holds it.

``sha256:<hex> name group,group``. Tokens are long and random, so that a plain hash tells nothing of
them; ``python -m coordinator hash-token`` makes both.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from coordinator.access.callers import MOST_GROUPS, Caller, UnknownCredentialError, Way, is_name
from coordinator.access.watched_file import WatchedFile

TOKEN_BYTES: Final = 32
LEAST_CHARACTERS: Final = 32
"""Of a token that somebody brings: what is shorter may be guessed from its hash."""
_PREFIX: Final = "sha256:"
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_COLUMNS: Final = (2, 3)


class TokenFile:
    """Identifies callers by their tokens."""

    def __init__(self, path: Path) -> None:
        """Read the file, and anew whenever it changes. Raises FileError."""
        self._callers = WatchedFile(path, read_tokens)

    def knows(self, token: str) -> bool:
        """Whether this is somebody's token."""
        return hash_of(token) in self._callers()

    def callers(self, user: str) -> Iterable[Caller]:
        """Everybody of this name, as each of their tokens says."""
        return [caller for caller in self._callers().values() if caller.user == user]

    def identify(self, token: str) -> Caller:
        """Whose token this is. Raises UnknownCredentialError."""
        caller = self._callers().get(hash_of(token))
        if caller is None:
            raise UnknownCredentialError
        return caller


def new_token() -> str:
    """A token that nobody guesses; with a letter first, so that it looks like no option."""
    return f"ips{secrets.token_urlsafe(TOKEN_BYTES)}"


def hash_of(token: str) -> str:
    """What a line of the file has in place of a token."""
    return _PREFIX + hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def line(token: str, user: str, groups: tuple[str, ...]) -> str:
    """A line of the file. Raises ValueError, in words for whoever typed it."""
    if len(token) < LEAST_CHARACTERS or any(map(str.isspace, token)):
        raise ValueError(f"a token has at least {LEAST_CHARACTERS} characters and no white space")
    for name in (user, *groups):
        if not is_name(name) or any(map(str.isspace, name)) or "," in name:
            raise ValueError(f"{name!r} is no name: no white space, no comma, at least a letter")
    return " ".join([hash_of(token), user, ",".join(groups)]).rstrip()


def read_tokens(text: str) -> Mapping[str, Caller]:
    """Callers by the hashes of their tokens. Raises ValueError, which names the line."""
    callers: dict[str, Caller] = {}
    for number, one in enumerate(text.splitlines(), start=1):
        parts = one.split()
        if not parts or parts[0].startswith("#"):
            continue
        hashed, caller = _caller(f"line {number}", parts)
        if hashed in callers:
            raise ValueError(f"line {number}: the same token a second time")
        callers[hashed] = caller
    return callers


def _caller(place: str, parts: list[str]) -> tuple[str, Caller]:
    """What a line says. No message repeats a first column that is no hash: it may be a token."""
    if len(parts) not in _COLUMNS or _HASH.fullmatch(parts[0]) is None:
        raise ValueError(f"{place}: a line is sha256:<64 hex digits> name group,group")
    groups = tuple(parts[2].split(",")) if len(parts) > _COLUMNS[0] else ()
    if len(groups) > MOST_GROUPS or not all(map(is_name, (parts[1], *groups))):
        raise ValueError(f"{place}: a name of 1 to 256 printable characters is needed")
    return parts[0], Caller(user=parts[1], groups=groups, way=Way.TOKENS)
