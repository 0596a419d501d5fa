"""Any process may be killed at any moment, and the task ends right with each node counted once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from sandbox.child import wait_until_it_stands
from sandbox.programs import Coordinator
from tests.fixtures.fleet import Fleet, Json
from tests.fixtures.nats import NatsServer
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.system

KILLS = 6
NODES = 4
IMAGES = [f"shop/image-{n}:1" for n in range(6)]
Kill = Callable[[Fleet, int], Awaitable[None]]


async def kill_coordinator(fleet: Fleet, _: int) -> None:
    """SIGKILL; its nats-server, a child of it, dies with it."""
    await fleet.coordinator.kill()
    fleet.coordinator.start()


async def kill_agent(fleet: Fleet, number: int) -> None:
    """SIGKILL one agent after the other and start it again: five losses of one are a verdict."""
    agent = list(fleet.agents.values())[number % NODES]
    await agent.kill()
    agent.start()


async def kill_nats(fleet: Fleet, _: int) -> None:
    """SIGKILL the nats-server under the coordinator, which starts another."""
    for child in fleet.nats_pids():
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_coordinator, kill_agent, kill_nats])
async def test_kills_in_a_row_do_no_harm(fleet: Fleet, kill: Kill) -> None:
    """The task completes without a failed attempt, and every event was told exactly once.

    One node is held until the last kill, so that all of them happen to a running task.
    """
    await fleet.add_coordinator()
    await fleet.add_agents(NODES, {"IPS_SIMULATED_SECONDS": "0.5"})
    await fleet.known_nodes(NODES)
    fleet.hold(f"node-{NODES}")
    task = await fleet.post(IMAGES, batchSize=2)
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == 2)
    for number in range(KILLS):
        await kill(fleet, number)
        await asyncio.sleep(random.uniform(0.1, 1.0))
    fleet.let_go()
    seen = await fleet.over(task)
    assert_right_end(seen, await fleet.nodes(task))
    events = await fleet.events(task)
    types = Counter(event["type"] for event in events)
    assert types["task.created"] == types["task.started"] == types["task.completed"] == 1
    assert types["node.succeeded"] == NODES
    assert len({event["id"] for event in events}) == len(events)
    assert events[-1]["type"] == "task.completed"


def assert_right_end(seen: Json, nodes: list[Json]) -> None:
    """Completed, every node once, no attempt spent."""
    assert seen["status"] == "completed", seen
    assert seen["progress"]["completedNodes"] == seen["progress"]["totalNodes"] == NODES
    assert seen["retryCount"] == 0
    assert [node["nodeName"] for node in nodes] == [f"node-{n + 1}" for n in range(NODES)]
    assert {(node["state"], node["attempt"]) for node in nodes} == {("succeeded", 1)}


@contextmanager
def paused_nats(fleet: Fleet) -> Iterator[None]:
    """SIGSTOP for the nats-server under the coordinator, then SIGCONT."""
    [nats] = fleet.nats_pids()
    os.kill(nats, signal.SIGSTOP)
    try:
        wait_until_it_stands(nats)
        yield
    finally:
        os.kill(nats, signal.SIGCONT)


async def test_a_nats_that_is_paused_makes_nobody_lost(fleet: Fleet) -> None:
    """SIGSTOP for longer than agents are waited for: no attempt is spent.

    They are waited for so long that a busy machine lets each of them speak within that time.
    """
    await fleet.add_coordinator({"IPS_AGENT_WAIT_SECONDS": "10"})
    await fleet.add_agents(NODES)
    await fleet.known_nodes(NODES)
    fleet.hold(*fleet.agents)
    task = await fleet.post(IMAGES[:2])
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == NODES)
    with paused_nats(fleet):
        await asyncio.sleep(12)
    fleet.let_go()
    assert_right_end(await fleet.over(task), await fleet.nodes(task))


async def test_a_cancel_that_is_not_answered_tells_one_story(fleet: Fleet) -> None:
    """The nodes end while it is unknown whether the task does: events say what the nodes say."""
    await fleet.add_coordinator()
    await fleet.add_agents(NODES)
    await fleet.known_nodes(NODES)
    fleet.hold(*fleet.agents)
    task = await fleet.post(IMAGES[:1])
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == NODES)
    with paused_nats(fleet):
        fleet.let_go()
        async with fleet.http.delete(f"{fleet.api}/tasks/{task}") as answer:
            assert answer.status == 503
    seen = await fleet.over(task)
    states = Counter(node["state"] for node in await fleet.nodes(task))
    last = f"task.{seen['status']}"
    events: list[Json] = []
    async with asyncio.timeout(PATIENCE):
        while last not in [event["type"] for event in events]:
            events = await fleet.events(task)
            await asyncio.sleep(0.1)
    types = Counter(event["type"] for event in events)
    assert types["node.succeeded"] == states["succeeded"]
    assert states["succeeded"] == (NODES if seen["status"] == "completed" else 0)


async def test_an_agent_that_never_returns_is_a_failed_attempt(fleet: Fleet) -> None:
    """After acceptance it is AgentLost; the retry finds nobody and is AgentUnavailable."""
    await fleet.add_coordinator({"IPS_AGENT_WAIT_SECONDS": "2"})
    await fleet.add_agents(1, {"IPS_HEARTBEAT_SECONDS": "1"})
    await fleet.known_nodes(1)
    fleet.hold("node-1")
    task = await fleet.post(["nginx"], maxRetries=1, retryDelay=1)
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == 1)
    await fleet.agents["node-1"].kill()
    seen = await fleet.over(task)
    assert seen["status"] == "failed"
    (retry,) = [e for e in await fleet.events(task) if e["type"] == "node.retrying"]
    assert retry["data"]["reason"] == "AgentLost"
    assert [d["reason"] for d in seen["failedNodeDetails"]] == ["AgentUnavailable"]


async def test_an_agent_that_stops_in_order_hands_its_work_back(fleet: Fleet) -> None:
    """A restart of an agent is no failed attempt; its work goes to its next run."""
    await fleet.add_coordinator()
    await fleet.add_agents(1)
    await fleet.known_nodes(1)
    fleet.hold("node-1")
    task = await fleet.post(["nginx"])
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == 1)
    agent = fleet.agents["node-1"]
    await agent.terminate()
    assert agent.exit_code == 0
    fleet.let_go()
    agent.start()
    seen = await fleet.over(task)
    assert (seen["status"], seen["retryCount"]) == ("completed", 0)
    assert [node["attempt"] for node in await fleet.nodes(task)] == [1]


async def test_two_agents_under_one_name_take_no_work(fleet: Fleet, tmp_path: Path) -> None:
    """The conflict is shown; when one of the two ends, the node works again."""
    await fleet.add_coordinator()
    beats = {"IPS_HEARTBEAT_SECONDS": "0.5"}
    await fleet.add_agents(1, beats)
    twin = (await fleet.add_agents(1, {**beats, "IPS_DATA_DIR": str(tmp_path / "twin")}))[0]
    try:
        async with asyncio.timeout(PATIENCE):
            while (await fleet.get("/nodes/node-1"))["schedulable"]:
                await asyncio.sleep(0.05)
        fleet.hold("node-1")  # whoever took work would be seen to pull
        task = await fleet.post(["nginx"])
        why = "Two agents run under the node name node-1"
        await fleet.until(task, lambda seen: seen.get("message", "").startswith(why))
        (node,) = await fleet.nodes(task)
        assert node["state"] == "assigned"
        fleet.let_go()
    finally:
        await twin.kill()
    assert (await fleet.over(task))["status"] == "completed"


async def leader(fleet: Fleet, coordinator: Coordinator) -> str:
    """Wait until a coordinator knows who leads; the port of that one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(aiohttp.ClientError):
                async with fleet.http.get(f"{coordinator.url}/api/v1/leader") as answer:
                    said = await answer.json()
                    if "leader" in said:
                        return str(said["leader"]).rpartition(":")[2]
            await asyncio.sleep(0.05)


