"""Programs forked from a process that has imported them already: their starts cost no imports.

A start by fork and exec spends most of a second of CPU on imports, and the tests start some hundred
programs. The process that forks is the standard library's fork server. Whatever a program does from
the first line of its ``__main__`` on is the same; its memory is not.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext
    from pathlib import Path
    from typing import Self

_IMPORTED = ["agent.main", "coordinator.main", "common.command_line", "ips_client.command.program"]
_PR_SET_PDEATHSIG = 1  # prctl(2)
_FIRST_CLOSED_BY_EXEC = 3
"""Among them what keeps the fork server alive, which is to be ours alone."""


@dataclass(frozen=True)
class Streams:
    """Paths of files that are there: what a program reads, and where it writes."""

    stdout: str
    stderr: str
    stdin: str = os.devnull

    @classmethod
    def to_one_log(cls, log: Path) -> Self:
        """Both outputs into one file, and nothing to read."""
        return cls(str(log), str(log))


class Forked:
    """``python -m <module> <words>``, in a group of its own; it dies with this process.

    ``env`` is its whole environment.
    """

    def __init__(
        self, module: str, streams: Streams, env: Mapping[str, str], words: Sequence[str] = ()
    ) -> None:
        context = _fork_server()
        here, there = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_run, args=(module, streams, dict(env), words, there), name=module, daemon=True
        )
        with here:
            self._process.start()
            there.close()
            here.recv()  # from here on it has its group, and its log
        self.pid = cast("int", self._process.pid)

    def poll(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.exitcode

    def over(self) -> int:
        """A new file descriptor, readable once it has ended; the caller closes it."""
        return os.dup(self._process.sentinel)


@cache
def _fork_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


def _run(
    module: str,
    streams: Streams,
    env: Mapping[str, str],
    words: Sequence[str],
    started: Connection,
) -> None:
    """Be the program: what an exec would have set up, then its ``__main__``."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # of the fork server, which has ours
    _open_as(0, streams.stdin, os.O_RDONLY)
    _open_as(1, streams.stdout, os.O_WRONLY | os.O_APPEND)
    _open_as(2, streams.stderr, os.O_WRONLY | os.O_APPEND)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [module, *words]
    started.send(None)
    started.close()
    os.closerange(_FIRST_CLOSED_BY_EXEC, os.sysconf("SC_OPEN_MAX"))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _open_as(number: int, path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    os.dup2(descriptor, number)
    if descriptor != number:
        os.close(descriptor)
