"""Tasks are found by what they are about, in the order that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from coordinator.core.task import Creator, TaskStatus
from coordinator.snapshots import KnownNode
from tests.api.conftest import Client
from tests.api.fake_engine import NOW, FakeEngine
from tests.api.test_tasks import TASKS, Create

HOUR = 3_600_000


async def found(client: Client, query: Mapping[str, str | int]) -> list[str]:
    """The ids of the tasks that a query finds, and no more than ``total`` says."""
    answer = await client.get(TASKS, params={"limit": 100, **query})
    assert answer.status == 200, await answer.text()
    document = await answer.json()
    ids = [task["taskId"] for task in document["tasks"]]
    assert document["total"] == len(ids)
    return ids


async def made(create: Create, **fields: Any) -> str:
    """A task, by its id."""
    return str((await create(**fields))["taskId"])


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("redis:7", [0, 2]),
        ("docker.io/library/redis:7", [0, 2]),
        ("redis", [0, 1, 2]),
        ("reg.example:5000/team/redis", [3]),
        ("reg.example:5000/team/redis:9", []),
        ("nginx:latest", [2]),
        ("not a reference", []),
    ],
)
async def test_by_image(client: Client, create: Create, image: str, expected: list[int]) -> None:
    """In whatever spelling; without a tag, any tag of that repository and of no other."""
    images = [
        ["redis:7"],
        ["redis:6"],
        ["nginx", "docker.io/library/redis:7"],
        ["reg.example:5000/team/redis:1"],
    ]
    ids = [await made(create, images=each) for each in images]
    assert await found(client, {"image": image}) == [ids[number] for number in reversed(expected)]


async def test_by_text_and_creator(client: Client, engine: FakeEngine, create: Create) -> None:
    """Ids, images, labels and creators, in any case; a creator by the whole name."""
    web = await made(create, images=["shop/web:1"], nodeSelector={"zone": "eu-1"})
    api = await made(create, images=["shop/api:1"])
    head = engine.all_heads[api]
    creator = Creator(user="Ann@example.com", way="oidc")
    engine.all_heads[api] = msgspec.structs.replace(head, created_by=creator)
    assert await found(client, {"q": "WEB"}) == [web]
    assert await found(client, {"q": "zone=eu"}) == [web]
    assert await found(client, {"q": "ann@"}) == [api]
    assert await found(client, {"q": web[-8:]}) == [web]
    assert await found(client, {"q": "shop", "createdBy": "Ann@example.com"}) == [api]
    assert await found(client, {"createdBy": "Ann"}) == []


async def test_by_set(client: Client, engine: FakeEngine, create: Create) -> None:
    """The repairs of one warm set, by its whole name."""
    repair, other, _ = await made(create), await made(create), await made(create)
    engine.all_heads[repair] = msgspec.structs.replace(engine.all_heads[repair], set="web")
    engine.all_heads[other] = msgspec.structs.replace(engine.all_heads[other], set="web-2")
    assert await found(client, {"set": "web"}) == [repair]
    assert await found(client, {"set": "we"}) == []


async def test_by_time(client: Client, engine: FakeEngine, create: Create) -> None:
    """Created in a span of time; over since a moment, which nothing is that still goes on."""
    old, new = await made(create), await made(create)
    engine.all_heads[old] = msgspec.structs.replace(
        engine.all_heads[old], created_at=NOW - 2 * HOUR
    )
    engine.started(new, ["node-1"])
    engine.ended(new, TaskStatus.FAILED)
    assert await found(client, {"since": "2026-01-16T14:30:00Z"}) == [new]
    assert await found(client, {"until": "2026-01-16T16:30:00+02:00"}) == [old]
    assert await found(client, {"endedSince": "2026-01-16T00:00:00Z"}) == [new]
    assert await found(client, {"endedSince": "2026-01-17T00:00:00Z"}) == []


async def test_by_several_statuses(client: Client, engine: FakeEngine, create: Create) -> None:
    """With commas between or given twice; the order stays."""
    pending, running, over = await made(create), await made(create), await made(create)
    engine.started(running, ["node-1"])
    engine.started(over, ["node-1"])
    engine.ended(over, TaskStatus.COMPLETED)
    assert await found(client, {"status": "pending,completed"}) == [over, pending]
    answer = await client.get(f"{TASKS}?status=running&status=pending")
    tasks = (await answer.json())["tasks"]
    assert [task["taskId"] for task in tasks] == [running, pending]


async def test_in_the_order_of_the_queue(
    client: Client, engine: FakeEngine, create: Create
) -> None:
    """What runs first, then the queue by priority and age with places in it, then the rest."""
    over, running = await made(create), await made(create)
    engine.started(over, ["node-1"])
    engine.ended(over, TaskStatus.COMPLETED)
    engine.started(running, ["node-1"])
    low, second, first = [await made(create, priority=each) for each in (1, 5, 9)]
    third = await made(create, priority=5)
    expected = [running, first, second, third, low, over]
    answer = await (await client.get(TASKS, params={"sort": "queue"})).json()
    assert [task["taskId"] for task in answer["tasks"]] == expected
    assert [task.get("queuePlace") for task in answer["tasks"]] == [None, 1, 2, 3, 4, None]
    pending = await client.get(TASKS, params={"sort": "queue", "status": "pending", "offset": 1})
    assert [task["queuePlace"] for task in (await pending.json())["tasks"]] == [2, 3, 4]


async def test_a_page_by_its_key_is_not_shifted(
    client: Client, engine: FakeEngine, create: Create
) -> None:
    """What follows a task, whatever was created or has changed its status meanwhile."""
    ids = [await made(create) for _ in range(5)]
    newest_first = ids[::-1]
    await made(create)
    assert await found(client, {"after": newest_first[1]}) == newest_first[2:]
    engine.started(newest_first[1], ["node-1"])
    only = {"after": newest_first[1], "status": "pending"}
    assert await found(client, only) == newest_first[2:]
    assert await found(client, {"after": newest_first[-1]}) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=task-20260116-151234-ffffffff", "?after"),
        ("sort=oldest", "?sort"),
        ("since=yesterday", "?since"),
        ("until=2026-01-16", "?until"),
        ("endedSince=1", "?endedSince"),
        ("status=pending,over", "?status"),
        ("q=" + "x" * 513, "?q"),
        ("image=" + "x" * 600, "?image"),
    ],
)
async def test_what_cannot_be_looked_for(client: Client, query: str, field: str) -> None:
    """Each is refused by its name."""
    answer = await client.get(f"{TASKS}?{query}")
    assert answer.status == 400
    assert [fault["field"] for fault in (await answer.json())["errors"]] == [field]


async def test_nodes_are_counted_by_state(client: Client, engine: FakeEngine) -> None:
    """Of all that match a selector, whatever the page is."""
    engine.known = {
        "a": KnownNode("a", {"zone": "x"}, connected=True),
        "b": KnownNode("b", {"zone": "x"}),
        "c": KnownNode("c", {"zone": "x"}, connected=True, schedulable=False),
        "d": KnownNode("d", connected=True),
    }
    query = {"selector": "zone=x", "limit": "1"}
    answer = await (await client.get("/api/v1/nodes", params=query)).json()
    assert answer["total"] == 3
    assert answer["states"] == {"ready": 1, "offline": 1, "unschedulable": 1}
