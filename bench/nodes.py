"""Many simulated agents in this one process, over one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp
from prometheus_client import CollectorRegistry

from agent.agent import Agent
from agent.credentials import Keyring
from agent.metrics import Metrics, MetricsObserver
from agent.node_credentials import NodeCredentials
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from common.bus import Bus, BusSettings
from sandbox.programs import Coordinator


@asynccontextmanager
async def connected(settings: Mapping[str, str]) -> AsyncIterator[Bus]:
    """A connection to the NATS that agents are told of by these settings."""
    bus = await Bus.connect(
        BusSettings(servers=(settings["IPS_NATS_URL"],), token=settings["IPS_NATS_TOKEN"])
    )
    running = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        await bus.close()
        await running


@asynccontextmanager
async def simulated_nodes(
    bus: Bus,
    settings: Mapping[str, str],
    names: Sequence[str],
    *,
    seconds: float,
    size: int = 1_000_000,
) -> AsyncIterator[list[Agent]]:
    """Agents for nodes of these names, each pull of which takes so many seconds."""
    metrics = Metrics(CollectorRegistry())
    agents = []
    for name in names:
        own = {"IPS_NODE_NAME": name, "IPS_RUNTIME": "simulated"}
        agents.append(
            Agent(
                settings=AgentSettings.load({**settings, **own}),
                bus=bus,
                runtime=SimulatedRuntime(seconds=seconds, size=size, seed=name),
                keyring=NodeCredentials(Keyring(None)),
                observers=[MetricsObserver(metrics)],
            )
        )
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(agent.run()) for agent in agents]
        yield agents
        for job in jobs:
            job.cancel()


async def all_known(coordinator: Coordinator, nodes: int) -> None:
    """Wait until all nodes have announced themselves."""
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{coordinator.url}/api/v1/nodes?limit=1") as answer:
                if (await answer.json())["total"] == nodes:
                    return
            await asyncio.sleep(0.1)
