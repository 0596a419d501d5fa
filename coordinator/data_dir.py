"""The coordinator's folder: it has it to itself, and by it is known again after a restart.

Two nats-servers on one store silently lose data (tried), and two coordinators that take each other
for themselves would both lead. So whoever uses the folder holds a lock that the kernel takes back
when the last process that has it open is gone, a child included.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from common.lifecycle import StartupError

if TYPE_CHECKING:
    from pathlib import Path

WAIT_SECONDS = 10.0
"""For a coordinator, or its nats-server, that is about to end."""
_ASK_AGAIN_SECONDS = 0.1
_OWNER = re.compile(r"[0-9a-f]{32}")


class DataDir:
    """A folder that is claimed. Use it as ``async with await DataDir.claim(path) as folder``."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock
        """File descriptor of the lock; a child that inherits it holds the lock, too."""
        self.owner = _owner(path)
        """Random and the same for ever: who uses this folder, whichever process it is."""

    @classmethod
    async def claim(cls, path: Path, *, within: float = WAIT_SECONDS) -> Self:
        """Make the folder where it is missing and take its lock, waiting so many seconds.

        Raises StartupError, naming the folder, when it cannot be written or stays locked.
        """
        lock = _open_lock(path)
        try:
            await _take(lock, path, time.monotonic() + within)
            return cls(path, lock)
        except BaseException:
            os.close(lock)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have the folder; a child that inherited the lock keeps it until it ends."""
        os.close(self.lock)


def _open_lock(path: Path) -> int:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error


async def _take(lock: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StartupError(_busy(lock, path)) from None
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            return
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


def _busy(lock: int, path: Path) -> str:
    pid = os.pread(lock, 20, 0).decode(errors="replace") or "unknown"
    return (
        f"the data directory {path} is in use by another coordinator (process {pid}) or by its "
        "nats-server: stop it, or set IPS_DATA_DIR to another folder"
    )


def _unwritable(path: Path, error: OSError) -> StartupError:
    return StartupError(
        f"the data directory {path} cannot be written ({error.strerror}): set IPS_DATA_DIR"
    )


def _owner(path: Path) -> str:
    file = path / "owner"
    with suppress(OSError):
        owner = file.read_text().strip()
        if _OWNER.fullmatch(owner):
            return owner
    owner = secrets.token_hex(16)
    try:
        write_private(file, owner)
    except OSError as error:
        raise _unwritable(path, error) from error
    return owner


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = file.with_name(f".{file.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(descriptor, 0o600)
        stream.write(text)
    draft.replace(file)


def write_once(file: Path, text: str) -> None:
    """Write such a file where there is none: whoever comes first, and never over another one."""
    if file.exists():
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    write_private(draft, text)
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
