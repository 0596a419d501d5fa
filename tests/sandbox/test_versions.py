from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.versions import Binary, find, installed, read_version


def program(folder: Path, version: str) -> Path:
    """Make a containerd that does nothing but tell its version as Debian's do."""
    folder.mkdir(parents=True)
    path = folder / "containerd"
    path.write_text(f"#!/bin/sh\necho containerd github.com/containerd/containerd {version}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have an empty cache, and nothing on PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "cache" / "ips" / "containerd"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("1.6.20~ds1 1.6.20~ds1-1+deb12u3", "1.6.20"),
        ("2.1.9+unknown ", "2.1.9"),
        ("v2.0.0", "2.0.0"),
    ],
)
def test_read_version(tmp_path: Path, said: str, version: str) -> None:
    """A version is three numbers, whatever a distribution adds."""
    path = program(tmp_path / "x", said)
    assert read_version(path) == Binary(path, version)


def test_read_version_of_something_else(tmp_path: Path) -> None:
    """What tells no version is no containerd."""
    path = program(tmp_path / "x", "of a developer")
    with pytest.raises(ValueError, match="--version says"):
        read_version(path)


def test_order(fetched: Path, tmp_path: Path) -> None:
    """PATH's comes first, then the fetched ones by their numbers, not their letters."""
    program(tmp_path / "bin", "2.1.9")
    for version in ("1.10.1", "1.6.20", "1.7.24"):
        program(fetched / version, version)
    assert [binary.version for binary in installed()] == ["2.1.9", "1.6.20", "1.7.24", "1.10.1"]
    assert find().version == "2.1.9"


@pytest.mark.parametrize(
    ("line", "belongs"), [("1.6", True), ("1", True), ("1.6.2", False), ("1.60", False)]
)
def test_line(line: str, *, belongs: bool) -> None:
    """A line's name is the beginning of its versions, in whole numbers."""
    assert Binary(Path("containerd"), "1.6.20").is_of(line) is belongs


def test_find(fetched: Path) -> None:
    """A containerd is found by its line; where there is none, what gets it is named."""
    program(fetched / "1.6.20", "1.6.20")
    program(fetched / "2.2.0", "2.2.0")
    assert find("2").version == "2.2.0"
    with pytest.raises(FileNotFoundError, match=r"no containerd 1.7 .*fetch-containerds"):
        find("1.7")
