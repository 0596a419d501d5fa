"""What is on the disk survives any death, and what is broken there breaks nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.spool import Spool
from common.lifecycle import StartupError
from common.messages import Outcome
from common.subjects import AttemptKey
from sandbox.programs import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = "node-1.example"
TASK = "task-20260116-151234-0000000a"
KEY = AttemptKey(TASK, NODE, 1)
OUTCOME = msgspec.json.encode(Outcome(seconds=1.5, instance="0123456789abcdef"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the outcomes are."""
    return tmp_path / "agent" / NODE / "outcomes"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    """A spool that is open."""
    with Spool(folder, NODE) as spool:
        yield spool


def reopened(folder: Path) -> list[tuple[AttemptKey, bytes]]:
    """What the next run finds."""
    with Spool(folder, NODE) as spool:
        return spool.load()


def test_round_trip(folder: Path) -> None:
    """What was written is found by the next run, in the order in which it was written."""
    keys = [AttemptKey(TASK, NODE, 2), KEY, AttemptKey(TASK[:-1] + "b", NODE, 1)]
    with Spool(folder, NODE) as spool:
        for number, key in enumerate(keys):
            spool.write(key, OUTCOME)
            os.utime(folder / f"{key.task}.{key.attempt}.json", (number, number))
    assert reopened(folder) == [(key, OUTCOME) for key in keys]


def test_remove(spool: Spool) -> None:
    """What was removed is gone, and removing it once more is no fault."""
    spool.write(KEY, OUTCOME)
    spool.remove(KEY)
    spool.remove(KEY)
    assert spool.load() == []


@pytest.mark.parametrize(
    "content",
    [b"", OUTCOME[:-1], b"\xff\x00", b"[]", b'{"images": 3}', b'{"instance": "\xff"}'],
)
def test_unreadable(spool: Spool, folder: Path, content: bytes) -> None:
    """A broken file is set aside, and the others are read."""
    other = AttemptKey(TASK, NODE, 2)
    spool.write(KEY, content)
    spool.write(other, OUTCOME)
    assert spool.load() == [(other, OUTCOME)]
    assert spool.load() == [(other, OUTCOME)]
    assert (folder / f"{TASK}.1.unreadable").read_bytes() == content


def test_what_is_no_file_is_set_aside(spool: Spool, folder: Path) -> None:
    """Whoever opens a pipe that nobody writes to waits for ever."""
    other = AttemptKey(TASK, NODE, 2)
    os.mkfifo(folder / f"{TASK}.1.json")
    (folder / f"{TASK}.3.json").mkdir()
    spool.write(other, OUTCOME)
    assert spool.load() == [(other, OUTCOME)]
    assert sorted(name for name, _ in spool.unreadable) == [f"{TASK}.1.json", f"{TASK}.3.json"]
    assert spool.load() == [(other, OUTCOME)]


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "task-1.1.json", f"{TASK}.0.json", f"{TASK}.json", f"{TASK}.1.json.bak", ".json"],
)
def test_foreign(spool: Spool, folder: Path, name: str) -> None:
    """Files of others are left alone."""
    (folder / name).write_text("not ours")
    assert spool.load() == []
    assert (folder / name).read_text() == "not ours"


def test_unfinished(spool: Spool, folder: Path) -> None:
    """What was being written when the agent died is no outcome, and is cleaned away."""
    (folder / f"{TASK}.1.unfinished").write_bytes(OUTCOME[:10])
    assert spool.load() == []
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_disk_refuses(spool: Spool, folder: Path) -> None:
    """A disk that refuses is an OSError and leaves nothing half written."""
    (folder / f"{TASK}.1.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        spool.write(KEY, OUTCOME)
    assert not list(folder.glob("*.unfinished"))


def test_locked(spool: Spool, folder: Path) -> None:
    """A second agent on the same folder is refused in one line; a folder that is left is free."""
    with pytest.raises(StartupError, match="another agent uses") as refusal, Spool(folder, NODE):
        pass
    assert "\n" not in str(refusal.value)
    spool.__exit__(None, None, None)
    assert reopened(folder) == []


def test_no_folder(tmp_path: Path) -> None:
    """A data directory that cannot be made is one line that says what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="set IPS_DATA_DIR"), Spool(tmp_path / "file/x", NODE):
        pass


def test_killed(folder: Path) -> None:
    """Everything that was written before SIGKILL is there after it, whole."""
    write_for_ever = f"""
import itertools, pathlib
from agent.spool import Spool
from common.subjects import AttemptKey
with Spool(pathlib.Path({str(folder)!r}), {NODE!r}) as spool:
    for attempt in itertools.count(1):
        spool.write(AttemptKey({TASK!r}, {NODE!r}, attempt), {OUTCOME!r})
        print(attempt, flush=True)
"""
    command = [sys.executable, "-c", write_for_ever]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as writer:
        assert writer.stdout is not None
        written = [int(writer.stdout.readline()) for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
        written += [int(line) for line in writer.stdout]
    found = reopened(folder)
    assert {key.attempt for key, _ in found} >= set(written)
    assert {content for _, content in found} == {OUTCOME}
    assert not list(folder.glob("*.unreadable"))
