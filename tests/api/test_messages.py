from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from common import texts
from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import MESSAGE_LIMIT, Reason, clip
from common.subjects import MAX_MESSAGE_BYTES
from common.text import CODE_LENGTH, PARAM_LIMIT, Text
from common.texts import templates
from coordinator.api.create_body import read_order
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.documents import encode
from coordinator.snapshots import KnownNode, Snapshot
from coordinator.views import nodes as node_views
from coordinator.views import tasks as task_views
from coordinator.views.events import node_event
from coordinator.views.texts import PARAMS_BYTES
from tests.api.conftest import Client
from tests.api.fake_engine import NOW, FakeEngine, begin, not_found

Create = Callable[..., Awaitable[Any]]
TASKS = "/api/v1/tasks"
BY_CODE = {template.code: template for template in templates()}


def said(document: Any) -> Iterator[dict[str, Any]]:
    """Whatever of a document says a sentence."""
    if isinstance(document, list):
        for entry in document:
            yield from said(entry)
    elif isinstance(document, dict):
        if {"message", "detail"} & document.keys():
            yield document
        for value in document.values():
            yield from said(value)


def check(document: Any, *raw: str) -> int:
    """Each sentence is made of its code and parameters, or is one of these; how many there are."""
    parts = list(said(document))
    for part in parts:
        message = part.get("message", part.get("detail"))
        if message in raw:
            assert not {"messageCode", "messageParams"} & part.keys(), part
        else:
            text = BY_CODE[part["messageCode"]](**part["messageParams"])
            assert message in {text.message, clip(text.message)}, part
    return len(parts)


# ── what the API refuses ─────────────────────────────────────────────────────────────────────

FAULTY = {
    "images": ["nginx", 1, "a b", "UPPER", "http://x/y", "f" * 64, "a..b/c:1", "x:", "x@sha256:1"],
    "batchSize": 0,
    "priority": "high",
    "maxRetries": True,
    "retryDelay": 10**30,
    "retryStrategy": "none",
    "webhookUrl": "ftp://x",
    "nodeSelector": {"a/b/c": "y", "ok": "no good", "z": 1},
    "matchExpressions": [
        {"key": "a", "operator": "In"},
        {"key": "a", "operator": "Exists", "values": ["x"]},
        {"key": "a", "operator": "Gt", "values": []},
        {},
    ],
    "nodeNames": ["Not_Fine"],
    "maxFailedNodes": "101%",
    "more": 1,
}


@pytest.mark.parametrize("body", [FAULTY, {}, [], {"images": []}, {"images": "nginx"}])
async def test_every_fault_of_a_body_has_its_code(client: Client, body: Any) -> None:
    """So has the problem that holds them."""
    answer = await client.post(TASKS, json=body)
    assert answer.status == 400
    document = await answer.json(content_type=None)
    assert check(document) == 1 + len(document["errors"])


