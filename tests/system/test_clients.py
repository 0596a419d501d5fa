"""What clients rely on across crashes: keys, retries, streams that resume, nodes that are gone."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import aiohttp
import pytest

from tests.fixtures.fleet import Fleet
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.system


async def create(fleet: Fleet, key: str, **body: object) -> tuple[int, str]:
    """POST with an Idempotency-Key: status, and the task's id or the problem's detail."""
    headers = {"Idempotency-Key": key}
    async with fleet.http.post(f"{fleet.api}/tasks", json=body, headers=headers) as answer:
        said = await answer.json()
        return answer.status, said.get("taskId") or said["detail"]


async def test_a_key_makes_one_task_however_often_and_when_it_is_sent(fleet: Fleet) -> None:
    """Side by side, after the end and after kill -9: one task; another body is a 409."""
    coordinator = await fleet.add_coordinator()
    await fleet.add_agents(1)
    await fleet.known_nodes(1)
    body = {"images": ["nginx"], "batchSize": 10}
    answers = await asyncio.gather(*(create(fleet, "k", images=["nginx"]) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    (task,) = {task for _, task in answers}
    assert await create(fleet, "k", **body) == (200, task)
    assert (await create(fleet, "k", images=["redis"]))[0] == 409
    await fleet.over(task)
    await coordinator.kill()
    coordinator.start()
    await coordinator.ready()
    assert await create(fleet, "k", images=["nginx"]) == (200, task)
    assert (await fleet.get("/tasks"))["total"] == 1


async def test_retry_makes_a_task_for_the_failed_nodes(fleet: Fleet) -> None:
    """Everything of the first, for the nodes that failed; 409 while it runs or if none failed."""
    await fleet.add_coordinator({"IPS_AGENT_WAIT_SECONDS": "3"})
    await fleet.add_agents(2)
    await fleet.known_nodes(2)
    names = ["node-1", "gone-1", "gone-2"]
    first = await fleet.post(["nginx"], nodeNames=names, priority=7, maxFailedNodes="50%")
    assert (await fleet.over(first))["status"] == "failed"
    async with fleet.http.post(f"{fleet.api}/tasks/{first}/retry") as answer:
        assert answer.status == 201
        second = await answer.json()
        assert answer.headers["Location"].endswith(second["taskId"])
    assert (second["retryOf"], second["priority"], second["maxFailedNodes"]) == (first, 7, "50%")
    async with fleet.http.post(f"{fleet.api}/tasks/{second['taskId']}/retry") as answer:
        assert answer.status == 409
    await fleet.over(second["taskId"])
    assert [n["nodeName"] for n in await fleet.nodes(second["taskId"])] == ["gone-1", "gone-2"]
    good = await fleet.post(["nginx"])
    await fleet.over(good)
    async with fleet.http.post(f"{fleet.api}/tasks/{good}/retry") as answer:
        assert answer.status == 409
    async with fleet.http.post(f"{fleet.api}/tasks/{good}/retry", json={"nodes": "all"}) as answer:
        assert answer.status == 201


async def test_a_stream_resumes_over_kills_without_a_gap_or_a_double(fleet: Fleet) -> None:
    """A client that reconnects with the last id sees every event once, in order, to the last."""
    coordinator = await fleet.add_coordinator()
    nodes = [agent.node for agent in await fleet.add_agents(3)]
    await fleet.known_nodes(len(nodes))
    fleet.hold(*nodes)
    task = await fleet.post(["shop/a:1", "shop/b:1"], batchSize=1)
    follower = asyncio.create_task(follow(fleet, task))
    for done, node in enumerate(nodes):
        await fleet.until(task, lambda seen: seen["progress"]["completedNodes"] == done)  # noqa: B023
        await coordinator.kill()
        coordinator.start()
        fleet.let_go(node)
    await fleet.over(task)
    positions, events = await asyncio.wait_for(follower, PATIENCE)
    assert positions == sorted(set(positions))
    assert events == await fleet.events(task)
    assert events[-1]["type"] == "task.completed"
    headers = {"Last-Event-ID": str(positions[-1])}
    async with fleet.http.get(f"{fleet.api}/tasks/{task}/events", headers=headers) as answer:
        assert answer.status == 204


async def test_a_position_of_a_former_store_is_said_to_be_none(fleet: Fleet) -> None:
    """Whoever resumes after the data directory was lost is told so, instead of missing events."""
    first = await fleet.add_coordinator()
    task = await fleet.post(["nginx"], nodeNames=["nobody"])
    await fleet.until(task, lambda seen: seen["status"] == "running")
    async with fleet.http.get(f"{fleet.api}/tasks/{task}/events") as stream:
        while not (line := await stream.content.readline()).startswith(b"id:"):
            pass
    await first.kill()
    await fleet.add_coordinator(name="anew")
    headers = {"Last-Event-ID": line.removeprefix(b"id:").decode().strip()}
    url = f"{fleet.coordinators[1].url}/api/v1/events"
    async with fleet.http.get(url, headers=headers) as stream:
        while not (line := await stream.content.readline()).startswith(b"event:"):
            pass
        assert line.strip() == b"event: reset"


async def follow(fleet: Fleet, task: str) -> tuple[list[int], list[dict[str, object]]]:
    """Read a task's stream to its last event as a browser does: come back, with the last id."""
    positions: list[int] = []
    events: list[dict[str, object]] = []
    while not events or events[-1]["type"] != "task.completed":
        headers = {"Last-Event-ID": str(positions[-1])} if positions else {}
        with suppress(aiohttp.ClientError, TimeoutError):
            url = f"{fleet.api}/tasks/{task}/events"
            async with fleet.http.get(url, headers=headers) as answer:
                answer.raise_for_status()
                position = 0
                async for line in answer.content:
                    assert line.strip() != b"event: reset"
                    if line.startswith(b"id:"):
                        position = int(line.removeprefix(b"id:"))
                    elif line.startswith(b"data:"):
                        positions.append(position)
                        events.append(json.loads(line.removeprefix(b"data:")))
        await asyncio.sleep(0.1)
    return positions, events


