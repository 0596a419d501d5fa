"""A program as a child in a process group of its own, to be paused, ended and killed at will.

It dies with the thread that started it (PR_SET_PDEATHSIG), even one that dies by SIGKILL. Objects
belong to no event loop: whichever runs may wait for the end, which the kernel announces (pidfd).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

_DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")  # unlike a preexec_fn safe beside threads
_PARENT_LIVES = ("sh", "-c", 'test "$PPID" = "$0" && exec "$@"')
"""A parent that died before setpriv had asked for its death is not told of: so it is looked at."""


class Process(Protocol):
    """A process that was started, in a group of its own."""

    @property
    def pid(self) -> int:
        """Its id, and its group's."""

    def poll(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""

    def over(self) -> int:
        """A new file descriptor, readable once it has ended; the caller closes it."""


class _Spawned(subprocess.Popen[bytes]):
    """A process that this one has started by fork and exec."""

    def over(self) -> int:
        """The kernel announces the end (pidfd)."""
        return os.pidfd_open(self.pid)


class Child:
    """A program that can be run again and again, one process at a time; what it says is kept."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._log = log
        self._env = env
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs, paused or not."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs and before it is started."""
        return None if self._process is None else self._process.poll()

    @property
    def log(self) -> str:
        """What it has written to both its outputs, over all its runs."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start the program. Raises RuntimeError while it runs, OSError where it cannot."""
        if self.pid is not None:
            raise RuntimeError(f"{self._command[0]} runs already")
        with self._log.open("ab") as log:
            self._process = self._run(log)

    def _run(self, log: BinaryIO) -> Process:
        return _Spawned(
            [*_DIES_WITH_PARENT, *_PARENT_LIVES, str(os.getpid()), *self._command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=self._env,
            process_group=0,
        )

    async def exited(self) -> None:
        """Wait until it does not run."""
        if self._process is None or self._process.poll() is not None:
            return
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        descriptor = self._process.over()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._process.poll()

    async def terminate(self, *, within: float = 60.0) -> None:
        """Ask it to end (SIGTERM) and wait. Raises TimeoutError after so many seconds."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        async with asyncio.timeout(within):
            await self.exited()

    async def kill(self) -> None:
        """End it and all of its group with SIGKILL, whatever state it is in, and wait."""
        self._signal(signal.SIGKILL)
        await self.exited()

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP): its sockets accept and never answer.

        Returns when it really stands, which on a busy machine takes some milliseconds: until then
        it would still answer.
        """
        pid = self.pid
        if pid is not None:
            os.killpg(pid, signal.SIGSTOP)
            wait_until_it_stands(pid)

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.killpg(self.pid, number)


def wait_until_it_stands(pid: int) -> None:
    """Wait until every thread of a process has been stopped, or the process is gone.

    The thread that is to see a SIGSTOP may wait for a core, and the others go on meanwhile.
    """
    while not all(_stands(thread) for thread in _threads(pid)):
        time.sleep(0.001)


def _threads(pid: int) -> list[Path]:
    with suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _stands(thread: Path) -> bool:
    """Whether it is stopped (proc(5)), or there no more."""
    try:
        return (thread / "stat").read_text().rpartition(") ")[2][:1] in "TtZX"
    except OSError:
        return True
