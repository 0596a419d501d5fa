from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from common.text import Text
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.port import StoreAway
from coordinator.snapshots import KnownNode
from tests.api.conftest import Client
from tests.api.fake_engine import FakeEngine, begin, not_found, pulled

Create = Callable[..., Awaitable[Any]]
TASKS = "/api/v1/tasks"


# ── create ───────────────────────────────────────────────────────────────────────────────────


async def test_more_pending_tasks_than_may_be_are_refused_for_now(
    client: Client, engine: FakeEngine
) -> None:
    """429 with a code and when to come back; a repetition of a known create is answered still."""
    engine.most_pending = 1
    headers, body = {"Idempotency-Key": "key"}, {"images": ["a"]}
    assert (await client.post(TASKS, json=body, headers=headers)).status == 201
    answer = await client.post(TASKS, json=body)
    assert answer.status == 429
    assert answer.content_type == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    problem = await answer.json()
    assert problem["messageCode"] == "task.tooManyPending"
    assert problem["messageParams"] == {"most": 1}
    assert (await client.post(TASKS, json=body, headers=headers)).status == 200


async def test_create_answers_as_the_contract_shows(client: Client) -> None:
    """201, Location, the fields as given, defaults filled in, no null, no secret."""
    body = {
        "images": ["nginx:latest", "redis:7"],
        "batchSize": 10,
        "priority": 5,
        "maxRetries": 3,
        "retryStrategy": "linear",
        "retryDelay": 30,
        "webhookUrl": "https://me:secret@example.com:8443/webhook?token=secret",
        "nodeSelector": {"workload": "compute"},
        "matchExpressions": [{"key": "gpu", "operator": "Exists"}],
        "nodeNames": ["node-1"],
    }
    answer = await client.post(TASKS, json=body)
    assert answer.status == 201
    task = await answer.json()
    assert answer.headers["Location"] == f"{TASKS}/{task['taskId']}"
    assert answer.content_type == "application/json"
    assert task == {
        "taskId": "task-20260116-151234-00000000",
        "status": "pending",
        "priority": 5,
        "images": ["nginx:latest", "redis:7"],
        "batchSize": 10,
        "maxRetries": 3,
        "retryCount": 0,
        "retryStrategy": "linear",
        "retryDelay": 30,
        "webhookUrl": "https://example.com:8443",
        "nodeSelector": {"workload": "compute"},
        "matchExpressions": [{"key": "gpu", "operator": "Exists"}],
        "maxFailedNodes": 0,
        "rollout": "batch",
        "imagePullPolicy": "IfNotPresent",
        "pullTimeoutSeconds": 1800,
        "progress": {
            "totalNodes": 0,
            "completedNodes": 0,
            "failedNodes": 0,
            "currentBatch": 0,
            "totalBatches": 0,
            "percentage": 0.0,
            "pullingNodes": 0,
            "retryingNodes": 0,
            "waitingNodes": 0,
            "assignedNodes": 0,
            "cancelledNodes": 0,
        },
        "failedNodeDetails": [],
        "failedNodeDetailsTotal": 0,
        "createdAt": "2026-01-16T15:12:34Z",
    }


async def test_the_same_key_and_body_make_one_task(client: Client, engine: FakeEngine) -> None:
    """200 with the first task as it is now; the body counts as parsed, not as written."""
    headers = {"Idempotency-Key": "k" * 255}
    first = await (await client.post(TASKS, json={"images": ["a"]}, headers=headers)).json()
    engine.started(first["taskId"], ["node-1"])
    again = await client.post(
        TASKS,
        data=b'{ "batchSize": 10, "images": ["a"] }',
        headers=headers | {"Content-Type": "application/json; charset=UTF-8"},
    )
    assert again.status == 200
    task = await again.json()
    assert (task["taskId"], task["status"]) == (first["taskId"], "running")


