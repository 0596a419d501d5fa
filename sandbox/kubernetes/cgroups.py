"""Control groups of one cluster: a folder of its name in each hierarchy, removed with all in it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
_CPUSET: Final = ("cpuset.cpus", "cpuset.mems")
_BUSY_SECONDS: Final = 5.0
_PROBE_SECONDS: Final = 0.05


def make(group: str) -> None:
    """Make a group, ``parent/child`` perhaps, in every hierarchy. Raises OSError."""
    for hierarchy in _hierarchies():
        folder = hierarchy
        for part in Path(group).parts:
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            for name in _CPUSET:
                # A new group may use nothing until it is told, and then no more than its parent.
                if (folder / name).exists() and not (folder / name).read_text().strip():
                    (folder / name).write_text((parent / name).read_text())


def remove(group: str) -> None:
    """End what still is in a group, and remove it and those below. Raises OSError if one stays."""
    deadline = time.monotonic() + _BUSY_SECONDS
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / group, topdown=False):
            while True:
                _kill(Path(folder))
                try:
                    Path(folder).rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_PROBE_SECONDS)  # a process takes a moment to end
                else:
                    break


def _kill(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def _hierarchies() -> Iterator[Path]:
    """Every hierarchy of this machine: one for each controller (v1), or the only one (v2)."""
    if (_ROOT / "cgroup.controllers").exists():
        yield _ROOT
        return
    for folder in sorted(_ROOT.iterdir()):
        if folder.is_dir() and not folder.is_symlink():
            yield folder
