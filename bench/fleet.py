"""1,000 simulated nodes x 2 images: a whole task against the bare bus work, in one run."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
from msgspec.json import decode, encode

from bench.figures import cpu_of, resident_mib, show, timed
from bench.nodes import connected, simulated_nodes
from common import subjects
from common.bus import Bus, Draft, Handler, Received
from common.messages import (
    Assign,
    AssignedImage,
    ImageOutcome,
    ImageState,
    Outcome,
    OutcomeAnswer,
    OutcomeRequest,
    OutcomeResult,
    Reply,
)
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
    settings = coordinator.administrator_settings()
    async with connected(settings) as bus, connected(settings) as other:
        bare = min([await _Bare(bus, other).work(nodes) for _ in range(3)])
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


class _Bare:
    """The same messages, and nobody who thinks.

    Assign, accept, a request with the outcome, the outcome stored, answered and read, an event.
    """

    def __init__(self, leader: Bus, agents: Bus) -> None:
        self._leader = leader
        self._agents = agents
        self._task = f"task-20260101-000000-{secrets.token_hex(4)}"
        self._accept = encode(Reply(accepted=True))
        self._request = _request(self._task)
        self._stored = encode(OutcomeAnswer(result=OutcomeResult.STORED))
        self._inbox = agents.open_inbox(subjects.agent_inbox("bare", INSTANCE))
        self._jobs: set[asyncio.Future[Any]] = set()

    def _spawn(self, job: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def _worker(self, node: str) -> Handler:
        def work(got: Received) -> None:
            self._agents.publish(got.reply, self._accept)
            # Not where outcomes belong: the coordinator would refuse what is of no task.
            self._spawn(self._inbox.call(f"bare.outcome.{node}", self._request, 30))

        return work

    async def _store(self, got: Received) -> None:
        outcome = encode(decode(got.data, type=OutcomeRequest).outcome)
        subject = subjects.result(self._task, got.subject.rpartition(".")[2], 1)
        await self._leader.store(subject, outcome, expect_last=0)
        self._leader.publish(got.reply, self._stored)

    async def work(self, nodes: int) -> float:
        """Seconds that it takes for so many nodes."""
        leader, task = self._leader, self._task
        names = [f"bare-{number}" for number in range(nodes)]
        listening = [
            await self._agents.subscribe(subjects.command(name, INSTANCE), self._worker(name))
            for name in names
        ]
        listening.append(
            await leader.subscribe("bare.outcome.*", lambda got: self._spawn(self._store(got)))
        )
        start = (await leader.stream_state(subjects.RESULTS)).last_seq + 1
        with timed() as span:
            for name in names:
                leader.ask(subjects.command(name, INSTANCE), _assign(task), 10, lambda _: None)
            await _read(leader, start, nodes)
            await _tell(leader, task, names)
        await asyncio.gather(*self._jobs)
        for each in listening:
            each.close()
        self._inbox.close()
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


def _request(task: str) -> bytes:
    images = [
        ImageOutcome(image=i, state=ImageState.PULLED, digest="sha256:" + "0" * 64, seconds=1.0)
        for i in IMAGES
    ]
    outcome = Outcome(images=images, seconds=1.0, instance=INSTANCE)
    return encode(OutcomeRequest(task=task, attempt=1, outcome=outcome))


if __name__ == "__main__":
    asyncio.run(run(*map(int, sys.argv[1:])))
