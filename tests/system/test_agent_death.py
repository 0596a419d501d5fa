"""An agent's program is killed, and stopped, while it works: nothing is lost or done twice."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from common.messages import ImageState
from common.reasons import Reason
from sandbox.images import make_image
from sandbox.programs import Agent
from tests.fixtures.leader import Leader, new_task
from tests.fixtures.nats import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from common.bus import Bus
    from sandbox.containerd import Containerd
    from sandbox.registry import Registry
    from tests.fixtures.nats import NatsServer

pytestmark = pytest.mark.system

NODE = "node-1"
MIB = 1024 * 1024


@pytest.fixture
async def leader(bus: Bus) -> Leader:
    """A leader that hears agents."""
    return await Leader.on(bus)


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """The file that holds the agent's pulls: they end when a test has removed it."""
    file = tmp_path / "hold"
    file.touch()
    return file


@pytest.fixture
async def agent(nats_server: NatsServer, tmp_path: Path, hold: Path) -> AsyncIterator[Agent]:
    """An agent whose pulls are held, not started yet."""
    settings = {
        "IPS_NATS_URL": nats_server.url,
        "IPS_RUNTIME": "simulated",
        "IPS_SIMULATED_SECONDS": "0.2",
        "IPS_SIMULATED_HOLD": str(hold),
        "IPS_HEARTBEAT_SECONDS": "0.2",
    }
    agent = Agent(tmp_path, NODE, settings, forked=True)
    yield agent
    await agent.kill()


@pytest.fixture
def stall() -> str:
    """Seconds after which a pull on the real containerd has stalled."""
    return "3600"


@pytest.fixture
async def real(
    nats_server: NatsServer, containerd: Containerd, tmp_path: Path, stall: str
) -> AsyncIterator[Agent]:
    """An agent on a real containerd, not started yet."""
    settings = {
        "IPS_NATS_URL": nats_server.url,
        "IPS_RUNTIME_ENDPOINT": f"unix://{containerd.socket}",
        "IPS_HEARTBEAT_SECONDS": "0.2",
        "IPS_STALL_SECONDS": stall,
    }
    agent = Agent(tmp_path, NODE, settings, forked=True)
    yield agent
    await agent.kill()


def outcomes_on_disk(folder: Path) -> list[Path]:
    """Files of outcomes that are not known to be stored."""
    return list(folder.glob("**/outcomes/*.json"))


async def test_killed_in_mid_pull(agent: Agent, leader: Leader, hold: Path) -> None:
    """The next run holds nothing, is asked again, and finishes the same attempt."""
    agent.start()
    first = await leader.agent()
    task = new_task()
    await leader.assign(first, task, "r/a")
    await leader.until(lambda: bool(leader.progress))
    await agent.kill()
    hold.unlink()
    agent.start()
    second = await leader.agent(lambda beat: not beat.holds, after=first)
    await leader.assign(second, task, "r/a")
    outcome = await leader.outcome(task)
    assert (outcome.instance, outcome.images[0].state) == (second.instance, ImageState.PULLED)
    assert len(await leader.records()) == 1


async def test_killed_with_an_outcome_unsent(
    agent: Agent, leader: Leader, nats_server: NatsServer, hold: Path, tmp_path: Path
) -> None:
    """What was done while NATS was dead survives the agent's own death too."""
    agent.start()
    first = await leader.agent()
    task = new_task()
    await leader.assign(first, task, "r/a")
    await nats_server.kill()
    hold.unlink()
    await eventually(lambda: bool(outcomes_on_disk(tmp_path)))
    await agent.kill()
    agent.start()
    await nats_server.start()
    assert (await leader.outcome(task)).instance == first.instance
    await eventually(lambda: not outcomes_on_disk(tmp_path))


async def test_killed_again_and_again(
    agent: Agent, leader: Leader, nats_server: NatsServer, hold: Path, tmp_path: Path
) -> None:
    """Ten deaths with an outcome on the disk, and it is stored once."""
    agent.start()
    address = await leader.agent()
    task = new_task()
    await leader.assign(address, task, "r/a")
    await nats_server.kill()
    hold.unlink()
    await eventually(lambda: bool(outcomes_on_disk(tmp_path)))
    for _ in range(10):
        await agent.kill()
        agent.start()
    await nats_server.start()
    await leader.outcome(task)
    await eventually(lambda: not outcomes_on_disk(tmp_path))
    assert len(await leader.records()) == 1


async def test_stopped_in_mid_pull(agent: Agent, leader: Leader) -> None:
    """A stop hands back what runs with a last word, without an outcome, and is soon over."""
    agent.start()
    address = await leader.agent()
    task = new_task()
    await leader.assign(address, task, "r/a")
    await leader.until(lambda: bool(leader.progress))
    await agent.terminate()
    assert agent.exit_code == 0
    await leader.until(lambda: leader.heartbeats[-1][1].leaving)
    assert leader.heartbeats[-1][1].holds == []
    assert await leader.records() == {}


async def test_stopped_twice(
    agent: Agent, leader: Leader, nats_server: NatsServer, hold: Path, tmp_path: Path
) -> None:
    """A second signal does not wait for a store that does not answer; the next run sends."""
    agent.start()
    address = await leader.agent()
    task = new_task()
    await leader.assign(address, task, "r/a")
    await nats_server.pause()
    hold.unlink()
    await eventually(lambda: bool(outcomes_on_disk(tmp_path)))
    assert agent.pid is not None
    for _ in range(2):
        os.kill(agent.pid, signal.SIGTERM)
        await eventually(lambda: "stopping" in agent.log)
    await agent.exited()
    assert agent.exit_code == 1
    nats_server.resume()
    agent.start()
    await leader.outcome(task)


@pytest.mark.containerd
@pytest.mark.parametrize("stop_first", [False, True], ids=["killed", "stopped"])
async def test_bytes_survive(
    real: Agent, leader: Leader, registry: Registry, *, stop_first: bool
) -> None:
    """What was downloaded before the agent's death is not downloaded again."""
    reference = registry.put("app", "1", make_image(4 * MIB, 4 * MIB))
    registry.faults().stall(after=3 * MIB)
    real.start()
    first = await leader.agent(lambda beat: bool(beat.runtime))
    task = new_task()
    await leader.assign(first, task, reference)
    await registry.until(lambda: registry.sent() >= 6 * MIB)
    await (real.terminate() if stop_first else real.kill())
    await registry.until(lambda: not registry.busy)
    registry.faults().heal()
    real.start()
    second = await leader.agent(lambda beat: bool(beat.runtime), after=first)
    await leader.assign(second, task, reference)
    image = (await leader.outcome(task)).images[0]
    assert image.state is ImageState.PULLED
    assert any(hit.range for hit in registry.hits), "the runtime goes on where it was"
    assert registry.sent() < 14 * MIB, "that is all of it anew"


@pytest.mark.containerd
@pytest.mark.parametrize("stall", ["1"])
async def test_stalled(real: Agent, leader: Leader, registry: Registry) -> None:
    """A registry that falls silent is a stall, and the retry goes on where it was."""
    reference = registry.put("app", "1", make_image(8 * MIB))
    registry.faults().stall(after=4 * MIB)
    real.start()
    address = await leader.agent(lambda beat: bool(beat.runtime))
    task = new_task()
    await leader.assign(address, task, reference)
    first = (await leader.outcome(task)).images[0]
    assert first.reason is Reason.STALLED
    registry.faults().heal()
    await leader.assign(address, task, reference, attempt=2)
    second = (await leader.outcome(task, 2)).images[0]
    assert second.state is ImageState.PULLED
    assert registry.sent() < 10 * MIB
