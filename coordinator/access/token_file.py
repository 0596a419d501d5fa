"""A file of hashed tokens: a line for each, with the name and the groups of whoever holds it.

``sha256:<hex> name group,group``. Tokens are long and random, so that a plain hash tells nothing of
them; ``python -m coordinator hash-token`` makes both.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from common.logs import Log
from coordinator.access.callers import MOST_GROUPS, Caller, UnknownCredentialError, Way, is_name

TOKEN_BYTES: Final = 32
LEAST_CHARACTERS: Final = 32
"""Of a token that somebody brings: what is shorter may be guessed from its hash."""
_PREFIX: Final = "sha256:"
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_COLUMNS: Final = (2, 3)

log = Log(__name__)


class TokenFileError(ValueError):
    """The file cannot be read or understood; the text says where and why."""


class TokenFile:
    """Identifies callers by their tokens. Reads the file anew when it has changed."""

    def __init__(self, path: Path) -> None:
        """Read it. Raises TokenFileError."""
        self._path = path
        self._seen = _state(path)
        self._callers = _read(path)

    def identify(self, token: str) -> Caller:
        """Whose token this is. Raises UnknownCredentialError."""
        self._read_if_changed()
        caller = self._callers.get(hash_of(token))
        if caller is None:
            raise UnknownCredentialError
        return caller

    def _read_if_changed(self) -> None:
        """A file that cannot be understood leaves what was known, and is told of once."""
        try:
            state = _state(self._path)
            if state == self._seen:
                return
            self._seen = state
            self._callers = _read(self._path)
        except TokenFileError as why:
            log.warning("the file of tokens is not taken; the last good one stays", why=str(why))
        else:
            log.info("the file of tokens was read anew", tokens=len(self._callers))


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


def _state(path: Path) -> tuple[int, int, int]:
    """What changes with a file, also where a mounted Secret is replaced by a link."""
    try:
        stat = path.stat()
    except OSError as why:
        raise TokenFileError(f"{path}: {why.strerror}") from why
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> Mapping[str, Caller]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as why:
        raise TokenFileError(f"{path}: {why}") from why
    callers: dict[str, Caller] = {}
    for number, text in enumerate(lines, start=1):
        parts = text.split()
        if not parts or parts[0].startswith("#"):
            continue
        hashed, caller = _caller(f"{path}:{number}", parts)
        if hashed in callers:
            raise TokenFileError(f"{path}:{number}: the same token a second time")
        callers[hashed] = caller
    return callers


def _caller(place: str, parts: list[str]) -> tuple[str, Caller]:
    """What a line says. No message repeats a first column that is no hash: it may be a token."""
    if len(parts) not in _COLUMNS or _HASH.fullmatch(parts[0]) is None:
        raise TokenFileError(f"{place}: a line is sha256:<64 hex digits> name group,group")
    groups = tuple(parts[2].split(",")) if len(parts) > _COLUMNS[0] else ()
    if len(groups) > MOST_GROUPS or not all(map(is_name, (parts[1], *groups))):
        raise TokenFileError(f"{place}: a name of 1 to 256 printable characters is needed")
    return parts[0], Caller(user=parts[1], groups=groups, way=Way.TOKENS)