@pytest.mark.parametrize("body", [b"", b"{", b"{]", b'"\xff"', b"[" * 100_000])
async def test_broken_json_has_its_code(client: Client, body: bytes) -> None:
    """What the decoder says is a parameter."""
    answer = await client.post(TASKS, data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert check(await answer.json(content_type=None)) == 2


@pytest.mark.parametrize(
    "path",
    [
        f"{TASKS}?limit=x&status=over",
        "/api/v1/events?live=maybe",
        "/api/v1/nodes?selector=((",
        "/api/v1/nodes?selector=a>x",
        "/api/v1/nodes?selector=a=b/c",
        "/api/v1/nodes?selector=-=b",
        f"{TASKS}/task-0",
        f"{TASKS}/task-0/events",
        "/api/v1/nodes/nobody",
        "/nothing",
    ],
)
async def test_refused_questions_have_codes(client: Client, path: str) -> None:
    """Queries, unknown things, unknown routes."""
    answer = await client.get(path)
    assert answer.status in {400, 404}
    assert check(await answer.json(content_type=None)) >= 1


async def test_refused_orders_have_codes(
    client: Client, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conflicts, sizes, types, methods, and a fault of the service's own."""
    task = (await create())["taskId"]
    key = {"Idempotency-Key": "k"}
    await client.post(TASKS, json={"images": ["a"]}, headers=key)
    refused = [
        await client.post(TASKS, json={"images": ["b"]}, headers=key),
        await client.post(TASKS, json={"images": ["b"]}, headers={"Idempotency-Key": "k" * 256}),
        await client.post(f"{TASKS}/{task}/retry"),
        await client.post(TASKS, data=BytesIO(b" " * (3 * 2**20 + 1))),
        await client.post(TASKS, data=b"{}"),
        await client.put(TASKS),
    ]
    assert check(await (await client.delete(f"{TASKS}/{task}")).json()) == 1
    refused += [await client.delete(f"{TASKS}/{task}"), await client.post(f"{TASKS}/{task}/retry")]
    monkeypatch.delattr(FakeEngine, "ids")
    refused.append(await client.get(TASKS))
    assert [answer.status for answer in refused] == [409, 400, 409, 413, 415, 405, 409, 409, 500]
    for answer in refused:
        assert check(await answer.json(content_type=None)) >= 1


async def test_readiness_has_a_code(
    client: Client, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 503 of every route says the engine's sentence; one of others' words has no code."""
    why = texts.STORE_REFUSES_WRITES(why="no space left on device")
    monkeypatch.setattr(engine, "unreadable", lambda: why)
    monkeypatch.setattr(engine, "not_ready", lambda: why)
    for path in ("/readyz", TASKS):
        document = await (await client.get(path)).json(content_type=None)
        assert document["detail"] == "The store does not take writes: no space left on device."
        assert document["messageCode"] == "store.refusesWrites"
        assert document["messageParams"] == {"why": "no space left on device"}
    monkeypatch.setattr(engine, "not_ready", lambda: Text("gone fishing"))
    document = await (await client.get("/readyz")).json(content_type=None)
    assert check(document, "gone fishing") == 1


# ── what a client may not make the service repeat ────────────────────────────────────────────


async def test_what_a_client_sent_is_not_repeated_whole(client: Client) -> None:
    """A name of three megabytes is cut, in the pointer, in the English and in the parameters."""
    huge = "x" * (3 * 2**20 - 100)
    for body in (
        {huge: 1},
        {"images": [huge]},
        {"nodeSelector": {huge: "a"}},
        {"nodeNames": [huge]},
        {"rollout": huge},
        {"maxFailedNodes": huge},
    ):
        data = BytesIO(msgspec.json.encode(body))
        answer = await client.post(TASKS, data=data, headers={"Content-Type": "application/json"})
        assert answer.status == 400
        document = await answer.json(content_type=None)
        assert check(document) >= 2
        assert len(str(document)) < 2000
    document = await (await client.get("/api/v1/nodes", params={"selector": "(" * 4000})).json(
        content_type=None
    )
    (fault,) = document["errors"]
    assert len(fault["messageParams"]["text"]) == PARAM_LIMIT


@pytest.mark.parametrize(
    "body",
    [
        {"webhookUrl": "https://hooks.example/s3cret/" + "x" * 2048},
        {"webhookUrl": "ftp://hooks.example/s3cret"},
        {"webhookUrl": ["https://hooks.example/s3cret"]},
        {"images": ["https://user:s3cret@registry.example/x"]},
        {"images": ["https://user:s3cret" + "x" * 100 + "@registry.example/x"]},
        {"nodeSelector": {"http://user:s3cret" + "x" * 100 + "@h": "a"}},
        {"rollout": "https://user:s3cret@h/"},
    ],
)
async def test_no_secret_is_repeated(client: Client, body: dict[str, Any]) -> None:
    """A webhook's address never, and of any other its credentials."""
    answer = await client.post(TASKS, json={"images": ["nginx"]} | body)
    assert answer.status == 400
    assert "s3cret" not in await answer.text()


# ── what is told of tasks and nodes ──────────────────────────────────────────────────────────


async def test_a_task_says_why_it_waits_and_why_it_ended(
    client: Client, engine: FakeEngine, create: Create
) -> None:
    """With the code of the engine while it runs, with that of its head once it is over."""
    task = (await create())["taskId"]
    engine.waits = waits = texts.TASK_QUEUED(running=3, most=3)
    shown = await (await client.get(f"{TASKS}/{task}")).json()
    assert (shown["messageCode"], shown["messageParams"]) == (waits.code, waits.params)
    assert check(await (await client.get(TASKS)).json()) == 1
    ended = texts.TASK_NO_MATCH(selection="zone=mars")
    engine.started(task, [])
    engine.ended(task, TaskStatus.FAILED)
    engine.all_heads[task] = replace(
        engine.all_heads[task],
        message=ended.message,
        message_code=ended.code,
        message_params=dict(ended.params),
    )
    shown = await (await client.get(f"{TASKS}/{task}")).json()
    assert (shown["messageCode"], shown["messageParams"]) == (ended.code, ended.params)
    assert check(shown) == 1


def test_a_head_keeps_its_code_and_an_older_one_has_none() -> None:
    """What is stored is read again, and what was stored before this is shown as it was."""
    task = "task-20260116-151234-a1b2c3d4"
    head = {"id": task, "spec": {"images": [], "work": []}, "createdAt": 1, "status": "failed"}
    old = msgspec.convert(head | {"message": "Once."}, TaskHead)
    shown = msgspec.to_builtins(task_views.summary(Snapshot(old, NOW)))
    assert check(shown, "Once.") == 1
    new = replace(old, message_code="task.noNodes", message="There are no nodes.")
    assert msgspec.json.decode(msgspec.json.encode(new), type=TaskHead) == new
    assert check(msgspec.to_builtins(task_views.summary(Snapshot(new, NOW)))) == 1


def failed(text: Text, image: str = "nginx") -> ImageOutcome:
    """An image of which an agent says this."""
    return ImageOutcome(
        image=image,
        state=ImageState.FAILED,
        reason=Reason.UNKNOWN,
        message=text.message,
        message_code=text.code,
        message_params=dict(text.params),
    )


async def test_a_failed_image_says_why_wherever_it_is_told(
    client: Client, engine: FakeEngine, create: Create
) -> None:
    """In the task's details, in its nodes and in the node's event; a registry's words are raw."""
    task = (await create(images=["nginx", "redis:7"]))["taskId"]
    run = engine.started(task, ["n1"])
    begin(run, "n1")
    raw = not_found("redis:7").images
    outcome = Outcome(images=[failed(texts.AGENT_DIED(times=5)), *raw])
    engine.outcome(task, "n1", outcome)
    engine.ended(task, TaskStatus.FAILED)
    shown = await (await client.get(f"{TASKS}/{task}")).json()
    assert check(shown, "redis:7: not found") == 2
    nodes = await (await client.get(f"{TASKS}/{task}/nodes")).json()
    assert check(nodes, "redis:7: not found") == 3
    assert nodes["nodes"][0]["messageCode"] == "agent.died"
    data = node_views.task_node(engine.all_heads[task], run.by_name["n1"])
    event = node_event("node.failed", event_id="1", source="x", time=NOW, task_id=task, data=data)
    assert check(msgspec.json.decode(encode(event)), "redis:7: not found") == 3


async def test_a_node_of_the_fleet_says_why_it_takes_no_work(
    client: Client, engine: FakeEngine
) -> None:
    """One that takes work says nothing."""
    problem = texts.NODE_CORDONED(node="n1")
    engine.known = {
        "n1": KnownNode("n1", schedulable=False, problem=problem),
        "n2": KnownNode("n2"),
    }
    document = await (await client.get("/api/v1/nodes")).json()
    assert check(document) == 1
    assert document["nodes"][0]["messageParams"] == {"node": "n1"}
    assert "messageCode" not in document["nodes"][1]


def test_what_an_agent_says_is_bounded(engine: FakeEngine) -> None:
    """Parameters of any size leave the English alone, so that a node fits into one event."""
    names = [f"{'r' * 60}.example:{number}/{'x' * 200}" for number in range(50)]
    spec = read_order({"images": names}).spec
    engine.all_heads["t"] = TaskHead(id="t", spec=spec, created_at=NOW)
    run = engine.started("t", ["n1"])
    params = {f"p{number}": "\x01" * 66 for number in range(5)}
    assert PARAMS_BYTES * 0.9 < len(msgspec.json.encode(params)) <= PARAMS_BYTES
    largest = Text("\x01" * MESSAGE_LIMIT, "\x01" * CODE_LENGTH, params)
    engine.outcome("t", "n1", Outcome(images=[failed(largest, name) for name in names]))
    node = node_views.task_node(run.head, run.by_name["n1"])
    assert node.images[0].message_params == params
    assert len(encode(node)) < MAX_MESSAGE_BYTES
    larger = Text("Too much.", "agent.died", {"times": "\x01" * 1000})
    engine.all_heads["t"] = TaskHead(id="t", spec=spec, created_at=NOW)
    run = engine.started("t", ["n1"])
    engine.outcome("t", "n1", Outcome(images=[failed(larger, name) for name in names]))
    shown = msgspec.json.decode(encode(node_views.task_node(run.head, run.by_name["n1"])))
    assert check(shown, "Too much.") == 51
