from __future__ import annotations

import pytest

from agent.settings import AgentSettings
from common.settings import ProgramSettings
from coordinator.settings import CoordinatorSettings
from tests.fixtures.main_program import call

PROGRAMS = [("coordinator", CoordinatorSettings), ("agent", AgentSettings)]


@pytest.mark.parametrize(("module", "settings"), PROGRAMS)
def test_help_tells_every_setting(
    capsys: pytest.CaptureFixture[str], module: str, settings: type[ProgramSettings]
) -> None:
    """Who asks for help gets it, and no program that runs."""
    told = call(capsys, module, "--help")
    assert told.code == 0, told.stderr
    assert f"usage: python -m {module}" in told.stdout
    lines = told.stdout.splitlines()
    for setting in settings.declarations().values():
        assert setting.name in lines


@pytest.mark.parametrize("module", ["coordinator", "agent"])
def test_an_argument_is_refused(capsys: pytest.CaptureFixture[str], module: str) -> None:
    """A setting given as an option is not passed over."""
    told = call(capsys, module, "--port", "8080")
    assert told.code == 2
    assert "unrecognized arguments: --port 8080" in told.stderr