async def test_a_node_that_is_silent_for_long_is_forgotten(fleet: Fleet) -> None:
    """First it is not connected, then it is no more, and it leaves the tasks that wait for it."""
    await fleet.add_coordinator({"IPS_NODE_FORGET_SECONDS": "6", "IPS_AGENT_WAIT_SECONDS": "3600"})
    await fleet.add_agents(2, {"IPS_HEARTBEAT_SECONDS": "0.5"})
    await fleet.known_nodes(2)
    fleet.hold("node-1")
    task = await fleet.post(["nginx"], batchSize=1)
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == 1)
    await fleet.agents["node-2"].kill()
    await fleet.known_nodes(1)
    await fleet.until(task, lambda seen: seen["progress"]["totalNodes"] == 1)
    fleet.let_go()
    seen = await fleet.over(task)
    assert seen["status"] == "completed"
    assert (seen["progress"]["totalNodes"], seen["progress"]["completedNodes"]) == (1, 1)
    assert "node.removed" in [event["type"] for event in await fleet.events(task)]
    async with fleet.http.get(f"{fleet.api}/nodes/node-2") as answer:
        assert answer.status == 404


async def test_more_urgent_tasks_go_first_and_only_so_many_run(fleet: Fleet) -> None:
    """Three at once; of those that wait, the highest priority starts next, then the oldest."""
    await fleet.add_coordinator({"IPS_MAX_CONCURRENT_TASKS": "1"})
    await fleet.add_agents(1)
    await fleet.known_nodes(1)
    fleet.hold("node-1")
    first = await fleet.post(["a:1"])
    await fleet.until(first, lambda seen: seen["status"] == "running")
    low = await fleet.post(["b:1"], priority=1)
    old = await fleet.post(["c:1"], priority=5)
    new = await fleet.post(["d:1"], priority=5)
    high = await fleet.post(["e:1"], priority=10)
    waiting = await fleet.get(f"/tasks/{low}")
    assert (waiting["status"], waiting["progress"]["totalNodes"]) == ("pending", 0)
    assert "1 of 1 task slots" in waiting["message"]
    fleet.let_go()
    for task in (high, old, new, low):
        await fleet.over(task)
    started = [(await fleet.get(f"/tasks/{task}"))["startedAt"] for task in (high, old, new, low)]
    assert started == sorted(started)
    assert (await fleet.get("/tasks?limit=2"))["tasks"][0]["taskId"] == high
