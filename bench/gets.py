"""How long GETs take while tasks run on a whole fleet and 200 clients watch.

The questions come from ``hey`` (Debian's package of that name), at a steady pace, so that the tool
does not wait with the next question until the last is answered.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp

from bench.figures import quantile
from bench.fleet import SIZES, fleet, join, one_task
from bench.options import Options
from bench.report import Report
from bench.stack import Stack
from sandbox.programs import post_task

NODES: Final = 10_000
WATCHERS: Final = 200
SECONDS: Final = 60
CLIENTS: Final = 2
PACE: Final = 10
"""Questions a second of each client of each path."""
ABOUT = f"""{WATCHERS} SSE clients of `/api/v1/events` at the leader, which get every event of every
node; one task of two images after the other runs on all nodes; meanwhile `hey` asks each path
{CLIENTS * PACE} times a second. Once more without tasks, to compare. Aim: p99 under 50 ms."""


async def run(options: Options) -> None:
    """Measure, print, and write where that is wished."""
    hey = shutil.which("hey")
    if hey is None:
        print("gets: hey is missing (apt-get install hey)")
        return
    nodes = options.nodes[0] if options.nodes else NODES
    report = Report("gets", f"Reads while tasks run on {nodes:,} nodes", ABOUT)
    with tempfile.TemporaryDirectory() as name:
        async with fleet(Path(name) / "ours", options.coordinators) as stack:
            await join(stack, nodes, SIZES.get(nodes, nodes))
            paths = await _paths(stack)
            await stack.start_watchers(stack.coordinators[0].port, WATCHERS)
            quiet = await _ask(hey, stack, paths)
            working = asyncio.create_task(_work(stack, nodes))
            busy = await _ask(hey, stack, paths)
            working.cancel()
            await asyncio.wait([working])
            cut_off = stack.log("watchers").count("cut off")
    rows = [[f"`GET {path}`", *_row(quiet[path]), *_row(busy[path])] for path in paths]
    heads = ["", "quiet: p50", "p99", "worst", "busy: p50", "p99", "worst"]
    report.table(heads, rows)
    report.say(f"{cut_off} of the {WATCHERS} clients were cut off.")
    if options.write:
        report.write(options.command)


async def _paths(stack: Stack) -> list[str]:
    """What is asked for; the task is one that is over."""
    async with aiohttp.ClientSession() as http:
        task = await post_task(http, stack.coordinators[0].url, {"images": ["a:1"]})
    return [
        "/healthz",
        "/api/v1/tasks?limit=50",
        f"/api/v1/tasks/{task}",
        f"/api/v1/tasks/{task}/nodes?limit=100",
        "/api/v1/nodes?limit=100",
    ]


async def _work(stack: Stack, nodes: int) -> None:
    while True:
        wall = await one_task(stack, nodes)
        print(f"  a task took {wall:.1f} s", flush=True)


async def _ask(hey: str, stack: Stack, paths: Sequence[str]) -> Mapping[str, list[float]]:
    """Seconds of each answer, by path."""
    url = stack.coordinators[0].url
    asking = [
        asyncio.create_subprocess_exec(
            *(hey, "-o", "csv", "-z", f"{SECONDS}s", "-c", str(CLIENTS), "-q", str(PACE)),
            url + path,
            stdout=asyncio.subprocess.PIPE,
        )
        for path in paths
    ]
    programs = await asyncio.gather(*asking)
    said = await asyncio.gather(*(program.communicate() for program in programs))
    answers = {}
    for path, (text, _) in zip(paths, said, strict=True):
        # response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset
        lines = [line.split(",") for line in text.decode().splitlines()[1:]]
        failed = [line[6] for line in lines if line[6] != "200"]
        assert not failed, f"{path}: {failed[:5]}"
        answers[path] = [float(line[0]) for line in lines]
    return answers


def _row(seconds: Sequence[float]) -> list[str]:
    found = (quantile(seconds, 0.5), quantile(seconds, 0.99), max(seconds))
    return [f"{value * 1e3:.0f} ms" for value in found]
