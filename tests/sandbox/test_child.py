from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.child import Child

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTS_A_CHILD = """
import sys
from pathlib import Path
from sandbox.child import Child
Child(["sh", "-c", f"echo $$ > {sys.argv[1]}; exec sleep infinity"], Path("/dev/null")).start()
sys.stdin.read()
"""


@pytest.fixture
async def child(tmp_path: Path) -> Child:
    """Have a program that waits for ever."""
    return Child(["sleep", "infinity"], tmp_path / "log")


@pytest.fixture
def said_pid(tmp_path: Path) -> Path:
    """Have a pipe through which a shell can say a process id: reading it waits for that."""
    os.mkfifo(pipe := tmp_path / "pid")
    return pipe


def state(child: Child) -> str:
    """Read the letter of a program's state from the kernel: T is stopped."""
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0]


@contextmanager
def ends(pid: int) -> Iterator[None]:
    """Expect a process, whoever's child, to end by what the block does, within 10 s."""
    pidfd = os.pidfd_open(pid)
    try:
        yield
        assert select.select([pidfd], [], [], 10)[0], f"process {pid} still runs"
    finally:
        os.close(pidfd)


async def test_kill_paused(child: Child) -> None:
    """SIGKILL ends a program even while it is paused."""
    child.start()
    child.pause()
    await child.kill()
    assert child.pid is None
    assert child.exit_code == -signal.SIGKILL


async def test_terminate_paused(child: Child) -> None:
    """SIGTERM ends a program even while it is paused."""
    child.start()
    child.pause()
    await child.terminate()
    assert child.exit_code == -signal.SIGTERM


async def test_terminate_ignored(child: Child) -> None:
    """A program that ignores SIGTERM is waited for just so long."""
    default = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # children inherit it
    try:
        child.start()
    finally:
        signal.signal(signal.SIGTERM, default)
    with pytest.raises(TimeoutError):
        await child.terminate(within=0.01)
    assert child.pid is not None
    await child.kill()


async def test_pause_and_resume(child: Child) -> None:
    """A paused program stands when ``pause`` returns, and goes on when it is resumed."""
    child.start()
    for _ in range(20):
        child.pause()
        assert state(child) == "T"
        child.resume()
    assert child.pid is not None
    await asyncio.to_thread(os.waitid, os.P_PID, child.pid, os.WCONTINUED | os.WNOWAIT)
    assert state(child) != "T"
    await child.kill()
    child.pause()


async def test_kill_takes_the_group(tmp_path: Path, said_pid: Path) -> None:
    """What the program started ends with it."""
    child = Child(["sh", "-c", f"sleep infinity & echo $! > {said_pid}; wait"], tmp_path / "log")
    child.start()
    with ends(int(await asyncio.to_thread(said_pid.read_text))):
        await child.kill()


async def test_log_and_environment(tmp_path: Path) -> None:
    """Both outputs of all runs are kept, and the environment is what was given."""
    env = {"WORD": "hello", "PATH": os.environ["PATH"]}
    child = Child(["sh", "-c", "echo $WORD; echo and >&2"], tmp_path / "log", env=env)
    assert child.log == ""
    for _ in range(2):
        child.start()
        await child.exited()
    assert child.log == "hello\nand\n" * 2
    assert child.exit_code == 0


async def test_one_at_a_time(child: Child) -> None:
    """A program that runs is not started again."""
    child.start()
    with pytest.raises(RuntimeError, match="runs already"):
        child.start()
    await child.kill()


async def test_never_started(child: Child) -> None:
    """Ending what does not run does nothing."""
    await child.kill()
    await child.terminate()
    await child.exited()
    assert child.exit_code is None


def test_dies_with_its_parent(said_pid: Path) -> None:
    """A parent's death by SIGKILL is the program's too."""
    command = [sys.executable, "-c", _STARTS_A_CHILD, str(said_pid)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as parent,
        ends(int(said_pid.read_text())),
    ):
        parent.kill()
