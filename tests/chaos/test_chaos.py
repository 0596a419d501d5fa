"""Two minutes of chaos on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MINUTES = 2
SEED = 1
LONGEST = 1800
"""Seconds; on a busy machine all of it takes longer, and nothing that is asserted depends on it."""


@pytest.mark.chaos
@pytest.mark.deep
@pytest.mark.timeout(LONGEST + 60)
def test_nothing_is_lost_and_nothing_doubled(tmp_path: Path) -> None:
    """Each kind of fault befalls a cluster once at least, and then the ledger finds no breach."""
    containerds = 3 if os.geteuid() == 0 else 0
    program = [sys.executable, "-m", "sandbox.chaos", "--logs", str(tmp_path)]
    options = ["--minutes", str(MINUTES), "--seed", str(SEED), "--containerds", str(containerds)]
    done = subprocess.run(
        [*program, *options], stdout=subprocess.PIPE, text=True, timeout=LONGEST, check=False
    )
    assert done.returncode == 0, done.stdout
