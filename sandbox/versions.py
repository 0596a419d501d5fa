"""The containerds of this machine: the one on PATH, and those that scripts/fetch-containerds got.

Drivers must work with several release lines, whose error texts and pull paths differ.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

LINES = ("1.6", "1.7", "2")
"""Release lines that the service is tested against, oldest first; ``2`` is any 2.x."""


@dataclass(frozen=True, slots=True)
class Binary:
    """A containerd program and its version, three numbers with dots."""

    path: Path
    version: str

    @property
    def ctr(self) -> Path:
        """Its own command line client, which lies beside it."""
        return self.path.with_name("ctr")

    def is_of(self, line: str) -> bool:
        """Whether it belongs to a release line, ``1.6`` or ``2`` for example."""
        return f"{self.version}.".startswith(f"{line}.")


def cache_folder() -> Path:
    """Name where fetched containerds are, one folder for each version."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ips" / "containerd"


def read_version(path: Path) -> Binary:
    """Ask a program for its version. Raises OSError, CalledProcessError; ValueError if none."""
    answer = subprocess.run([path, "--version"], check=True, capture_output=True, text=True)
    found = re.search(r" v?(\d+\.\d+\.\d+)", answer.stdout)
    if found is None:
        raise ValueError(f"{path} --version says {answer.stdout!r}")
    return Binary(path, found[1])


def installed() -> list[Binary]:
    """Find every containerd: PATH's first, then the fetched ones, oldest first."""
    on_path = shutil.which("containerd")
    fetched = [Binary(path, path.parent.name) for path in cache_folder().glob("[0-9]*/containerd")]
    fetched.sort(key=lambda binary: [int(number) for number in binary.version.split(".")])
    return [read_version(Path(on_path)), *fetched] if on_path else fetched


def find(line: str | None = None) -> Binary:
    """Choose a containerd: of a line, or the first of all. Raises FileNotFoundError."""
    for binary in installed():
        if line is None or binary.is_of(line):
            return binary
    wanted = f"containerd {line}" if line else "containerd"
    raise FileNotFoundError(
        f"no {wanted} on PATH or in {cache_folder()}: scripts/fetch-containerds"
    )
