"""Warm sets through whole programs, on real container runtimes.

Whole programs, because what is shown is how they agree: what a runtime tells its agent, what that
tells the coordinator, and what comes of it when one of them is killed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.containerd import Containerd
from sandbox.images import make_image
from sandbox.registry import Registry
from tests.fixtures.containerd import remove_image
from tests.fixtures.fleet import Fleet, Json
from tests.fixtures.patience import PATIENCE

pytestmark = [pytest.mark.system, pytest.mark.containerd]

MIB = 1024 * 1024


def endpoint(containerd: Containerd) -> dict[str, str]:
    """What an agent is told of its runtime."""
    return {"IPS_RUNTIME": "cri", "IPS_RUNTIME_ENDPOINT": f"unix://{containerd.socket}"}


async def put(fleet: Fleet, name: str, *images: str, **fields: Any) -> Json:
    """Put a set."""
    url = f"{fleet.url}/api/v1/sets/{name}"
    async with fleet.http.put(url, json={"images": list(images)} | fields) as answer:
        assert answer.status in {200, 201}, await answer.text()
        shown: Json = await answer.json()
        return shown


async def shown(fleet: Fleet, path: str) -> Json:
    """What is answered about sets; nothing while the coordinator is away."""
    try:
        async with fleet.http.get(f"{fleet.url}/api/v1/sets/{path}") as answer:
            found: Json = await answer.json() if answer.status == 200 else {}
    except OSError:
        return {}
    return found


async def until(fleet: Fleet, path: str, condition: Callable[[Json], bool]) -> Json:
    """Wait until something about sets is so."""
    async with asyncio.timeout(PATIENCE):
        while not ((found := await shown(fleet, path)) and condition(found)):
            await asyncio.sleep(0.02)
    return found


def warm(nodes: int) -> Callable[[Json], bool]:
    """Whether so many nodes are in a set, and all warm."""
    return lambda found: found["nodes"]["warm"] == found["nodes"]["total"] == nodes


async def test_what_was_removed_comes_back(fleet: Fleet, registry: Registry) -> None:
    """On the node where it was; nothing is pulled where it is, and nothing for a set of the same.

    Within three seconds and the time of the pull: two of them to gather other nodes.
    """
    one = registry.put("team/app", "1", make_image(MIB, seed="app"))
    other = registry.put("team/db", "7", make_image(MIB, seed="db"))
    async with Containerd() as first, Containerd() as second:
        await fleet.add_coordinator()
        await fleet.add_agents(1, endpoint(first), prefix="a")
        await fleet.add_agents(1, endpoint(second), prefix="b")
        await fleet.known_nodes(2)
        await put(fleet, "web", one, other)
        await until(fleet, "web", warm(2))
        sent = registry.sent()
        await put(fleet, "shared", one)
        await until(fleet, "shared", warm(2))
        assert registry.sent() == sent
        began = time.monotonic()
        await remove_image(first, other)
        await until(fleet, "web", lambda found: not warm(2)(found))
        await until(fleet, "web", warm(2))
        print(f"back after {time.monotonic() - began:.2f} s")  # noqa: T201 -- shown by -s
        assert registry.sent() > sent
        assert (await shown(fleet, "shared"))["nodes"]["warm"] == 2
        nodes = (await shown(fleet, "web/nodes"))["nodes"]
        assert [node["state"] for node in nodes] == ["warm", "warm"]
        assert all(image["digest"] for node in nodes for image in node["images"])


async def test_who_is_killed_in_a_repair_changes_nothing_of_its_end(
    fleet: Fleet, registry: Registry, containerd: Containerd
) -> None:
    """The agent in the middle of it, the coordinator between the report and the repair."""
    reference = registry.put("team/big", "1", make_image(8 * MIB, seed="big"))
    registry.faults().stall(after=4 * MIB)
    await fleet.add_coordinator()
    await fleet.add_agents(1, endpoint(containerd))
    await fleet.known_nodes(1)
    await put(fleet, "web", reference)
    await registry.until(lambda: registry.sent() >= 4 * MIB)
    await fleet.agents["node-1"].kill()
    registry.faults().heal()
    await fleet.add_agents(1, endpoint(containerd))
    found = await until(fleet, "web", warm(1))
    assert found["generation"] == 1
    await remove_image(containerd, reference)
    await until(fleet, "web", lambda found: not warm(1)(found))
    await fleet.coordinator.kill()
    fleet.coordinator.start()
    await fleet.coordinator.ready()
    await until(fleet, "web", warm(1))


async def test_a_runtime_that_was_restarted_is_heard_again(
    fleet: Fleet, registry: Registry, containerd: Containerd
) -> None:
    """What it lost meanwhile is noticed without waiting for a minute."""
    reference = registry.put("team/app", "1", make_image(MIB, seed="app"))
    await fleet.add_coordinator()
    await fleet.add_agents(1, endpoint(containerd))
    await fleet.known_nodes(1)
    await put(fleet, "web", reference)
    await until(fleet, "web", warm(1))
    await containerd.kill()
    await containerd.start()
    await remove_image(containerd, reference)
    await until(fleet, "web", lambda found: not warm(1)(found))
    await until(fleet, "web", warm(1))


async def test_why_a_node_is_not_warm(
    fleet: Fleet, registry: Registry, containerd: Containerd
) -> None:
    """What is not in the registry blocks it; what comes later is found by the next try."""
    await fleet.add_coordinator()
    await fleet.add_agents(1, endpoint(containerd))
    await fleet.known_nodes(1)
    await put(fleet, "web", f"{registry.host}/team/none:1")
    found = await until(fleet, "web", lambda found: found["nodes"]["blocked"] == 1)
    assert found["reasons"] == {"ImageNotFound": 1}
    (node,) = (await shown(fleet, "web/nodes?state=blocked"))["nodes"]
    assert (node["reason"], node["image"]) == ("ImageNotFound", f"{registry.host}/team/none:1")
    assert node["nextTryAt"]
    tasks = await fleet.http.get(f"{fleet.url}/api/v1/tasks")
    (task,) = (await tasks.json())["tasks"]
    assert task["set"] == "web"
