"""A coordinator whose machine's clock is wrong, as a real process."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest

from sandbox.programs import PROJECT
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DAYS = 10 * 86_400
SHIFT = """
import pathlib, time
ahead, real = pathlib.Path(__file__).with_name("ahead"), time.time
if ahead.exists():
    seconds = float(ahead.read_text())
    time.time = lambda: real() + seconds
"""
"""Python reads it at its start: the wall clock of this one program is that of a file."""


async def test_a_clock_that_jumps_ten_days_at_a_restart_removes_nothing(
    fleet: Fleet, tmp_path: Path
) -> None:
    """Finished tasks stay, it is told in three places, and new tasks have the store's time."""
    machine = tmp_path / "machine"
    machine.mkdir()
    (machine / "sitecustomize.py").write_text(SHIFT)
    shifted = {"PYTHONPATH": f"{machine}:{PROJECT}"}
    coordinator = await fleet.add_coordinator(shifted, forked=False)
    await fleet.add_agents(1, {"IPS_SIMULATED_SECONDS": "0.1"})
    await fleet.known_nodes(1)
    first = await fleet.post(["a:1"])
    await fleet.over(first)
    await coordinator.kill()
    (machine / "ahead").write_text(str(DAYS))
    coordinator.start()
    await coordinator.ready()
    second = await fleet.post(["b:1"])
    seen = await fleet.over(second)
    async with fleet.http.get(f"{fleet.url}/api/v1/tasks/{first}") as answer:
        former = await answer.json()
        assert answer.status == HTTPStatus.OK
    created = datetime.fromisoformat(former["createdAt"])
    finished = datetime.fromisoformat(seen["finishedAt"])
    assert timedelta(0) <= finished - created < timedelta(hours=1)
    async with fleet.http.get(f"{fleet.url}/readyz") as answer:
        said = await answer.json()
        assert (answer.status, said["messageCode"]) == (HTTPStatus.OK, "clock.differs")
    assert abs(said["messageParams"]["seconds"] - DAYS) <= 1
    async with fleet.http.get(f"{fleet.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    (ahead,) = [line.split()[1] for line in lines if line.startswith("ips_clock_ahead_seconds ")]
    assert abs(float(ahead) - DAYS) <= 1
    assert "this machine's clock differs from the store's" in coordinator.log
