"""Where clusters keep their files, and what is left of those whose program was killed.

A cluster's folder is locked for as long as its program lives, and its control group has the
folder's name: so everything that is left of a dead one can be found, and nothing else is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sandbox.kubernetes import cgroups

_PREFIX: Final = "ips-cluster-"
_LOCK: Final = "lock"


@contextlib.contextmanager
def cluster_folder() -> Iterator[Path]:
    """A new folder for a cluster, which vanishes with its control groups in the end."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            _remove(folder)


def remove_leftovers() -> list[str]:
    """Remove what killed programs left; the names of what there was. Raises OSError."""
    removed = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        with contextlib.suppress(FileNotFoundError), (folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its program lives
            _kill_machines(folder)
            _remove(folder)
            removed.append(folder.name)
    return removed


def _remove(folder: Path) -> None:
    cgroups.remove(folder.name)
    shutil.rmtree(folder)


def _kill_machines(folder: Path) -> None:
    """End machines that outlived their program, all of them by their first process."""
    for record in folder.glob("*/pid"):
        pid = int(record.read_text() or 0)
        with contextlib.suppress(OSError):
            # An id may be somebody else's by now: a machine's first process names its folder.
            if str(record.parent) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
