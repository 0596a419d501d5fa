"""A whole agent in this process, with a simulated runtime, on a real nats-server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from agent.agent import Agent
from agent.credentials import Keyring
from agent.metrics import Metrics
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from common.messages import ImageState
from tests.fixtures.leader import Leader, new_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.runtime.protocol import Runtime
    from agent.spool import Spool
    from common.bus import Bus

pytestmark = pytest.mark.nats

NODE = "node-1.example"


def settings(**environment: str) -> AgentSettings:
    """An agent's settings for a test."""
    own = {"IPS_NATS_URL": "nats://unused", "IPS_NODE_NAME": NODE, "IPS_HEARTBEAT_SECONDS": "0.2"}
    return AgentSettings.load(own | environment)


@asynccontextmanager
async def running(
    bus: Bus, runtime: Runtime, spool: Spool | None = None, **environment: str
) -> AsyncIterator[Agent]:
    """An agent that works."""
    agent = Agent(
        settings=settings(**environment),
        bus=bus,
        runtime=runtime,
        keyring=Keyring(None),
        metrics=Metrics(CollectorRegistry()),
        spool=spool,
    )
    job = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        job.cancel()
        await asyncio.wait([job])
        if not job.cancelled():
            job.result()


async def test_outcome(bus: Bus) -> None:
    """An assignment is accepted, pulled, and its outcome stored once."""
    leader = await Leader.on(bus)
    runtime = SimulatedRuntime(seconds=0.05, size=1000, progress_seconds=0.01)
    async with running(bus, runtime):
        address = await leader.agent(lambda heartbeat: heartbeat.runtime == "simulated")
        task = new_task()
        assert (await leader.assign(address, task, "r/a", "r/b")).accepted
        outcome = await leader.outcome(task)
        assert [(i.image, i.state, i.bytes) for i in outcome.images] == [
            ("r/a", ImageState.PULLED, 1000),
            ("r/b", ImageState.PULLED, 1000),
        ]
        assert outcome.instance == address.instance