async def test_the_same_key_with_another_body_is_a_conflict(client: Client) -> None:
    """409 names the task that the key belongs to."""
    headers = {"Idempotency-Key": "key"}
    first = await (await client.post(TASKS, json={"images": ["a"]}, headers=headers)).json()
    other = await client.post(TASKS, json={"images": ["b"]}, headers=headers)
    assert other.status == 409
    assert first["taskId"] in (await other.json())["detail"]


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_keys_of_a_wrong_length(client: Client, key: str) -> None:
    """A key has 1 to 255 characters."""
    answer = await client.post(TASKS, json={"images": ["a"]}, headers={"Idempotency-Key": key})
    assert answer.status == 400
    assert [fault["field"] for fault in (await answer.json())["errors"]] == ["Idempotency-Key"]


async def test_a_pending_task_says_what_it_waits_for(
    client: Client, engine: FakeEngine, create: Create
) -> None:
    """The message of a pending task is why it does not run."""
    engine.waits = "Waits: 3 tasks are running, at most 3 may run at once."
    task = await create()
    assert task["message"] == engine.waits
    assert (await _get(client, task["taskId"]))["message"] == engine.waits


# ── get ──────────────────────────────────────────────────────────────────────────────────────


async def _get(client: Client, task: str) -> Any:
    answer = await client.get(f"{TASKS}/{task}")
    assert answer.status == 200
    return await answer.json()


@pytest.mark.parametrize(
    "path", ["task-20260116-151234-ffffffff", "nonsense", "...", "a%2Fb", "%ff", "task-%00"]
)
@pytest.mark.parametrize("suffix", ["", "/nodes", "/events"])
async def test_unknown_tasks(client: Client, path: str, suffix: str) -> None:
    """404 as a problem, whatever stands for the id."""
    answer = await client.get(f"{TASKS}/{path}{suffix}")
    assert answer.status == 404
    assert answer.content_type == "application/problem+json"


async def test_a_finished_task_shows_its_first_failures(
    client: Client, engine: FakeEngine, create: Create
) -> None:
    """100 details of more, and how many there are; a list item has only the number."""
    task = (await create(images=["a", "b"]))["taskId"]
    names = [f"node-{number:03}" for number in range(120)]
    engine.started(task, names)
    for name in names:
        engine.outcome(task, name, not_found("a", "b"))
    engine.ended(task, TaskStatus.FAILED)
    shown = await _get(client, task)
    assert len(shown["failedNodeDetails"]) == 100
    assert shown["failedNodeDetailsTotal"] == 240
    assert shown["failedNodeDetails"][1] == {
        "nodeName": "node-000",
        "image": "b",
        "reason": "ImageNotFound",
        "message": "b: not found",
        "timestamp": "2026-01-16T15:12:35Z",
    }
    assert shown["finishedAt"] == "2026-01-16T15:12:39Z"
    item = (await (await client.get(TASKS)).json())["tasks"][0]
    del shown["failedNodeDetails"]
    assert item == shown


