"""From the return of the runtime's pull call to the ``node.succeeded`` event at an SSE client."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry

from agent.agent import Agent
from agent.credentials import Keyring
from agent.metrics import Metrics, MetricsObserver
from agent.node_credentials import NodeCredentials
from agent.runtime.protocol import Credentials, OnBytes, PresentImage
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from agent.spool import Spool, ThreadedSpool
from bench.figures import quantile, show
from bench.nodes import all_known, connected
from sandbox.programs import Coordinator, post_task

NODES = 100
ROUNDS = 10


class Stopwatch(SimulatedRuntime):
    """Notes when the latest pull returned."""

    returned = 0.0

    async def pull(
        self,
        reference: str,
        credentials: Credentials | None,
        *,
        resume_key: str,
        keep_seconds: float,
        on_bytes: OnBytes,
    ) -> PresentImage:
        """Pull, then look at the clock."""
        image = await super().pull(
            reference,
            credentials,
            resume_key=resume_key,
            keep_seconds=keep_seconds,
            on_bytes=on_bytes,
        )
        self.returned = time.monotonic()
        return image


async def run() -> None:
    """Measure and print."""
    print(f"from the pull's return to the SSE event, {NODES} nodes busy")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        coordinator = Coordinator(Path(folder))
        coordinator.start()
        await coordinator.ready()
        try:
            async with connected(coordinator.administrator_settings()) as bus:
                watches = {f"node-{n:03}": _watch(n) for n in range(NODES)}
                metrics = Metrics(CollectorRegistry())
                async with asyncio.TaskGroup() as group:
                    jobs = []
                    for name, watch in watches.items():
                        own = {"IPS_NODE_NAME": name, "IPS_RUNTIME": "simulated"}
                        settings = {**coordinator.administrator_settings(), **own}
                        agent = Agent(
                            settings=AgentSettings.load(settings),
                            bus=bus,
                            runtime=watch,
                            keyring=NodeCredentials(Keyring(None)),
                            spool=ThreadedSpool(
                                stack.enter_context(Spool(Path(folder) / name, name))
                            ),
                            observers=[MetricsObserver(metrics)],
                        )
                        jobs.append(group.create_task(agent.run()))
                    await all_known(coordinator, NODES)
                    delays = [d for _ in range(ROUNDS) for d in await _round(coordinator, watches)]
                    for job in jobs:
                        job.cancel()
        finally:
            await coordinator.terminate()
    show("events", str(len(delays)))
    show("median", f"{quantile(delays, 0.5) * 1000:.0f} ms")
    show("p99", f"{quantile(delays, 0.99) * 1000:.0f} ms", "at most 300 ms")


def _watch(number: int) -> Stopwatch:
    seconds = random.Random(number).uniform(0.2, 2.0)  # noqa: S311 - repeatable, not secret
    return Stopwatch(seconds=seconds, size=1_000_000, seed=str(number))


async def _round(coordinator: Coordinator, watches: dict[str, Stopwatch]) -> list[float]:
    delays = []
    async with aiohttp.ClientSession() as http:
        body = {"images": [f"shop/web:{secrets.token_hex(4)}"], "batchSize": NODES}
        task = await post_task(http, coordinator.url, body)
        async with http.get(f"{coordinator.url}/api/v1/tasks/{task}/events") as stream:
            async for line in stream.content:
                if line.startswith(b"data:"):
                    event = json.loads(line.removeprefix(b"data:"))
                    if event["type"] == "node.succeeded":
                        node = event["data"]["nodeName"]
                        delays.append(time.monotonic() - watches[node].returned)
    return delays


if __name__ == "__main__":
    asyncio.run(run())
