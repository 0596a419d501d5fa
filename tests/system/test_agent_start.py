"""How the agent's program starts, or says in one line why it does not."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sandbox.ports import free_port
from sandbox.programs import Agent
from tests.fixtures.nats import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from common.bus import Bus
    from sandbox.containerd import Containerd
    from tests.fixtures.nats import NatsServer, StartNats

pytestmark = pytest.mark.system

NODE = "node-1"


class Starter:
    """Starts agents, all of which end with the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.agents: list[Agent] = []

    def start(self, nats: str, settings: Mapping[str, str] | None = None) -> Agent:
        """Start an agent with a simulated runtime unless told otherwise."""
        own = {"IPS_NATS_URL": nats, "IPS_RUNTIME": "simulated", "IPS_LOG_LEVEL": "warning"}
        folder = self._folder / str(len(self.agents))
        agent = Agent(folder, NODE, {**own, **(settings or {})}, forked=True)
        self.agents.append(agent)
        agent.start()
        return agent

    async def refused(self, nats: str, settings: Mapping[str, str] | None = None) -> str:
        """Start an agent that does not start; its one line."""
        agent = self.start(nats, settings)
        await agent.exited()
        assert agent.exit_code
        (line,) = agent.log.splitlines()
        assert line.startswith("cannot start: ")
        return line


@pytest.fixture
async def starter(tmp_path: Path) -> AsyncIterator[Starter]:
    """No agent yet."""
    starter = Starter(tmp_path)
    yield starter
    for agent in starter.agents:
        await agent.kill()


async def readiness(agent: Agent) -> tuple[int, str]:
    """What the probe is told; 0 while nobody answers."""
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{agent.metrics_port}/readyz") as answer,
        ):
            return answer.status, await answer.text()
    except aiohttp.ClientError:
        return 0, ""


async def until_unready(agent: Agent, *, why: str) -> None:
    """Wait until the probe is told this reason."""
    status, text = 0, ""
    while why not in text:
        status, text = await readiness(agent)
        assert agent.pid is not None, agent.last_words
        await asyncio.sleep(0.05)
    assert status == 503


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IPS_RUNTIME", "docker"),
        ("IPS_NATS_URL", ""),
        ("IPS_PARALLEL", "2"),
    ],
)
async def test_bad_setting(starter: Starter, name: str, value: str) -> None:
    """One that makes no sense, is missing or unknown is named. All values are tests/common's."""
    assert name in await starter.refused("nats://127.0.0.1:1", {name: value})


async def test_wrong_token(starter: Starter, start_nats: StartNats) -> None:
    """A NATS that will not have us says so, and the token is not shown."""
    server = await start_nats(authorization={"token": "right"})
    line = await starter.refused(server.url, {"IPS_NATS_TOKEN": "mistaken"})
    assert "IPS_NATS_TOKEN" in line
    assert "mistaken" not in line


async def test_no_jetstream(starter: Starter, start_nats: StartNats) -> None:
    """A NATS that cannot store is of no use."""
    server = await start_nats(jetstream=None)
    assert "JetStream" in await starter.refused(server.url)


async def test_port_in_use(starter: Starter, nats_server: NatsServer) -> None:
    """The port for metrics is somebody else's."""
    with socket.create_server(("", 0)) as other:
        port = str(other.getsockname()[1])
        line = await starter.refused(nats_server.url, {"IPS_AGENT_METRICS_PORT": port})
    assert "IPS_AGENT_METRICS_PORT" in line
    assert port in line


async def test_no_folder(starter: Starter, nats_server: NatsServer, tmp_path: Path) -> None:
    """The data directory cannot be written; below a file not even root can."""
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "data")
    line = await starter.refused(nats_server.url, {"IPS_DATA_DIR": folder})
    assert "IPS_DATA_DIR" in line
    assert folder in line


async def test_folder_in_use(starter: Starter, bus: Bus, nats_server: NatsServer) -> None:
    """Another agent of the same name works in the data directory, until it dies."""
    assert bus.connected
    settings = {"IPS_DATA_DIR": str(starter._folder / "shared")}
    first = starter.start(nats_server.url, settings)
    await first.ready()
    assert "another agent uses" in await starter.refused(nats_server.url, settings)
    await first.kill()
    await starter.start(nats_server.url, settings).ready()


async def test_nats_is_waited_for(starter: Starter, nats_server: NatsServer) -> None:
    """Without NATS the agent lives, is not ready, says why, and is ready once NATS is there."""
    await nats_server.stop()
    agent = starter.start(nats_server.url)
    await until_unready(agent, why="127.0.0.1")
    await nats_server.start()
    await agent.ready()
    await nats_server.kill()
    await until_unready(agent, why="NATS")
    await nats_server.start()
    await agent.ready()


async def test_stop_while_waiting(starter: Starter) -> None:
    """An agent that waits for NATS can be told to stop."""
    agent = starter.start(f"nats://127.0.0.1:{free_port()}")
    await until_unready(agent, why="127.0.0.1")
    await agent.terminate()
    assert agent.exit_code == 0


@pytest.mark.containerd
async def test_runtime_is_waited_for(
    starter: Starter, nats_server: NatsServer, containerd: Containerd
) -> None:
    """Without a container runtime the same holds."""
    await containerd.kill()
    endpoint = f"unix://{containerd.socket}"
    settings = {"IPS_RUNTIME": "cri", "IPS_RUNTIME_ENDPOINT": endpoint}
    agent = starter.start(nats_server.url, settings)
    await until_unready(agent, why=str(containerd.socket))
    await containerd.start()
    await agent.ready()


async def test_metrics(starter: Starter, nats_server: NatsServer) -> None:
    """The metrics are the agent's own and the process's."""
    agent = starter.start(nats_server.url)
    await agent.ready()
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{agent.metrics_port}/metrics") as answer,
    ):
        text = await answer.text()
    assert {"ips_agent_pulls_in_flight 0.0", "ips_agent_unsent_results 0.0"} <= set(
        text.splitlines()
    )
    assert "process_resident_memory_bytes" in text


async def test_stop(starter: Starter, nats_server: NatsServer) -> None:
    """Told to stop, it ends in order."""
    agent = starter.start(nats_server.url)
    await agent.ready()
    await agent.terminate()
    assert agent.exit_code == 0
    assert "Traceback" not in agent.log
    await eventually(lambda: agent.pid is None)
