"""The main job on real container runtimes: real layers land, through whole programs."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from sandbox.containerd import Containerd
from sandbox.faults import Kind
from sandbox.images import make_image
from sandbox.registry import Registry
from tests.fixtures.fleet import Fleet, Json

pytestmark = [pytest.mark.system, pytest.mark.containerd]

MIB = 1024 * 1024


async def node(fleet: Fleet, containerd: Containerd, **settings: str) -> None:
    """One node with an agent on this containerd."""
    await fleet.add_coordinator()
    await fleet.add_agents(1, endpoint(containerd) | settings)
    await fleet.known_nodes(1)


def endpoint(containerd: Containerd) -> dict[str, str]:
    """What an agent is told of its runtime."""
    return {"IPS_RUNTIME": "cri", "IPS_RUNTIME_ENDPOINT": f"unix://{containerd.socket}"}


def images_of(nodes: list[Json]) -> list[Json]:
    """All images of all nodes."""
    return [image for node in nodes for image in node["images"]]


async def test_real_images_land_and_are_found_the_next_time(
    fleet: Fleet, registry: Registry
) -> None:
    """Two nodes, two images: pulled with digest and bytes; then present, and no byte is sent."""
    reference = registry.put("team/app", "1", image := make_image(2 * MIB, MIB, seed="app"))
    other = registry.put("team/db", "7", make_image(MIB, seed="db"))
    async with Containerd() as first, Containerd() as second:
        await fleet.add_coordinator()
        await fleet.add_agents(1, endpoint(first), prefix="a")
        await fleet.add_agents(1, endpoint(second), prefix="b")
        await fleet.known_nodes(2)
        task = await fleet.post([reference, other], batchSize=1)
        assert (await fleet.over(task))["status"] == "completed"
        found = images_of(await fleet.nodes(task))
        assert {(i["image"], i["state"]) for i in found} == {
            (reference, "pulled"),
            (other, "pulled"),
        }
        assert {i["digest"] for i in found if i["image"] == reference} == {image.digest}
        assert all(i["bytes"] > MIB and i["seconds"] > 0 for i in found)
        sent = registry.sent()
        again = await fleet.post([reference, other])
        assert (await fleet.over(again))["status"] == "completed"
        assert {i["state"] for i in images_of(await fleet.nodes(again))} == {"present"}
        assert registry.sent() == sent


async def test_progress_in_bytes_rises_to_the_total(
    fleet: Fleet, registry: Registry, containerd: Containerd
) -> None:
    """While a layer comes in, bytes are seen, never fall, and end at the image's size."""
    reference = registry.put("team/slow", "1", make_image(12 * MIB, seed="slow"))
    registry.faults().stall(after=6 * MIB)
    await node(fleet, containerd)
    task = await fleet.post([reference])
    seen: list[int] = []

    def note(shown: Json) -> int:
        seen.append(shown["progress"].get("bytes", 0))
        return seen[-1]

    await fleet.until(task, lambda shown: note(shown) > 4 * MIB)
    registry.faults().heal()
    await fleet.until(task, lambda shown: bool(note(shown)) and shown["status"] == "completed")
    assert seen == sorted(seen)
    (image,) = images_of(await fleet.nodes(task))
    assert image["bytes"] == image["totalBytes"] > 12 * MIB


async def test_a_runtime_killed_in_mid_pull_is_a_failed_attempt_and_the_retry_resumes(
    fleet: Fleet, registry: Registry, containerd: Containerd
) -> None:
    """RuntimeUnavailable; the second attempt fetches only what is missing."""
    reference = registry.put("team/big", "1", make_image(16 * MIB, 16 * MIB, seed="big"))
    registry.faults().stall(after=12 * MIB)
    await node(fleet, containerd)
    task = await fleet.post([reference], maxRetries=2, retryDelay=2)
    await registry.until(lambda: registry.sent() >= 24 * MIB)
    await containerd.kill()
    await registry.until(lambda: not registry.busy)
    registry.faults().heal()
    await containerd.start()
    seen = await fleet.over(task)
    assert (seen["status"], seen["retryCount"]) == ("completed", 1)
    (retry,) = [e for e in await fleet.events(task) if e["type"] == "node.retrying"]
    assert retry["data"]["reason"] == "RuntimeUnavailable"
    # What was in the sockets of the runtime that was killed comes again.
    assert registry.sent() < 52 * MIB, "all of it anew would be 56"


