from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from common.lifecycle import StartupError
from coordinator.data_dir import DataDir, write_private
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.nats

HOLDER = """
import asyncio, sys, time
from pathlib import Path
from coordinator.data_dir import DataDir

folder = asyncio.run(DataDir.claim(Path(sys.argv[1])))
print("held", flush=True)
time.sleep(600)
"""


async def test_an_owner_is_the_same_over_restarts_and_another_elsewhere(tmp_path: Path) -> None:
    """By it a coordinator takes its own lease back."""
    async with await DataDir.claim(tmp_path / "a") as folder:
        owner = folder.owner
    async with await DataDir.claim(tmp_path / "a") as folder:
        assert folder.owner == owner
    async with await DataDir.claim(tmp_path / "b") as folder:
        assert folder.owner != owner


async def test_the_folder_is_made_with_its_parents_for_this_user_alone(tmp_path: Path) -> None:
    """What it holds is nobody else's business."""
    path = tmp_path / "x" / "y"
    async with await DataDir.claim(path):
        assert path.stat().st_mode & 0o777 == 0o700
        assert (path / "owner").stat().st_mode & 0o777 == 0o600


async def test_a_damaged_owner_is_drawn_anew(tmp_path: Path) -> None:
    """An empty one would be everybody's."""
    (tmp_path / "owner").write_text("")
    async with await DataDir.claim(tmp_path) as folder:
        assert len(folder.owner) == 32


async def test_a_folder_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    """After a while; the line names the folder, who has it, and what to do."""
    async with await DataDir.claim(tmp_path):
        with pytest.raises(StartupError) as refused:
            await DataDir.claim(tmp_path, within=0.3)
    line = str(refused.value)
    assert "\n" not in line
    assert str(tmp_path) in line
    assert f"process {os.getpid()}" in line
    assert "IPS_DATA_DIR" in line


async def test_a_folder_that_comes_free_is_waited_for(tmp_path: Path) -> None:
    """The one before may still be ending."""
    first = await DataDir.claim(tmp_path)
    claiming = asyncio.create_task(DataDir.claim(tmp_path))
    await asyncio.sleep(0.2)
    assert not claiming.done()
    first.release()
    (await claiming).release()


async def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """The kernel takes it back."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    with pytest.raises(StartupError):
        await DataDir.claim(tmp_path, within=0.1)
    process.kill()
    await process.wait()
    (await DataDir.claim(tmp_path, within=PATIENCE)).release()


@pytest.mark.parametrize("path", ["file/below", "file"])
async def test_a_folder_that_cannot_be_written_is_refused_in_one_line(
    tmp_path: Path, path: str
) -> None:
    """With the system's reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"cannot be written .*: set IPS_DATA_DIR") as refused:
        await DataDir.claim(tmp_path / path)
    assert str(tmp_path / path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_private_file_is_whole_and_private_whatever_was_there(tmp_path: Path) -> None:
    """A draft of a crash, or a file that others may read, is no harm."""
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    (tmp_path / ".secret.new").write_text("a draft that is much longer than the text")
    (tmp_path / ".secret.new").chmod(0o644)
    write_private(file, "new")
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]
