"""How much of a virtual day fits into a real second: the bus in memory, in its own loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from common.bus import Draft, KeyValue, Received
from common.subjects import EVENTS, LEASE_BUCKET, PREFIX, RESULTS, result
from coordinator.streams import definitions
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.server import VirtualServer
from sandbox.virtual.time import VirtualLoop, in_virtual_time

COUNT = 100_000
AGENTS = 10
BATCH = 100
BEAT_SECONDS = 10.0
TASK = "task-20260116-151234-a1b2c3d4"


async def publishes(server: VirtualServer) -> int:
    """Messages from one program to another, 1,000 at a time."""
    sender, receiver = [await VirtualBus.connect(server, name) for name in ("sender", "receiver")]
    got = 0

    def count(_: Received) -> None:
        nonlocal got
        got += 1

    await receiver.subscribe(f"{PREFIX}.heartbeat.*.*", count)
    for _ in range(COUNT // 1000):
        for n in range(1000):
            sender.publish(f"{PREFIX}.heartbeat.n{n}.i", b"x" * 100)
        await sender.ping(1)
    assert got == COUNT
    return COUNT


async def calls(server: VirtualServer) -> int:
    """Requests to ten agents and their answers, 100 at a time."""
    asker = await VirtualBus.connect(server, "coordinator")
    for n in range(AGENTS):
        agent = await VirtualBus.connect(server, f"agent-{n}")
        await agent.subscribe(f"cmd.{n}", partial(_reply, agent))
    for _ in range(COUNT // 10 // 100):
        await asyncio.gather(*(asker.call(f"cmd.{n % AGENTS}", b"x", 5) for n in range(100)))
    return COUNT // 10


def _reply(agent: VirtualBus, received: Received) -> None:
    agent.publish(received.reply, b"ok")


async def stores(server: VirtualServer) -> int:
    """Outcomes stored by compare-and-swap, one after the other, and read by a follower."""
    bus = await _with_streams(server)
    reader = asyncio.create_task(_read(await VirtualBus.connect(server, "reader"), COUNT // 4))
    for n in range(COUNT // 4):
        await bus.store(result(TASK, f"n{n}", 1), b"x" * 100, expect_last=0)
    await reader
    return COUNT // 4


async def batches(server: VirtualServer) -> int:
    """Events in batches of 100."""
    bus = await _with_streams(server)
    event = f"{PREFIX}.event.node.failed.{TASK}"
    for _ in range(COUNT // BATCH):
        await bus.store_batch([Draft(event, b"x" * 100)] * BATCH)
    assert (await bus.stream_state(EVENTS)).messages == COUNT
    return COUNT


async def swaps(server: VirtualServer) -> int:
    """One key of a bucket, written by compare-and-swap with a time to live."""
    bucket = KeyValue(await _with_streams(server), LEASE_BUCKET)
    revision = await bucket.create("leader", b"x", ttl=15)
    for _ in range(COUNT // 4):
        revision = await bucket.update("leader", b"x", revision, ttl=15)
    return COUNT // 4


async def beats(server: VirtualServer) -> int:
    """Heartbeats of ten agents, each every ten virtual seconds."""
    hearing = await VirtualBus.connect(server, "coordinator")
    await hearing.subscribe("beat.*", lambda _: None)

    async def beat(name: str) -> None:
        bus = await VirtualBus.connect(server, name)
        for _ in range(COUNT // AGENTS):
            bus.publish(f"beat.{name}", b"x" * 100)
            await asyncio.sleep(BEAT_SECONDS)

    await asyncio.gather(*(beat(f"agent-{n}") for n in range(AGENTS)))
    return COUNT


async def _with_streams(server: VirtualServer) -> VirtualBus:
    bus = await VirtualBus.connect(server, "writer")
    for definition in definitions(replicas=1):
        await bus.ensure_stream(definition)
    return bus


async def _read(bus: VirtualBus, count: int) -> None:
    async for records in bus.follow(RESULTS, start=1):
        count -= len(records)
        if not count:
            return


async def _measure(work: Callable[[VirtualServer], Awaitable[int]]) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    began = time.process_time()
    count = await work(VirtualServer())
    took = time.process_time() - began
    print(
        f"{work.__name__:10} {count:7,}  {count / took:9,.0f} a second"
        f"  {took / count * 1e6:6.1f} µs  {loop.time() / 3600:8.1f} virtual hours"
        f"  {loop.steps / count:5.2f} turns each"
    )


async def run() -> None:
    """Print how many of each a second of one core's time has."""
    for work in (publishes, calls, stores, batches, swaps, beats):
        await asyncio.to_thread(in_virtual_time, _measure(work))