async def test_details_need_the_store(
    client: Client, engine: FakeEngine, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What memory does not hold is a 503 with the reason while the store is away."""
    task = (await create())["taskId"]
    engine.started(task, ["node-1"])
    engine.outcome(task, "node-1", not_found("nginx"))
    engine.ended(task, TaskStatus.FAILED)

    async def away(_: str) -> None:
        raise StoreAway(Text("NATS is away."))

    monkeypatch.setattr(engine, "snapshot_with_nodes", away)
    answer = await client.get(f"{TASKS}/{task}")
    assert answer.status == 503
    assert (await answer.json())["detail"] == "NATS is away."
    assert (await client.get(TASKS)).status == 200


# ── list ─────────────────────────────────────────────────────────────────────────────────────


async def test_the_list_is_newest_first_in_pages(client: Client, create: Create) -> None:
    """Ten where none says; total counts what matches; past the end there is nothing."""
    ids = [(await create())["taskId"] for _ in range(12)][::-1]
    first = await (await client.get(TASKS)).json()
    assert [task["taskId"] for task in first["tasks"]] == ids[:10]
    assert (first["total"], first["limit"], first["offset"]) == (12, 10, 0)
    rest = await (await client.get(TASKS, params={"limit": 5, "offset": 10})).json()
    assert [task["taskId"] for task in rest["tasks"]] == ids[10:]
    assert (rest["total"], rest["limit"], rest["offset"]) == (12, 5, 10)
    past = await (await client.get(TASKS, params={"offset": 9_007_199_254_740_991})).json()
    assert (past["tasks"], past["total"]) == ([], 12)


async def test_the_list_by_status(client: Client, engine: FakeEngine, create: Create) -> None:
    """``total`` counts what the filter matches."""
    pending, running = (await create())["taskId"], (await create())["taskId"]
    engine.started(running, ["node-1"])
    for status, ids in (("pending", [pending]), ("running", [running]), ("failed", [])):
        listed = await (await client.get(TASKS, params={"status": status})).json()
        assert [task["taskId"] for task in listed["tasks"]] == ids
        assert listed["total"] == len(ids)


@pytest.mark.parametrize("query", ["", "?status=&limit=&offset=", "?limit=0", "?other=1&limit=10"])
async def test_empty_parameters_count_as_absent(client: Client, query: str) -> None:
    """So does a limit of 0; unknown parameters are not looked at."""
    answer = await client.get(TASKS + query)
    assert answer.status == 200
    assert (await answer.json())["limit"] == 10


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=101", ["?limit"]),
        ("limit=-1", ["?limit"]),
        ("limit=ten", ["?limit"]),
        ("limit=1.0", ["?limit"]),
        ("limit=%2B1", ["?limit"]),
        ("limit=٣", ["?limit"]),
        ("limit=" + "9" * 5000, ["?limit"]),
        ("offset=-1", ["?offset"]),
        ("offset=9007199254740992", ["?offset"]),
        ("status=Running", ["?status"]),
        ("status=%ff&limit=x&offset=y", ["?limit", "?offset", "?status"]),
    ],
)
async def test_bad_parameters(client: Client, query: str, fields: list[str]) -> None:
    """Every parameter out of range is named."""
    answer = await client.get(f"{TASKS}?{query}")
    assert answer.status == 400
    assert [fault["field"] for fault in (await answer.json())["errors"]] == fields


# ── cancel ───────────────────────────────────────────────────────────────────────────────────


async def test_cancel(client: Client, engine: FakeEngine, create: Create) -> None:
    """200 in the contract's words, then 409; 404 for an unknown one."""
    task = (await create())["taskId"]
    engine.started(task, ["node-1", "node-2"])
    engine.outcome(task, "node-1", pulled("nginx"))
    answer = await client.delete(f"{TASKS}/{task}")
    assert answer.status == 200
    assert await answer.json() == {
        "taskId": task,
        "status": "cancelled",
        "message": "Task cancelled successfully",
        "messageCode": "cancel.done",
        "messageParams": {},
    }
    again = await client.delete(f"{TASKS}/{task}")
    assert again.status == 409
    assert "cancelled" in (await again.json())["detail"]
    assert (await client.delete(f"{TASKS}/task-0")).status == 404
    nodes = await (await client.get(f"{TASKS}/{task}/nodes")).json()
    assert [node["state"] for node in nodes["nodes"]] == ["succeeded", "cancelled"]


# ── again ────────────────────────────────────────────────────────────────────────────────────


async def _finished(engine: FakeEngine, task: str) -> TaskHead:
    engine.started(task, ["node-1", "node-2", "node-3"])
    engine.outcome(task, "node-1", not_found("nginx"))
    engine.outcome(task, "node-2", pulled("nginx"))
    engine.outcome(task, "node-3", not_found("nginx"))
    engine.ended(task, TaskStatus.FAILED)
    return engine.all_heads[task]


async def test_retry_of_failed_nodes(client: Client, engine: FakeEngine, create: Create) -> None:
    """A new task with everything of the first, the webhook's secret included, for what failed."""
    task = await create(webhookUrl="https://h/secret", nodeSelector={"a": "b"}, priority=9)
    first = await _finished(engine, task["taskId"])
    bodies: list[dict[str, Any]] = [{"json": {}}, {"json": {"nodes": "failed"}}, {}, {"data": b""}]
    for body in bodies:
        answer = await client.post(f"{TASKS}/{task['taskId']}/retry", **body)
        assert answer.status == 201
        made = await answer.json()
        assert made["retryOf"] == task["taskId"]
        assert made["taskId"] != task["taskId"]
        assert answer.headers["Location"].endswith(made["taskId"])
        assert engine.names[made["taskId"]] == ["node-1", "node-3"]
        spec = engine.all_heads[made["taskId"]].spec
        assert spec.webhook_url == "https://h/secret"
        assert (spec.node_selector, spec.priority) == ({"a": "b"}, 9)
        assert spec.names_nodes
        assert not first.spec.names_nodes


async def test_retry_of_all_nodes(client: Client, engine: FakeEngine, create: Create) -> None:
    """By the first task's own selection, its ``nodeNames`` included."""
    free, named = (await create())["taskId"], (await create(nodeNames=["x", "node-1"]))["taskId"]
    for task, names in ((free, None), (named, ("node-1", "x"))):
        await _finished(engine, task)
        answer = await client.post(f"{TASKS}/{task}/retry", json={"nodes": "all"})
        made = (await answer.json())["taskId"]
        assert answer.status == 201
        assert engine.names.get(made) == names
        assert engine.all_heads[made].spec.names_nodes is (names is not None)


async def test_what_cannot_be_retried(client: Client, engine: FakeEngine, create: Create) -> None:
    """A task that is not over, one without failures, an unknown one, a bad body."""
    task = (await create())["taskId"]
    retry = f"{TASKS}/{task}/retry"
    assert (await client.post(retry)).status == 409
    engine.started(task, ["node-1"])
    assert (await client.post(retry, json={"nodes": "all"})).status == 409
    engine.outcome(task, "node-1", pulled("nginx"))
    engine.ended(task, TaskStatus.COMPLETED)
    assert (await client.post(retry)).status == 409
    assert (await client.post(f"{TASKS}/task-0/retry")).status == 404
    bad = await client.post(retry, json={"nodes": "some", "more": 1})
    assert bad.status == 400
    assert {fault["field"] for fault in (await bad.json())["errors"]} == {"/nodes", "/more"}
    assert (await client.post(retry, data=b"{}")).status == 415


async def test_retry_with_a_key_happens_once(
    client: Client, engine: FakeEngine, create: Create
) -> None:
    """The key of a retry works as that of a create, and is bound to what is retried."""
    task = (await create())["taskId"]
    await _finished(engine, task)
    headers = {"Idempotency-Key": "again"}
    first = await client.post(f"{TASKS}/{task}/retry", headers=headers)
    second = await client.post(f"{TASKS}/{task}/retry", headers=headers, json={"nodes": "failed"})
    assert (first.status, second.status) == (201, 200)
    assert (await first.json())["taskId"] == (await second.json())["taskId"]
    other = await client.post(f"{TASKS}/{task}/retry", headers=headers, json={"nodes": "all"})
    assert other.status == 409


# ── nodes of a task ──────────────────────────────────────────────────────────────────────────


async def test_nodes_of_a_pending_task(client: Client, create: Create) -> None:
    """A task has nodes from its start on."""
    task = (await create(nodeNames=["node-1"]))["taskId"]
    answer = await client.get(f"{TASKS}/{task}/nodes")
    assert await answer.json() == {"nodes": [], "total": 0, "limit": 100, "offset": 0}


async def test_nodes_by_state(client: Client, engine: FakeEngine, create: Create) -> None:
    """By batch, then name; several states with commas or several times; a removed node is gone."""
    task = (await create(batchSize=2))["taskId"]
    run = engine.started(task, ["a", "b", "c", "d"])
    begin(run, "a")
    begin(run, "b")
    engine.outcome(task, "b", pulled("nginx"))

    async def names(query: str) -> list[str]:
        answer = await client.get(f"{TASKS}/{task}/nodes?{query}")
        assert answer.status == 200
        return [node["nodeName"] for node in (await answer.json())["nodes"]]

    assert await names("") == ["a", "b", "c", "d"]
    assert await names("state=waiting") == ["c", "d"]
    assert await names("state=pulling,succeeded") == ["a", "b"]
    assert await names("state=pulling&state=waiting") == ["a", "c", "d"]
    assert await names("state=") == ["a", "b", "c", "d"]
    assert await names("limit=2&offset=1") == ["b", "c"]
    bad = await client.get(f"{TASKS}/{task}/nodes?state=removed,waiting&limit=1001")
    assert bad.status == 400
    fields = [fault["field"] for fault in (await bad.json())["errors"]]
    assert fields == ["?limit", "?state"]


# ── nodes of the fleet ───────────────────────────────────────────────────────────────────────


async def test_nodes_by_selector(client: Client, engine: FakeEngine) -> None:
    """Ordered by name, filtered by labels, in pages."""
    for name, zone in (("c", "east"), ("a", "east"), ("b", "west")):
        engine.known[name] = KnownNode(name, labels={"zone": zone})

    async def names(selector: str, **more: int) -> list[str]:
        answer = await client.get("/api/v1/nodes", params={"selector": selector, **more})
        assert answer.status == 200
        return [node["name"] for node in (await answer.json())["nodes"]]

    assert await names("") == ["a", "b", "c"]
    assert await names("zone=east") == ["a", "c"]
    assert await names("zone=east,!gpu", offset=1, limit=1) == ["c"]
    assert await names("zone notin (east)") == ["b"]
    bad = await client.get("/api/v1/nodes", params={"selector": "zone==" + "east=", "limit": "x"})
    assert bad.status == 400
    fields = [fault["field"] for fault in (await bad.json())["errors"]]
    assert fields == ["?limit", "?selector"]


async def test_one_node(client: Client, engine: FakeEngine) -> None:
    """What nobody has said yet is left out."""
    engine.known["node-5"] = KnownNode("node-5")
    answer = await client.get("/api/v1/nodes/node-5")
    assert await answer.json() == {
        "name": "node-5",
        "labels": {},
        "schedulable": True,
        "connected": False,
        "pulling": [],
    }
    assert (await client.get("/api/v1/nodes/node-6")).status == 404


async def test_a_running_task_is_paused_and_resumed(
    client: Client, engine: FakeEngine, create: Create
) -> None:
    """And shows it; one that does not run is refused, and so is a repair of a set."""
    task = (await create())["taskId"]
    path = f"/api/v1/tasks/{task}"
    early = await client.post(f"{path}/pause")
    assert (early.status, (await early.json())["messageCode"]) == (409, "task.notRunning")
    engine.started(task, ["n1"])
    paused = await client.post(f"{path}/pause")
    assert (paused.status, (await paused.json())["paused"]) == (200, True)
    assert (await (await client.get(path)).json())["paused"] is True
    resumed = await client.post(f"{path}/resume")
    assert (resumed.status, "paused" in await resumed.json()) == (200, False)
    engine.all_heads[task] = replace(engine.all_heads[task], set="web")
    repair = await client.post(f"{path}/pause")
    assert (repair.status, (await repair.json())["messageCode"]) == (409, "task.ofSet")
    assert (await client.post("/api/v1/tasks/nope/pause")).status == 404


async def test_a_task_names_its_retries(client: Client, engine: FakeEngine, create: Create) -> None:
    """So that whoever comes second sees that somebody was first."""
    task = (await create())["taskId"]
    engine.started(task, ["n1"])
    engine.outcome(task, "n1", not_found("nginx"))
    engine.ended(task, TaskStatus.FAILED)
    path = f"/api/v1/tasks/{task}"
    assert "retries" not in await (await client.get(path)).json()
    retried = await (await client.post(f"{path}/retry")).json()
    assert (await (await client.get(path)).json())["retries"] == [retried["taskId"]]
    listed = (await (await client.get("/api/v1/tasks")).json())["tasks"]
    assert [each.get("retries") for each in listed] == [None, [retried["taskId"]]]