async def until_led_by(fleet: Fleet, asked: Coordinator, wanted: Coordinator) -> None:
    """Wait until a coordinator says that another one leads, or itself."""
    async with asyncio.timeout(PATIENCE):
        while await leader(fleet, asked) != str(wanted.port):
            await asyncio.sleep(0.05)


async def last_event(fleet: Fleet, coordinator: Coordinator, task: str) -> str:
    """Watch a task's events, live frames too, to their end: the type of the last one."""
    last, frames = "", 0
    url = f"{coordinator.url}/api/v1/tasks/{task}/events?live=true"
    async with asyncio.timeout(PATIENCE), fleet.http.get(url) as stream:
        async for line in stream.content:
            if line.startswith(b"event: "):
                last = line.decode().removeprefix("event: ").strip()
                frames += last == "nodes"
    assert frames
    return last


@pytest.mark.parametrize("end", ["killed", "stopped"])
async def test_two_coordinators_answer_and_one_follows_the_other(
    fleet: Fleet, nats_server: NatsServer, end: str
) -> None:
    """Whole programs on one NATS: what one is told the other knows, and outlives it."""
    fleet.nats_settings = {"IPS_NATS_URL": nats_server.url}
    first = await fleet.add_coordinator()
    await until_led_by(fleet, first, first)
    second = await fleet.add_coordinator(name="second")
    await until_led_by(fleet, second, first)
    await fleet.add_agents(NODES)
    await fleet.known_nodes(NODES)
    fleet.hold(*fleet.agents)
    body = {"images": ["nginx"], "batchSize": 2}
    async with fleet.http.post(f"{second.url}/api/v1/tasks", json=body) as answer:
        assert answer.status == 201
        task = (await answer.json())["taskId"]
    async with fleet.http.get(f"{first.url}/api/v1/tasks/{task}") as answer:
        assert answer.status == 200
    fleet.coordinators.reverse()  # the second one is asked from now on
    watching = asyncio.create_task(last_event(fleet, second, task))
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == 2)
    await (first.kill() if end == "killed" else first.terminate())
    await until_led_by(fleet, second, second)
    fleet.let_go()
    assert_right_end(await fleet.over(task), await fleet.nodes(task))
    assert await watching == "task.completed"


async def test_a_second_coordinator_on_the_same_folder_is_refused(fleet: Fleet) -> None:
    """One line names the folder; the first goes on."""
    first = await fleet.add_coordinator()
    folder = str(fleet.folder / "coordinator")
    second = await fleet.add_coordinator({"IPS_DATA_DIR": folder}, name="second", ready=False)
    await second.exited()
    assert second.exit_code not in {0, None}
    (line,) = [line for line in second.log.splitlines() if "cannot start" in line]
    assert folder in line
    assert "Traceback" not in second.log
    await first.ready()
