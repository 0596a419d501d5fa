"""What a machine without some containerd makes of the tests that want one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.containerd

_TESTS = Path(__file__).parent / "test_containerd.py"


def run(tmp_path: Path, *, require_all: bool) -> str:
    """Run one test of each release line where there is no containerd; returns what it says."""
    nothing = {
        "PATH": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "IPS_TEST_REQUIRE_ALL": str(int(require_all)),
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "test_pull"]
    done = subprocess.run(
        [*command, str(_TESTS)], env=os.environ | nothing, stdout=subprocess.PIPE, check=False
    )
    assert done.returncode == 1
    return done.stdout.decode()


def test_missing(tmp_path: Path) -> None:
    """The indispensable line fails its tests; the others are one line at the end."""
    said = run(tmp_path, require_all=False)
    assert "2 skipped" in said
    assert "1 error" in said
    assert said.count("NOT TESTED: containerd 1.7, 2 ") == 1


def test_all_required(tmp_path: Path) -> None:
    """Where all are required, each missing one fails its tests."""
    said = run(tmp_path, require_all=True)
    assert "3 errors" in said
    assert "skipped" not in said
