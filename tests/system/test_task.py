"""A task from its POST to its end, on whole programs."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.fixtures.fleet import Fleet

pytestmark = pytest.mark.system


async def test_a_task_completes_on_every_node_and_tells_of_it(fleet: Fleet) -> None:
    """Batches in order, each node once, the events complete, ordered and ended by the last."""
    await fleet.add_coordinator()
    await fleet.add_agents(4, {"IPS_NODE_LABELS": "workload=compute"})
    await fleet.known_nodes(4)
    task = await fleet.post(["nginx", "redis:7"], batchSize=2, nodeSelector={"workload": "compute"})
    seen = await fleet.over(task)
    assert seen["status"] == "completed"
    assert seen["images"] == ["nginx", "redis:7"]
    progress = seen["progress"]
    assert (progress["totalNodes"], progress["completedNodes"]) == (4, 4)
    assert (progress["currentBatch"], progress["totalBatches"]) == (2, 2)
    assert progress["percentage"] == 100.0
    nodes = await fleet.nodes(task)
    assert [(node["nodeName"], node["batch"]) for node in nodes] == [
        ("node-1", 1),
        ("node-2", 1),
        ("node-3", 2),
        ("node-4", 2),
    ]
    assert {node["state"] for node in nodes} == {"succeeded"}
    assert {image["state"] for node in nodes for image in node["images"]} == {"pulled"}

    events = await fleet.events(task)
    types = [event["type"] for event in events]
    assert types[:2] == ["task.created", "task.started"]
    assert types[-2:] == ["task.progress", "task.completed"]
    assert sorted(e["subject"] for e in events if e["type"] == "node.succeeded") == [
        f"{task}/node-{n}" for n in range(1, 5)
    ]
    assert len({event["id"] for event in events}) == len(events)
    done = [e["data"]["progress"]["completedNodes"] for e in events if e["type"] == "task.progress"]
    assert all(earlier <= later for earlier, later in pairwise(done))


async def test_a_failing_image_fails_its_nodes_and_says_why(fleet: Fleet) -> None:
    """A permanent failure is not retried, and every failed image of a node has its entry."""
    await fleet.add_coordinator()
    await fleet.add_agents(2)
    await fleet.known_nodes(2)
    task = await fleet.post(["nginx", "team/fails/image-not-found:1"], maxRetries=3, retryDelay=1)
    seen = await fleet.over(task)
    assert seen["status"] == "failed"
    assert seen["retryCount"] == 0
    assert [(d["nodeName"], d["image"], d["reason"]) for d in seen["failedNodeDetails"]] == [
        ("node-1", "team/fails/image-not-found:1", "ImageNotFound"),
        ("node-2", "team/fails/image-not-found:1", "ImageNotFound"),
    ]
    assert seen["failedNodeDetailsTotal"] == 2


async def test_a_selector_that_matches_nothing_fails_with_its_name(fleet: Fleet) -> None:
    """It passes through running, with its events, and says which selector matched nothing."""
    await fleet.add_coordinator({"IPS_AGENT_WAIT_SECONDS": "2"})
    await fleet.add_agents(1)
    task = await fleet.post(["nginx"], nodeSelector={"gpu": "yes"})
    seen = await fleet.over(task)
    assert seen["status"] == "failed"
    assert "gpu=yes" in seen["message"]
    types = [event["type"] for event in await fleet.events(task)]
    assert types[:2] == ["task.created", "task.started"]
    assert types[-1] == "task.failed"


async def test_a_name_that_no_node_has_fails_as_that_node(fleet: Fleet) -> None:
    """``nodeNames`` may name what is not there: that node fails, the others succeed."""
    await fleet.add_coordinator({"IPS_AGENT_WAIT_SECONDS": "1"})
    await fleet.add_agents(2)
    await fleet.known_nodes(2)
    task = await fleet.post(["nginx"], nodeNames=["node-2", "nobody.example"], maxFailedNodes=1)
    seen = await fleet.over(task)
    assert seen["status"] == "completed"
    states = {n["nodeName"]: (n["state"], n.get("reason")) for n in await fleet.nodes(task)}
    assert states == {
        "node-2": ("succeeded", None),
        "nobody.example": ("failed", "AgentUnavailable"),
    }


async def test_cancel_ends_a_running_task_in_one_step(fleet: Fleet) -> None:
    """What was done stays done, the rest is cancelled at once, and it cannot be cancelled twice."""
    await fleet.add_coordinator()
    await fleet.add_agents(2)
    await fleet.known_nodes(2)
    fleet.hold("node-1", "node-2")
    task = await fleet.post(["nginx"], batchSize=1)
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == 1)
    assert await fleet.cancel(task) == 200
    seen = await fleet.over(task)
    assert seen["status"] == "cancelled"
    assert {node["state"] for node in await fleet.nodes(task)} == {"cancelled"}
    assert await fleet.cancel(task) == 409
    assert await fleet.cancel("task-20260101-000000-00000000") == 404
    assert [e["type"] for e in await fleet.events(task)][-1] == "task.cancelled"
    # The agent is free again: the next task does not wait for the cancelled pull.
    quick = await fleet.post(["redis"], priority=10)
    await fleet.until(quick, lambda seen: seen["progress"]["pullingNodes"] == 2)
