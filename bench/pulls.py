"""A pull through an agent against the same pull by a bare CRI call, on one real containerd.

Interleaved runs: the agent's and the bare call's times are taken in turn, so that a machine that
changes its mind changes it for both.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

import aiohttp
from grpclib.client import Channel, UnaryUnaryMethod

from agent.runtime.proto import cri_pb2 as cri
from bench.figures import show
from sandbox.containerd import Containerd
from sandbox.images import Image, make_image
from sandbox.programs import Agent, Coordinator, post_task
from sandbox.registry import Registry

MIB = 1024 * 1024
ROUNDS = 5
SMALL = 8
LATENCY = 0.15


async def run() -> None:
    """Measure and print."""
    print("pulls through an agent, and by bare CRI calls, on one containerd")
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(Path(folder))
        async with Containerd() as containerd, Registry() as registry:
            coordinator.start()
            await coordinator.ready()
            settings = coordinator.agent_settings("node-1")
            settings["IPS_RUNTIME_ENDPOINT"] = f"unix://{containerd.socket}"
            agent = Agent(Path(folder), "node-1", settings)
            agent.start()
            await agent.ready()
            try:
                await _big(coordinator, registry, containerd)
                await _many_small(coordinator, registry, containerd)
            finally:
                await agent.terminate(within=30)
                await coordinator.terminate()


async def _big(coordinator: Coordinator, registry: Registry, containerd: Containerd) -> None:
    """One image of 200 MiB: the pull's own seconds as the agent reports them, and the bare call."""
    image = make_image(*([50 * MIB] * 4), seed="big")
    through, bare = [], []
    for _ in range(ROUNDS):
        bare.append(await _bare(registry, containerd, image))
        through.append(await _through_agent(coordinator, registry, containerd, [image]))
    ratio = statistics.median(a / b for a, b in zip(through, bare, strict=True))
    show("200 MiB by a bare CRI call, median", f"{statistics.median(bare):.2f} s")
    show("200 MiB through the agent, median", f"{statistics.median(through):.2f} s")
    show("agent / bare, median of pairs", f"{ratio:.3f} x", "at most 1.05 x")


async def _many_small(coordinator: Coordinator, registry: Registry, containerd: Containerd) -> None:
    """Eight small images from a registry that is far away."""
    images = [make_image(64 * 1024, seed=f"small/{n}") for n in range(SMALL)]
    registry.faults().latency = LATENCY
    ratios = []
    for _ in range(3):
        one_by_one = sum([await _bare(registry, containerd, image) for image in images])
        ratios.append(await _through_agent(coordinator, registry, containerd, images) / one_by_one)
    registry.faults().latency = 0.0
    show(
        "eight small images at 150 ms latency / one after the other",
        f"{statistics.median(ratios):.2f} x",
        "at most 0.6 x",
    )


async def _bare(registry: Registry, containerd: Containerd, image: Image) -> float:
    reference = registry.put(f"bench/{secrets.token_hex(4)}", "1", image)
    began = time.monotonic()
    await _call(containerd, "PullImage", reference)
    seconds = time.monotonic() - began
    await _remove(containerd, reference)
    return seconds


async def _call(containerd: Containerd, method: str, reference: str) -> None:
    """Call one of CRI's image methods. RemoveImage's messages look on the wire like PullImage's."""
    async with Channel(path=str(containerd.socket)) as channel:
        call = UnaryUnaryMethod(
            channel,
            f"/runtime.v1.ImageService/{method}",
            cri.PullImageRequest,
            cri.PullImageResponse,
        )
        await call(cri.PullImageRequest(image=cri.ImageSpec(image=reference)))


async def _remove(containerd: Containerd, *references: str) -> None:
    """Make the node forget images; returns when their layers are gone too."""
    for reference in references:
        await _call(containerd, "RemoveImage", reference)
    blobs = containerd.root / "io.containerd.content.v1.content" / "blobs" / "sha256"
    while any(blobs.iterdir()):
        await asyncio.sleep(0.05)


async def _through_agent(
    coordinator: Coordinator, registry: Registry, containerd: Containerd, images: list[Image]
) -> float:
    references = [registry.put(f"bench/{secrets.token_hex(4)}", "1", image) for image in images]
    async with aiohttp.ClientSession() as http:
        task = await post_task(http, coordinator.url, {"images": references})
        async with http.get(f"{coordinator.url}/api/v1/tasks/{task}/events") as stream:
            await stream.read()
        async with http.get(f"{coordinator.url}/api/v1/tasks/{task}/nodes") as answer:
            (node,) = (await answer.json())["nodes"]
    assert node["state"] == "succeeded", node
    await _remove(containerd, *references)
    if len(images) == 1:
        return float(node["images"][0]["seconds"])
    return _seconds(node["finishedAt"]) - _seconds(node["startedAt"])


def _seconds(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()


if __name__ == "__main__":
    asyncio.run(run())