async def test_an_agent_killed_in_mid_pull_resumes_without_a_failed_attempt(
    fleet: Fleet, registry: Registry, containerd: Containerd
) -> None:
    """The lease keeps what has come; the next run of the agent fetches the rest."""
    reference = registry.put("team/big", "1", make_image(16 * MIB, 16 * MIB, seed="big"))
    registry.faults().stall(after=12 * MIB)
    await node(fleet, containerd)
    task = await fleet.post([reference])
    await registry.until(lambda: registry.sent() >= 24 * MIB)
    agent = fleet.agents["node-1"]
    await agent.kill()
    await registry.until(lambda: not registry.busy)
    registry.faults().heal()
    agent.start()
    seen = await fleet.over(task)
    assert (seen["status"], seen["retryCount"]) == ("completed", 0)
    # What was on its way when the agent was killed comes again.
    assert registry.sent() < 52 * MIB, "all of it anew would be 56"


async def test_cancel_stops_the_bytes_and_keeps_what_is_there(
    fleet: Fleet, registry: Registry, containerd: Containerd
) -> None:
    """The runtime hangs up on what is held back for ever; an image that had arrived stays."""
    small = registry.put("team/small", "1", make_image(MIB, seed="small"))
    big = registry.put("team/big", "1", make_image(12 * MIB, seed="big"))
    registry.faults("team/big").stall(after=5 * MIB)
    await node(fleet, containerd)
    task = await fleet.post([small, big])
    await registry.until(lambda: registry.sent("team/big") >= 5 * MIB)
    while "pulled" not in {i["state"] for i in images_of(await fleet.nodes(task))}:
        await asyncio.sleep(0.05)
    assert await fleet.cancel(task) == 200
    await registry.until(lambda: not registry.busy)
    assert registry.sent("team/big") < 6 * MIB
    assert (await fleet.over(task))["status"] == "cancelled"
    again = await fleet.post([small])
    await fleet.over(again)
    assert [i["state"] for i in images_of(await fleet.nodes(again))] == ["present"]


async def test_a_private_registry_is_opened_by_the_nodes_own_config(
    fleet: Fleet, registry: Registry, containerd: Containerd
) -> None:
    """Without it Unauthorized, which is not retried; a file that appears is read at once."""
    reference = registry.put("team/secret", "1", make_image(MIB, seed="secret"))
    registry.protect("team/secret", "user", "pa:ss word")
    config = fleet.folder / "config.json"
    await node(fleet, containerd, IPS_REGISTRY_CONFIG=str(config))
    refused = await fleet.over(await fleet.post([reference], maxRetries=3, retryDelay=1))
    assert [d["reason"] for d in refused["failedNodeDetails"]] == ["Unauthorized"]
    assert refused["retryCount"] == 0
    token = base64.b64encode(b"user:pa:ss word").decode()
    config.write_text(json.dumps({"auths": {registry.host: {"auth": token}}}))
    assert (await fleet.over(await fleet.post([reference])))["status"] == "completed"
    assert "pa:ss" not in fleet.agents["node-1"].log + fleet.coordinator.log


async def test_one_bad_image_does_not_keep_the_others_away(
    fleet: Fleet, registry: Registry, containerd: Containerd
) -> None:
    """Each image has its own outcome and reason; only what may succeed is tried again."""
    good = registry.put("team/good", "1", make_image(MIB, seed="good"))
    foreign = registry.put("team/arm", "1", make_image(MIB, seed="arm", platform="linux/arm64"))
    flaky = registry.put("team/flaky", "1", make_image(MIB, seed="flaky"))
    registry.faults("team/flaky").refuse(Kind.MANIFEST, 503, times=2)
    absent = f"{registry.host}/team/absent:1"
    await node(fleet, containerd)
    task = await fleet.post([good, foreign, flaky, absent], maxRetries=2, retryDelay=1)
    seen = await fleet.over(task)
    assert seen["status"] == "failed"
    assert {(d["image"], d["reason"]) for d in seen["failedNodeDetails"]} == {
        (foreign, "PlatformMismatch"),
        (absent, "ImageNotFound"),
    }
    states = {i["image"]: i["state"] for i in images_of(await fleet.nodes(task))}
    assert (states[good], states[flaky]) == ("pulled", "pulled")
    asked = [h for h in registry.hits if h.repository == "team/absent" and h.method != "GET"]
    assert len(asked) == 1
