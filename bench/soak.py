"""What grows in any process, while tasks, watchers and questions come for half an hour.

Two coordinators, a fleet of nodes and real agents beside it. What is finished is kept for a minute
only, so that memory is not that of tasks. Each process is looked at every ten seconds; the table
compares the median of the second quarter of the time with that of the last.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp

from bench.figures import resident_mib
from bench.fleet import LONGEST_SECONDS, fleet, join
from bench.options import Options
from bench.report import Report
from bench.stack import Stack
from sandbox.programs import post_task

NODES: Final = 500
WATCHERS: Final = 20
LOOK_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 2.0
"""Between two tasks."""
GROWTH: Final = 1.1
"""More than a tenth between the second and the last quarter is growth."""
SETTINGS: Final = {"IPS_TASK_RETENTION_HOURS": "0.0167"}
ABOUT = f"""Two coordinators, {NODES} nodes, {WATCHERS} SSE clients that stay and some that come and
go, a task after the other (every tenth is cancelled), the lists asked for after each; finished
tasks are kept for a minute. Medians of the second and of the last quarter of the time."""


@dataclass(frozen=True)
class Look:
    """One process at one moment."""

    resident: float
    """MiB."""
    threads: int
    files: int

    @classmethod
    def at(cls, pid: int) -> Look:
        """As it is now."""
        process = Path(f"/proc/{pid}")
        return cls(
            resident_mib(pid),
            len(list((process / "task").iterdir())),
            len(list((process / "fd").iterdir())),
        )


async def run(options: Options) -> None:
    """Measure, print, and write where that is wished."""
    report = Report("soak", f"A soak of {options.minutes:g} minutes", ABOUT)
    nodes = options.nodes[0] if options.nodes else NODES
    looks: dict[str, list[Look]] = {}
    with tempfile.TemporaryDirectory() as name:
        async with fleet(Path(name) / "ours", options.coordinators, SETTINGS) as stack:
            await join(stack, nodes, nodes)
            await stack.start_watchers(stack.coordinators[0].port, WATCHERS)
            working = asyncio.create_task(_work(stack))
            end = time.monotonic() + options.minutes * 60
            while time.monotonic() < end and not working.done():
                await asyncio.sleep(LOOK_SECONDS)
                for each in stack.names:
                    looks.setdefault(each, []).append(Look.at(stack.pid(each)))
            working.cancel()
            await asyncio.wait([working])
            fault = None if working.cancelled() else working.exception()
            assert fault is None, repr(fault)
    heads = ["process", "resident", "then", "threads", "then", "files", "then", "flat"]
    report.table(heads, [_row(each, found) for each, found in looks.items()])
    if options.write:
        report.write(options.command)


async def _work(stack: Stack) -> None:
    timeout = aiohttp.ClientTimeout(total=LONGEST_SECONDS)
    number = 0
    async with aiohttp.ClientSession(timeout=timeout) as http:
        while True:
            number += 1
            url = stack.coordinators[number % len(stack.coordinators)].url
            body = {"images": [f"soak/{secrets.token_hex(4)}:1"], "batchSize": 100}
            task = await post_task(http, url, body)
            if number % 10 == 0:
                async with http.delete(f"{url}/api/v1/tasks/{task}") as answer:
                    await answer.read()
            async with http.get(f"{url}/api/v1/tasks/{task}/events") as stream:
                await stream.read()  # it ends with the task
            for path in ("tasks", f"tasks/{task}/nodes", "nodes", "leader"):
                async with http.get(f"{url}/api/v1/{path}") as answer:
                    await answer.read()
            await asyncio.sleep(PAUSE_SECONDS)


def _row(name: str, looks: Sequence[Look]) -> list[str]:
    quarter = max(1, len(looks) // 4)
    begin, end = looks[quarter : 2 * quarter] or looks, looks[-quarter:]
    figures: Mapping[str, tuple[float, float]] = {
        kind: (_median(begin, kind), _median(end, kind))
        for kind in ("resident", "threads", "files")
    }
    is_flat = all(after <= before * GROWTH for before, after in figures.values())
    cells = [f"{value:.0f}" for pair in figures.values() for value in pair]
    return [name, f"{cells[0]} MiB", f"{cells[1]} MiB", *cells[2:], "yes" if is_flat else "**no**"]


def _median(looks: Sequence[Look], kind: str) -> float:
    return median(float(getattr(look, kind)) for look in looks)
