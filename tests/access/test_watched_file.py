from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from coordinator.access import watched_file
from coordinator.access.watched_file import MOST_BYTES, FileError, WatchedFile


def replace_link(folder: Path, name: str, text: str) -> None:
    """Write as the kubelet does: a new folder, and a link that is swapped."""
    made = folder / name
    made.mkdir()
    (made / "file").write_text(text)
    link = folder / "new"
    link.symlink_to(made)
    link.replace(folder / "data")


def number(text: str) -> int:
    """What is read in these tests."""
    return int(text)


def test_a_mounted_file_is_read_anew_when_its_link_is_swapped(tmp_path: Path) -> None:
    """A bad one and one that is gone leave the last good one."""
    replace_link(tmp_path, "a", "1")
    file = WatchedFile(tmp_path / "data" / "file", number)
    assert file() == 1
    replace_link(tmp_path, "b", "2")
    assert file() == 2
    replace_link(tmp_path, "c", "many")
    assert file() == 2
    (tmp_path / "data").unlink()
    assert file() == 2
    replace_link(tmp_path, "d", "3")
    assert file() == 3


@pytest.mark.parametrize("data", [None, b"many", b"\xff", b"1" * (MOST_BYTES + 1)])
def test_what_cannot_be_read_at_the_start_is_refused(tmp_path: Path, data: bytes | None) -> None:
    """With the path, so that it is found."""
    if data is not None:
        (tmp_path / "file").write_bytes(data)
    with pytest.raises(FileError, match="file"):
        WatchedFile(tmp_path / "file", number)


def test_a_file_that_is_gone_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is asked for: a large task asks for each of its nodes."""
    told: list[str] = []
    log = SimpleNamespace(
        warning=lambda message, **_: told.append(message), info=lambda *_, **__: None
    )
    monkeypatch.setattr(watched_file, "log", log)
    (tmp_path / "file").write_text("1")
    file = WatchedFile(tmp_path / "file", number)
    for _ in range(2):
        (tmp_path / "file").unlink()
        assert [file(), file(), file()] == [1, 1, 1]
        (tmp_path / "file").write_text("1")
        assert file() == 1
    assert len(told) == 2
