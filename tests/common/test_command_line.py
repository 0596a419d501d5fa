from __future__ import annotations

import subprocess
import sys

import pytest

from agent.settings import AgentSettings
from common.settings import ProgramSettings
from coordinator.settings import CoordinatorSettings
from tests.fixtures.patience import PATIENCE

PROGRAMS = [("coordinator", CoordinatorSettings), ("agent", AgentSettings)]


def call(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start a program that is to end at once."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(("module", "settings"), PROGRAMS)
def test_help_tells_every_setting(module: str, settings: type[ProgramSettings]) -> None:
    """Who asks for help gets it, and no program that runs."""
    told = call(module, "--help")
    assert told.returncode == 0, told.stderr
    assert f"usage: python -m {module}" in told.stdout
    lines = told.stdout.splitlines()
    for setting in settings.declarations().values():
        assert setting.name in lines


@pytest.mark.parametrize("module", ["coordinator", "agent"])
def test_an_argument_is_refused(module: str) -> None:
    """A setting given as an option is not passed over."""
    told = call(module, "--port", "8080")
    assert told.returncode == 2
    assert "unrecognized arguments: --port 8080" in told.stderr
