"""Agents that all come back to NATS at once, each of whom a coordinator has to know.

Bare connections, as many as a fleet has agents, each with a join token of its own.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

from bench.figures import cpu_of, show
from sandbox.programs import Coordinator

AT_ONCE = 500


async def run(count: int = 10_000) -> None:
    """Measure and print."""
    print(f"{count} connections with join tokens, at most {AT_ONCE} under way at once")
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(Path(folder))
        coordinator.start()
        await coordinator.ready()
        try:
            tokens = [
                coordinator.agent_settings(f"node-{number:05}")["IPS_NATS_TOKEN"]
                for number in range(count)
            ]
            before, since = cpu_of(coordinator.pid or 0), time.monotonic()
            places = asyncio.Semaphore(AT_ONCE)
            writers = await asyncio.gather(
                *(_connect(coordinator, token, places) for token in tokens)
            )
            seconds = time.monotonic() - since
            show("all are connected", f"{seconds:.1f} s", "at most 60 s for 10,000")
            show("the coordinator's CPU for each", f"{_spent(coordinator, before, count):.2f} ms")
            for writer in writers:
                writer.close()
        finally:
            await coordinator.terminate()


def _spent(coordinator: Coordinator, before: float, count: int) -> float:
    return (cpu_of(coordinator.pid or 0) - before) / count * 1000


async def _connect(
    coordinator: Coordinator, token: str, places: asyncio.Semaphore
) -> asyncio.StreamWriter:
    async with places:
        reader, writer = await asyncio.open_connection(coordinator.host, coordinator.nats_port)
        options = json.dumps({"auth_token": token, "verbose": False, "protocol": 1})
        writer.write(f"CONNECT {options}\r\nPING\r\n".encode())
        while not (line := await reader.readline()).startswith(b"PONG"):
            assert line, "the server has hung up"
            assert not line.startswith(b"-ERR"), line
        return writer
