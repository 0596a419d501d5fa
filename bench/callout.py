"""Agents that all come back to NATS at once, each of whom a coordinator has to know.

Bare connections, as many as a fleet has agents, each with a join token of its own.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.figures import cpu_of
from bench.options import Options
from bench.report import Report
from sandbox.programs import Coordinator

AT_ONCE: Final = 500
ABOUT: Final = f"""As many connections as a fleet has agents, each with a join token of its own,
to the NATS of one coordinator, which it asks about each of them (auth callout); all are cut at
once, and all come back, at most {AT_ONCE} of them under way at a time."""


async def run(options: Options) -> None:
    """Measure, print, and write where that is wished."""
    report = Report("callout", "Agents that all come back", ABOUT)
    rows = [await _figures(count) for count in options.nodes or [10_000]]
    heads = (
        "agents",
        "the first time",
        "**again** (aim: 60 s for 10,000)",
        "coordinator's CPU for each",
    )
    report.table(heads, rows)
    if options.write:
        report.write(options.command)


async def _figures(count: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(Path(folder))
        coordinator.start()
        await coordinator.ready()
        try:
            tokens = [
                coordinator.agent_settings(f"node-{number:05}")["IPS_NATS_TOKEN"]
                for number in range(count)
            ]
            before = cpu_of(coordinator.pid or 0)
            seconds = [await _connect_all(coordinator, tokens) for _ in range(2)]
            spent = (cpu_of(coordinator.pid or 0) - before) / count / len(seconds) * 1000
        finally:
            await coordinator.terminate()
    return [f"{count:,}", *(f"{each:.1f} s" for each in seconds), f"{spent:.2f} ms"]


async def _connect_all(coordinator: Coordinator, tokens: list[str]) -> float:
    """Connect all, and cut them when all are there; how many seconds it took until then."""
    places, since = asyncio.Semaphore(AT_ONCE), time.monotonic()
    writers = await asyncio.gather(*(_connect(coordinator, token, places) for token in tokens))
    seconds = time.monotonic() - since
    for writer in writers:
        writer.transport.abort()
    return seconds


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
