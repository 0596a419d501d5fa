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
from sandbox.programs import Program
from tests.fixtures.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTS_A_CHILD = """
import sys
from pathlib import Path
from sandbox.child import Child
Child(["sh", "-c", f"echo $$ > {sys.argv[1]}; exec sleep infinity"], Path("/dev/null")).start()
sys.stdin.read()
"""

_STARTS_A_PROGRAM = """
import sys
from pathlib import Path
from sandbox.programs import Program
program = Program("{module}", "p", Path("{folder}"), {{"WORD": "hello"}}, forked={forked})
program.start()
print(program.pid, flush=True)
sys.stdin.read()
"""
MODULE = "tests.sandbox.waiting_program"


@pytest.fixture(params=["a command", "a module", "a module, forked"])
async def child(request: pytest.FixtureRequest, tmp_path: Path) -> Child:
    """Have a program that waits for ever."""
    if request.param == "a command":
        return Child(["sleep", "infinity"], tmp_path / "log")
    forked = request.param.endswith("forked")
    return Program(MODULE, "waiting", tmp_path, {"WORD": "hello"}, forked=forked)


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
    """Expect a process, whoever's child, to end by what the block does."""
    pidfd = os.pidfd_open(pid)
    try:
        yield
        assert select.select([pidfd], [], [], PATIENCE)[0], f"process {pid} still runs"
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


async def test_terminate_ignored(tmp_path: Path) -> None:
    """A program that ignores SIGTERM is waited for just so long."""
    child = Child(["sleep", "infinity"], tmp_path / "log")
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
    while state(child) == "T":
        await asyncio.sleep(0)
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


@pytest.mark.parametrize("forked", [False, True])
async def test_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked: bool) -> None:
    """Forked or not it has its settings, a group and a log of its own, and an exit code."""
    monkeypatch.setenv("IPS_STRANGE", "1")
    settings = {"WORD": "hello", "EXIT": "7"}
    program = Program(MODULE, "waiting", tmp_path, settings, forked=forked)
    for _ in range(2):
        program.start()
        await program.exited()
        assert program.exit_code == 7
    assert program.log == "('hello', True, False)\nand\n" * 2


@pytest.mark.parametrize("forked", [False, True])
def test_a_module_dies_with_its_parent(tmp_path: Path, forked: bool) -> None:
    """A parent's death by SIGKILL is the forked program's too."""
    starts = _STARTS_A_PROGRAM.format(module=MODULE, folder=str(tmp_path), forked=forked)
    command = [sys.executable, "-c", starts]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        with ends(int(parent.stdout.readline())):
            parent.kill()


async def test_a_parent_that_died_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said_pid: Path
) -> None:
    """A program whose parent has gone before it could ask to die with it does not begin."""
    child = Child(["sh", "-c", f"echo $$ > {said_pid}"], tmp_path / "log")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1)
        child.start()
    await child.exited()
    assert child.exit_code == 1


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
