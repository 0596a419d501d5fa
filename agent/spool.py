"""Keeps outcomes on disk until they are stored, so that they survive the end of the agent.

One file an outcome, named after the attempt; written whole and flushed before it gets its name, so
that a file that is there is complete. What cannot be read is set aside and never stops anything.
Losing the folder is harmless: the leader asks again, and the images are then present.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

import msgspec

from common.lifecycle import StartupError
from common.messages import NOT_DECODABLE, Outcome
from common.subjects import MAX_MESSAGE_BYTES, AttemptKey, is_task_id

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_NAME = re.compile(r"(?P<task>[a-z0-9-]+)\.(?P<attempt>[1-9][0-9]{0,8})\.json")
_UNFINISHED = ".unfinished"
_SET_ASIDE = ".unreadable"


class Spool:
    """The folder of one node's outcomes, locked while open: two agents would send each other's.

    All methods block for as long as the disk does, and raise OSError where it refuses.
    """

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder
        self._node = node
        self._open = ExitStack()
        self.unreadable: list[tuple[str, str]] = []
        """Names of the files that ``load`` could not read, and why."""

    def __enter__(self) -> Self:
        """Make the folder and lock it. Raises StartupError."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._open.enter_context((self._folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._open.close()
            raise StartupError(
                f"another agent uses {self._folder}: stop it, or give this one a folder of its own"
                " (IPS_DATA_DIR) or another name (IPS_NODE_NAME)"
            ) from None
        except OSError as error:
            self._open.close()
            raise StartupError(
                f"the data directory cannot be written: {error}; set IPS_DATA_DIR to one that can"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def write(self, key: AttemptKey, outcome: bytes) -> None:
        """Keep an encoded outcome; it is on the disk once this returns."""
        path = self._path(key)
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            with unfinished.open("wb") as file:
                file.write(outcome)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise
        self._flush_names()

    def remove(self, key: AttemptKey) -> None:
        """Let an outcome go. One that comes back after a crash is only sent once more."""
        self._path(key).unlink(missing_ok=True)

    def load(self) -> list[tuple[AttemptKey, bytes]]:
        """What a former run has left, the oldest first; encoded, and known to decode."""
        found: list[tuple[int, AttemptKey, bytes]] = []
        for path in self._folder.iterdir():
            key = self._key(path.name)
            if path.suffix == _UNFINISHED:
                with suppress(OSError):
                    path.unlink()
            elif key is not None:
                try:
                    found.append((path.stat().st_mtime_ns, key, _read(path)))
                except (OSError, ValueError, *NOT_DECODABLE) as error:
                    self._set_aside(path, str(error))
        return [(key, content) for _, key, content in sorted(found)]

    def _set_aside(self, path: Path, why: str) -> None:
        """A file that is no outcome gets another name, and is not read again."""
        self.unreadable.append((path.name, why))
        with suppress(OSError):
            path.rename(path.with_suffix(_SET_ASIDE))

    def _path(self, key: AttemptKey) -> Path:
        return self._folder / f"{key.task}.{key.attempt}.json"

    def _key(self, name: str) -> AttemptKey | None:
        """The attempt that a file is named after; None for files of others."""
        match = _NAME.fullmatch(name)
        if match is None or not is_task_id(match["task"]):
            return None
        return AttemptKey(match["task"], self._node, int(match["attempt"]))

    def _flush_names(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class ThreadedSpool:
    """A spool whose changes are made in a thread, so that a slow disk does not stop the agent."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def load(self) -> list[tuple[AttemptKey, bytes]]:
        """As ``Spool.load``: blocks, since nothing else goes on at the start."""
        return self._spool.load()

    @property
    def unreadable(self) -> Sequence[tuple[str, str]]:
        """As ``Spool.unreadable``."""
        return self._spool.unreadable

    async def write(self, key: AttemptKey, outcome: bytes) -> None:
        """As ``Spool.write``."""
        await asyncio.to_thread(self._spool.write, key, outcome)

    async def remove(self, key: AttemptKey) -> None:
        """As ``Spool.remove``."""
        await asyncio.to_thread(self._spool.remove, key)


def _read(path: Path) -> bytes:
    """Read an outcome. Raises ValueError for one that cannot be sent, NOT_DECODABLE for none."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no file")  # to open a pipe would wait for ever
    if found.st_size > MAX_MESSAGE_BYTES:
        raise ValueError(f"it is larger than {MAX_MESSAGE_BYTES} bytes")
    content = path.read_bytes()
    msgspec.json.decode(content, type=Outcome)
    return content
