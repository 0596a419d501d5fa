"""1,000 simulated nodes x 2 images: a whole task against the bare bus work, in one run."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
from pathlib import Path

import aiohttp
from msgspec.json import encode

from bench.figures import cpu_of, resident_mib, show, timed
from bench.nodes import connected, simulated_nodes
from common import subjects
from common.bus import Bus, Draft, Handler, Received
from common.messages import Assign, AssignedImage, ImageOutcome, ImageState, Outcome, Reply
from sandbox.programs import Coordinator, post_task

IMAGES = ["shop/web:1", "shop/api:1"]
INSTANCE = "0" * 16


async def run(nodes: int = 1000) -> None:
    """Measure and print."""
    print(f"{nodes} simulated nodes x {len(IMAGES)} images, one process of agents")
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(Path(folder))
        coordinator.start()
        await coordinator.ready()
        try:
            await _measure(coordinator, nodes)
        finally:
            await coordinator.terminate()


async def _measure(coordinator: Coordinator, nodes: int) -> None:
    settings = coordinator.agent_settings()
    async with connected(settings) as bus, connected(settings) as other:
        bare = min([await _bare_bus_work(bus, other, nodes) for _ in range(3)])
        names = [f"node-{number:05}" for number in range(1, nodes + 1)]
        async with simulated_nodes(bus, settings, names, seconds=0.0):
            await all_known(coordinator, nodes)
            pid = coordinator.pid or 0
            walls, cpus = [], []
            for _ in range(3):
                before = cpu_of(pid)
                walls.append(await _one_task(coordinator, nodes))
                cpus.append(cpu_of(pid) - before)
            show("bare bus work, best of 3", f"{bare:.2f} s")
            show("whole task from POST to completed, best of 3", f"{min(walls):.2f} s")
            show("whole task / bare bus work", f"{min(walls) / bare:.2f} x", "at most 3 x")
            show("coordinator's CPU for one task", f"{min(cpus):.2f} s")
            show("coordinator, resident", f"{resident_mib(pid):.0f} MiB", "at most 150 MiB")


async def all_known(coordinator: Coordinator, nodes: int) -> None:
    """Wait until all nodes have announced themselves."""
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{coordinator.url}/api/v1/nodes?limit=1") as answer:
                if (await answer.json())["total"] == nodes:
                    return
            await asyncio.sleep(0.1)


async def _one_task(coordinator: Coordinator, nodes: int) -> float:
    images = [f"{image}-{secrets.token_hex(4)}" for image in IMAGES]
    async with aiohttp.ClientSession() as http:
        with timed() as span:
            task = await post_task(
                http, coordinator.url, {"images": images, "batchSize": min(nodes, 10_000)}
            )
            url = f"{coordinator.url}/api/v1/tasks/{task}/events"
            async with http.get(url, timeout=aiohttp.ClientTimeout(total=300)) as stream:
                async for line in stream.content:
                    if line.startswith(b"event: task.completed"):
                        break
                else:
                    raise AssertionError("the task did not complete")
    return span.wall


async def _bare_bus_work(leader: Bus, agents: Bus, nodes: int) -> float:
    """The same messages, and nobody who thinks: assign, accept, outcome stored and read, event."""
    task = f"task-20260101-000000-{secrets.token_hex(4)}"
    accept = encode(Reply(accepted=True))
    outcome = _outcome()
    stores: set[asyncio.Task[int]] = set()

    def worker(node: str) -> Handler:
        def work(got: Received) -> None:
            agents.publish(got.reply, accept)
            storing = agents.store(subjects.result(task, node, 1), outcome, expect_last=0)
            stores.add(asyncio.ensure_future(storing))

        return work

    names = [f"bare-{number}" for number in range(nodes)]
    listening = [
        await agents.subscribe(subjects.command(name, INSTANCE), worker(name)) for name in names
    ]
    start = (await leader.stream_state(subjects.RESULTS)).last_seq + 1
    with timed() as span:
        for name in names:
            leader.ask(subjects.command(name, INSTANCE), _assign(task), 10, lambda _: None)
        await _read(leader, start, nodes)
        await _tell(leader, task, names)
    for each in listening:
        each.close()
    await asyncio.gather(*stores)
    await leader.purge(subjects.RESULTS, subjects.results_of(task))
    return span.wall


async def _read(bus: Bus, start: int, count: int) -> None:
    async for records in bus.follow(subjects.RESULTS, start=start):
        count -= len(records)
        if count <= 0:
            return


async def _tell(bus: Bus, task: str, names: list[str]) -> None:
    payload = json.dumps({"id": "x" * 60, "data": {"images": [{"image": "y" * 200}] * 2}}).encode()
    subject = subjects.event("node.succeeded", task)
    for begin in range(0, len(names), 200):
        await bus.store_batch([Draft(subject, payload) for _ in names[begin : begin + 200]])


def _assign(task: str) -> bytes:
    images = [AssignedImage(name=i, reference=f"docker.io/{i}") for i in IMAGES]
    return encode(Assign(epoch=1, task=task, attempt=1, images=images))


def _outcome() -> bytes:
    images = [
        ImageOutcome(image=i, state=ImageState.PULLED, digest="sha256:" + "0" * 64, seconds=1.0)
        for i in IMAGES
    ]
    return encode(Outcome(images=images, seconds=1.0, instance=INSTANCE))


if __name__ == "__main__":
    asyncio.run(run(*map(int, sys.argv[1:])))
