"""A whole task on fleets of up to 65,000 nodes, against the same bus work without a thought.

Two stacks stand side by side, each with a nats-server and nodes of its own: on one of them work
coordinators, on the other programs that only decode, store and encode (``bench/bare.py``). They
take turns, so that each ratio is of two neighbours in time.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Final

import aiohttp

from bench.bare import IMAGES, KNOWN, RUN
from bench.figures import resident_mib
from bench.nodes import all_known, connected
from bench.options import Options
from bench.quick_nodes import node_names
from bench.report import Report
from bench.stack import Spent, Stack
from common import subjects
from common.bus import Bus
from sandbox.programs import post_task

SIZES: Final = {1000: 1000, 5000: 5000, 10_000: 10_000, 65_000: 130}
"""Nodes, and over how many connections."""
AGENTS: Final = 300
"""Real agents, in a run of their own."""
MOST_IN_FLIGHT: Final = 10_000
IDLE_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 900.0
ABOUT = f"""From `POST` to `completed`: tasks of {len(IMAGES)} images, no-op pulls, all nodes in one
batch (at most {MOST_IN_FLIGHT:,} at once). Two coordinators, on NATS that syncs every write; each
node has a connection of its own up to 10,000, 65,000 nodes share 130. Nodes say what agents say,
heartbeats every 10 s included. *Bare* is the same bus work without logic: the same messages,
decoded, stored and encoded by two programs that decide nothing (`bench/bare.py`), on a nats-server
and nodes of their own. Figures are medians, ratios medians of pairs taken in turn."""


@dataclass(frozen=True)
class Round:
    """One task, or one piece of bare work."""

    wall: float
    spent: Spent

    def of(self, *names: str) -> float:
        """CPU seconds of these processes, as far as there are such."""
        return sum(self.spent.cpu.get(name, 0.0) for name in names)


@dataclass(frozen=True)
class Measured:
    """What one size came to."""

    nodes: int
    connections: int
    ours: Sequence[Round]
    bare: Sequence[Round]
    idle: Mapping[str, float]
    """CPU seconds by process, of each second in which nothing happens."""
    resident: Mapping[str, float]
    accepted: tuple[float, float]
    """Seconds from assignment to accepted: median and 99th percentile."""


async def run(options: Options) -> None:
    """Measure, print, and write where that is wished."""
    report = Report("fleet", "A task on a whole fleet", ABOUT)
    sizes = options.nodes or list(SIZES)
    measured = [await _measure(options, size, SIZES.get(size, size)) for size in sizes]
    report.table(["nodes", *(f"{each.nodes:,}" for each in measured)], _rows(measured))
    if options.write:  # what follows may fail on a busy machine
        report.write(options.command)
    report.say(f"{AGENTS} real agents in one process, whose runtime is simulated:")
    agents = await _measure(options, AGENTS, 1, real=True)
    report.table(["agents", f"{AGENTS:,}"], _rows([agents]))
    if options.write:
        report.write(options.command)


async def _measure(
    options: Options, nodes: int, connections: int, *, real: bool = False
) -> Measured:
    print(f"{nodes} nodes, {connections} connections", flush=True)
    with tempfile.TemporaryDirectory() as name:
        async with (
            _working(Path(name), options.coordinators, nodes, connections, real=real) as ours,
            _bare(Path(name), options.coordinators, nodes, connections) as (bare, bus),
        ):
            began = await ours.spent()
            await asyncio.sleep(IDLE_SECONDS)
            idle = (await ours.spent()).since(began).cpu
            rounds: list[tuple[Round, Round]] = []
            await one_task(ours, nodes)  # what is done once is not measured
            before = await _accepted(ours)
            for number in range(options.rounds):
                rounds.append((await _bare_work(bare, bus), await _round(ours, nodes)))
                print(f"  round {number + 1}: {_told(*rounds[-1])}", flush=True)
            return Measured(
                nodes,
                connections,
                ours=[each for _, each in rounds],
                bare=[each for each, _ in rounds],
                idle={name: seconds / IDLE_SECONDS for name, seconds in idle.items()},
                resident={name: resident_mib(ours.pid(name)) for name in ours.names},
                accepted=_quantiles(before, await _accepted(ours)),
            )


def _told(bare: Round, ours: Round) -> str:
    cpus = " ".join(f"{name} {seconds:.2f}" for name, seconds in ours.spent.cpu.items())
    theirs = " ".join(f"{name} {seconds:.2f}" for name, seconds in bare.spent.cpu.items())
    return f"{ours.wall:.2f} s (CPU: {cpus}), bare {bare.wall:.2f} s (CPU: {theirs})"


# ── the two stacks ──


@asynccontextmanager
async def _working(
    folder: Path, coordinators: int, nodes: int, connections: int, *, real: bool
) -> AsyncIterator[Stack]:
    """Coordinators that know all nodes, and have them stored."""
    async with fleet(folder / "ours", coordinators) as stack:
        await join(stack, nodes, connections, real=real)
        yield stack


@asynccontextmanager
async def fleet(
    folder: Path, coordinators: int, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """Coordinators on a nats-server of their own."""
    stack = Stack(folder)
    try:
        await stack.nats.start()
        await stack.start_coordinators(coordinators, settings)
        yield stack
    finally:
        await stack.stop()


async def join(stack: Stack, nodes: int, connections: int, *, real: bool = False) -> None:
    """Start nodes; return when all coordinators know them and all are stored."""
    if real:
        await stack.start_agents(node_names(nodes))
    else:
        await stack.start_nodes(nodes, connections)
    async with asyncio.timeout(LONGEST_SECONDS), connected(stack.nats.access()) as bus:
        await stack.while_alive("nodes", *(all_known(it, nodes) for it in stack.coordinators))
        stream = f"KV_{subjects.NODES_BUCKET}"
        while (await bus.stream_state(stream)).messages < nodes:
            await asyncio.sleep(0.5)


@asynccontextmanager
async def _bare(
    folder: Path, replicas: int, nodes: int, connections: int
) -> AsyncIterator[tuple[Stack, Bus]]:
    stack = Stack(folder / "bare")
    try:
        await stack.nats.start()
        await stack.start_bare(replicas)
        await stack.start_nodes(nodes, connections)
        async with connected(stack.nats.access()) as bus:
            async with asyncio.timeout(LONGEST_SECONDS):
                await stack.while_alive("nodes", _all_heard(bus, nodes))
            yield stack, bus
    finally:
        await stack.stop()


async def _all_heard(bus: Bus, nodes: int) -> None:
    while int(await bus.call(KNOWN, b"", LONGEST_SECONDS)) < nodes:
        await asyncio.sleep(0.1)


# ── one round ──


async def _bare_work(stack: Stack, bus: Bus) -> Round:
    before = await stack.spent()
    wall = float(await bus.call(RUN, b"", LONGEST_SECONDS))
    return Round(wall, (await stack.spent()).since(before))


async def _round(stack: Stack, nodes: int) -> Round:
    before = await stack.spent()
    wall = await one_task(stack, nodes)
    return Round(wall, (await stack.spent()).since(before))


async def one_task(stack: Stack, nodes: int) -> float:
    """Seconds from POST at the leader to ``completed`` at who watches the last replica."""
    images = [f"{image}-{secrets.token_hex(4)}" for image in IMAGES]
    body = {"images": images, "batchSize": min(nodes, MOST_IN_FLIGHT)}
    leader, other = stack.coordinators[0], stack.coordinators[-1]
    timeout = aiohttp.ClientTimeout(total=LONGEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        began = monotonic()
        task = await post_task(http, leader.url, body)
        last = b""
        async with http.get(f"{other.url}/api/v1/tasks/{task}/events") as stream:
            async for line in stream.content:
                if line.startswith(b"event: task.completed"):
                    return monotonic() - began
                last = line or last
        raise AssertionError(f"{task} did not complete: {stream.status} {last[-500:]!r}")


async def _accepted(stack: Stack) -> Mapping[float, float]:
    """How many assignments were accepted within so many seconds, by now."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{stack.coordinators[0].url}/metrics") as answer,
    ):
        text = await answer.text()
    found = re.findall(r'ips_assignment_accepted_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    return {float(bound): float(count) for bound, count in found}


def _quantiles(before: Mapping[float, float], after: Mapping[float, float]) -> tuple[float, float]:
    """Median and 99th percentile of what came between, evenly spread within each bucket."""
    counts = [(bound, count - before[bound]) for bound, count in after.items()]
    return _quantile(counts, 0.5), _quantile(counts, 0.99)


def _quantile(counts: Sequence[tuple[float, float]], part: float) -> float:
    wanted, below, lower = part * counts[-1][1], 0.0, 0.0
    for bound, count in counts:
        if count >= wanted:
            return lower + (bound - lower) * (wanted - below) / max(1.0, count - below)
        below, lower = count, bound
    return counts[-1][0]


# ── tables ──

REPLICAS: Final = ("leader", "follower")
EVERYBODY: Final = (*REPLICAS, "nats-server")


def _rows(all_measured: Sequence[Measured]) -> list[list[str]]:
    columns = [_column(each, all_measured[0]) for each in all_measured]
    return [[name, *(column[name] for column in columns)] for name in columns[0]]


def _column(it: Measured, first: Measured) -> dict[str, str]:
    """Figures by their names."""

    def per_node(rounds: Sequence[Round], *names: str) -> float:
        return median(each.of(*names) for each in rounds) / it.nodes * 1e6

    def ratio(*names: str) -> str:
        pairs = zip(it.ours, it.bare, strict=True)
        return f"{median(ours.of(*names) / bare.of(*names) for ours, bare in pairs):.2f} x"

    walls = [each.wall for each in it.ours], [each.wall for each in it.bare]
    column = {
        "connections": f"{it.connections:,}",
        "wall time, bare": f"{median(walls[1]):.2f} s",
        "wall time": f"{median(walls[0]):.2f} s",
        "**wall time / bare** (aim: 2 x)": f"{_of_pairs(*walls):.2f} x",
        "**CPU of coordinators / bare**": ratio(*REPLICAS),
        "CPU of coordinators and NATS / bare": ratio(*EVERYBODY),
    }
    for name in EVERYBODY:
        bare, ours = per_node(it.bare, name), per_node(it.ours, name)
        column[f"CPU a node: {name} (bare)"] = f"{ours:.0f} µs ({bare:.0f})"
    cost = per_node(it.ours, *EVERYBODY) / (_total(first) / first.nodes * 1e6)
    column["CPU a node / that of the first column"] = f"{cost:.2f} x"
    for name in (*REPLICAS, "nats-server"):
        column[f"resident: {name}"] = f"{it.resident.get(name, 0):.0f} MiB"
    ours, bare = (
        median(r.spent.messages for r in rounds) / it.nodes for rounds in (it.ours, it.bare)
    )
    column["messages a node, in and out (bare)"] = f"{ours:.1f} ({bare:.1f})"
    column["assigned to accepted, p50"] = f"{it.accepted[0] * 1e3:.0f} ms"
    column["assigned to accepted, p99"] = f"{it.accepted[1] * 1e3:.0f} ms"
    for name in EVERYBODY:
        column[f"idle, of one core: {name}"] = f"{it.idle.get(name, 0):.1%}"
    return column


def _total(it: Measured) -> float:
    return median(each.of(*EVERYBODY) for each in it.ours)


def _of_pairs(ours: Sequence[float], bare: Sequence[float]) -> float:
    return median(a / b for a, b in zip(ours, bare, strict=True))
