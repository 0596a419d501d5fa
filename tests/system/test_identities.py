"""Who is who on NATS, with whole programs: commands that make tokens, and the version before."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.ports import free_port
from sandbox.programs import Agent, Coordinator, Program
from tests.fixtures.fleet import FAST, Fleet
from tests.fixtures.nats import eventually
from tests.fixtures.version_before import unpack_version_before

pytestmark = pytest.mark.system

IMAGES = ["shop/web:1"]


async def say(coordinator: Coordinator, *arguments: str) -> str:
    """What a command of a coordinator's prints, in the coordinator's own environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "coordinator", *arguments),
        env=coordinator._env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, trouble = await process.communicate()
    assert (process.returncode, trouble) == (0, b"")
    return said.decode().strip()


async def test_a_join_token_is_made_used_and_revoked(fleet: Fleet, tmp_path: Path) -> None:
    """It is good for its node alone, until it is revoked; another one is good at once."""
    coordinator = await fleet.add_coordinator()
    where = coordinator.agent_settings("node-1") | {"IPS_RUNTIME": "simulated", **FAST}
    token = await say(coordinator, "join-token", "node-1")
    other = Agent(tmp_path, "node-2", where | {"IPS_NATS_TOKEN": token}, forked=True)
    other.start()
    await other.exited()
    assert "node node-1" in other.last_words
    assert token not in other.log
    [agent] = await fleet.add_agents(1, {"IPS_NATS_TOKEN": token})
    assert (await fleet.over(await fleet.post(IMAGES)))["status"] == "completed"
    await say(coordinator, "join-token", "--revoke", "node-1")
    await agent.terminate()
    agent.start()
    await eventually(lambda: "does not accept the token" in agent.log)
    await agent.kill()
    new = await say(coordinator, "join-token", "node-1")
    await fleet.add_agents(1, {"IPS_NATS_TOKEN": new})


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of the version before."""
    folder = tmp_path_factory.mktemp("before")
    return unpack_version_before(folder, "agent", "coordinator", "common", "web")


class Before:
    """Programs of the version before: one token for all."""

    def __init__(self, tree: Path, fleet: Fleet) -> None:
        self._fleet = fleet
        self._own = {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
        self.ports = {"SERVER_PORT": str(free_port()), "IPS_NATS_PORT": str(free_port())}
        self.token = "of-all"

    def coordinator(self) -> Program:
        """With its own NATS, in the folder that a newer one will use."""
        own = {
            "SERVER_PORT": self.ports["SERVER_PORT"],
            "IPS_DATA_DIR": str(self._fleet.folder / "coordinator"),
            "IPS_NATS_LISTEN": f"127.0.0.1:{self.ports['IPS_NATS_PORT']}",
            "IPS_NATS_TOKEN": self.token,
        }
        return Program("coordinator", "before", self._fleet.folder, own | self._own)

    def agent(self, node: str) -> Agent:
        """A simulated node, which the fleet can hold."""
        settings = {
            "IPS_NATS_URL": f"nats://127.0.0.1:{self.ports['IPS_NATS_PORT']}",
            "IPS_NATS_TOKEN": self.token,
            "IPS_RUNTIME": "simulated",
            "IPS_SIMULATED_SECONDS": "0.3",
            "IPS_HEARTBEAT_SECONDS": "1",
        }
        agent = Agent(self._fleet.folder / "before", node, settings | self._own)
        self._fleet._all_agents.append(agent)
        return agent


async def test_a_store_and_agents_of_the_version_before_go_on(fleet: Fleet, before: Path) -> None:
    """Its heads, outcomes and unfinished task are there; its agents work on with the one token."""
    old = Before(before, fleet)
    coordinator, agent = old.coordinator(), old.agent("node-1")
    coordinator.start()
    agent.start()
    api = f"http://127.0.0.1:{old.ports['SERVER_PORT']}"
    try:
        await coordinator.answers(f"{api}/readyz")
        await agent.ready()
        fleet.coordinators.append(
            Coordinator(
                fleet.folder,
                {
                    "IPS_NATS_LISTEN": f"127.0.0.1:{old.ports['IPS_NATS_PORT']}",
                    "IPS_NATS_TOKEN": old.token,
                },
                port=int(old.ports["SERVER_PORT"]),
                forked=True,
            )
        )
        await fleet.known_nodes(1)
        done = await fleet.post(IMAGES)
        assert (await fleet.over(done))["status"] == "completed"
        seen = await fleet.nodes(done)
        waits = await fleet.post(IMAGES, nodeNames=["node-1", "node-2"])
        await fleet.until(waits, lambda task: task["progress"]["completedNodes"] == 1)
    finally:
        await coordinator.terminate()
    fleet.coordinator.start()
    await fleet.coordinator.ready()
    assert (await fleet.get(f"/tasks/{done}"))["status"] == "completed"
    assert [node["state"] for node in await fleet.nodes(done)] == [node["state"] for node in seen]
    assert (await fleet.get(f"/tasks/{waits}"))["progress"]["completedNodes"] == 1
    fleet.coordinator.nats_port = int(old.ports["IPS_NATS_PORT"])
    await fleet.add_agents(
        1, {"IPS_NODE_NAME": "node-2"} | fleet.coordinator.agent_settings("node-2")
    )
    assert (await fleet.over(waits))["status"] == "completed"
    assert (await fleet.over(await fleet.post(IMAGES)))["progress"]["completedNodes"] == 2
