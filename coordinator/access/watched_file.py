"""A file that is read anew when it changes; a bad one leaves what was known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from common.logs import Log

T = TypeVar("T")
MOST_BYTES: Final = 4 * 1024 * 1024
GONE: Final = (0, 0, 0)
"""The state of a file that is not there."""

log = Log(__name__)


class FileError(ValueError):
    """The file cannot be read or understood; the text says where and why."""


class WatchedFile(Generic[T]):
    """What a file says."""

    def __init__(self, path: Path, read: Callable[[str], T]) -> None:
        """Read it. ``read`` makes something of the text, or raises ValueError. Raises FileError."""
        self._path = path
        self._read = read
        self._seen = self._state()
        self._known = self._load()

    def __call__(self) -> T:
        """What it says now; one that cannot be understood is told of once."""
        was_gone = self._seen == GONE
        try:
            state = self._state()
            if state == self._seen:
                return self._known
            self._seen = state
            self._known = self._load()
        except FileError as why:
            if not (was_gone and self._seen == GONE):
                log.warning("a file is not taken; the last good one stays", why=str(why))
        else:
            log.info("a file was read anew", path=str(self._path))
        return self._known

    def _state(self) -> tuple[int, int, int]:
        """What changes with a file, also where a mounted Secret is replaced by a link."""
        try:
            stat = self._path.stat()
        except OSError as why:
            self._seen = GONE
            raise FileError(f"{self._path}: {why.strerror}") from why
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _load(self) -> T:
        try:
            with self._path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise FileError(f"{self._path}: more than {MOST_BYTES:,} bytes")
            return self._read(data.decode())
        except OSError as why:
            raise FileError(f"{self._path}: {why.strerror}") from why
        except UnicodeDecodeError as why:
            raise FileError(f"{self._path}: no UTF-8") from why
        except ValueError as why:
            raise FileError(f"{self._path}: {why}") from why
