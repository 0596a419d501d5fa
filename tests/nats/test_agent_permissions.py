"""An agent that may do nothing but what names its own node can do all of its work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.agent import Agent
from agent.credentials import Keyring
from agent.node_credentials import NodeCredentials
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from common import subjects
from common.bus import BusSettings, CoreNats
from common.messages import ImageState
from coordinator.callout import rights
from coordinator.streams import definitions
from tests.fixtures.leader import Leader, new_task

if TYPE_CHECKING:
    from tests.fixtures.nats import OpenBus, StartNats

pytestmark = pytest.mark.nats

NODE = "node-1.zone"
RIGHTS = rights.of_agent(NODE)
OWN = {
    "publish": list(RIGHTS.publish),
    "subscribe": list(RIGHTS.subscribe),
    "allow_responses": {"max": rights.ANSWERS, "expires": f"{rights.ANSWER_SECONDS}s"},
}


async def test_every_right_names_the_node(start_nats: StartNats, open_bus: OpenBus) -> None:
    """It hears its commands, answers them, and has its outcome stored; nothing is refused."""
    users = [
        {"user": "coordinator", "password": "c"},
        {"user": "agent", "password": "a", "permissions": OWN},
    ]
    server = await start_nats(authorization={"users": users})
    address = server.url.removeprefix("nats://")
    leader_bus = await open_bus(f"nats://coordinator:c@{address}")
    for definition in definitions(replicas=1):
        await leader_bus.ensure_stream(definition)
    leader = await Leader.on(leader_bus)
    bus = await CoreNats.connect(
        BusSettings(servers=(f"nats://agent:a@{address}",), inbox=subjects.inboxes_of(NODE))
    )
    settings = {"IPS_NATS_URL": "nats://unused", "IPS_NODE_NAME": NODE}
    agent = Agent(
        settings=AgentSettings.load(settings),
        bus=bus,
        runtime=SimulatedRuntime(seconds=0.05, size=1000),
        keyring=NodeCredentials(Keyring(None)),
    )
    job = asyncio.create_task(agent.run())
    try:
        task = new_task()
        assert (await leader.assign(await leader.agent(), task, "r/a")).accepted
        outcome = await leader.outcome(task)
    finally:
        job.cancel()
        await asyncio.wait([job])
        await bus.close()
    assert outcome.images[0].state is ImageState.PULLED
    assert outcome.instance == agent.address.instance
    assert "Violation" not in server.log
