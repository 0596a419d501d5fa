"""What is where, as the API tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from common.image_texts import NODE_SILENT
from common.inventory import ShownImage
from common.reasons import Reason
from common.text import Text
from coordinator.api.images import MOST_OF_A_CALLER
from coordinator.core.task import TaskStatus
from coordinator.port import NodeSilent, StoreAway, TooManyAsked
from coordinator.snapshots import ImageOnNode, ImageUse, KnownNode, PlaceState, Whereabouts
from tests.api.conftest import Client
from tests.api.fake_engine import FakeEngine, not_found, pulled
from tests.api.test_openapi import check, document  # noqa: F401 -- a fixture

Create = Callable[..., Awaitable[Any]]
REDIS = "docker.io/library/redis:7"
TASK = "task-20260116-151234-a1b2c3d4"


@pytest.fixture
def node(engine: FakeEngine) -> str:
    """A node with two images."""
    engine.known["n1"] = KnownNode("n1", connected=True)
    engine.images.on["n1"] = [
        ImageOnNode(
            ShownImage(id="sha256:1", tags=(REDIS,), digests=("d@sha256:1",), size=9, pinned=True),
            sets=["web"],
            task=TASK,
            since=1_768_576_354_567,
        ),
        ImageOnNode(ShownImage(id="sha256:2")),
    ]
    return "n1"


async def get(client: Client, path: str, status: int = 200, **query: Any) -> Any:
    """An answer's document."""
    answer = await client.get(f"/api/v1/{path}", params=query)
    assert answer.status == status, await answer.text()
    return await answer.json()


async def test_what_a_node_has_now(client: Client, node: str, document: Any) -> None:  # noqa: F811
    """With what is known of it, and nothing made up; in pages."""
    got = await get(client, f"nodes/{node}/images")
    check(document, "StoredImageList", got)
    assert got["images"][0] == {
        "id": "sha256:1",
        "tags": [REDIS],
        "digests": ["d@sha256:1"],
        "size": 9,
        "pinned": True,
        "sets": ["web"],
        "task": TASK,
        "since": "2026-01-16T15:12:34.567Z",
    }
    assert got["images"][1] == {
        "id": "sha256:2",
        "tags": [],
        "digests": [],
        "pinned": False,
        "sets": [],
    }
    part = await get(client, f"nodes/{node}/images", limit=1, offset=1)
    assert ([image["id"] for image in part["images"]], part["total"]) == (["sha256:2"], 2)


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (NodeSilent(NODE_SILENT(node="n1")), 504, "node.silent"),
        (TooManyAsked(), 429, "image.busy"),
        (StoreAway(Text("away")), 503, None),
    ],
)
async def test_why_nobody_knows(
    client: Client, engine: FakeEngine, node: str, raised: Exception, status: int, code: str | None
) -> None:
    """A sentence with each."""
    engine.images.on[node] = raised
    problem = await get(client, f"nodes/{node}/images", status)
    assert problem.get("messageCode") == code
    assert problem["detail"]


async def test_a_caller_asks_for_so_many_at_once(
    client: Client, engine: FakeEngine, node: str
) -> None:
    """The next one is told to come back; afterwards all is as before."""
    engine.images.asked.clear()
    asking = [
        asyncio.create_task(get(client, f"nodes/{node}/images")) for _ in range(MOST_OF_A_CALLER)
    ]
    while True:
        answer = await client.get(f"/api/v1/images/history?image={REDIS}")
        if answer.status == 429:
            break
    assert (await answer.json())["messageCode"] == "image.busy"
    engine.images.asked.set()
    await asyncio.gather(*asking)
    await get(client, f"nodes/{node}/images")


async def test_an_unknown_node_has_neither_images_nor_history(client: Client) -> None:
    """Whatever its name."""
    for path in ("nodes/nope/images", "nodes/nope/history", "nodes/No%20Pe/images"):
        assert (await get(client, path, 404))["messageCode"] == "node.notFound"


async def test_what_tasks_did_on_a_node(
    client: Client,
    engine: FakeEngine,
    node: str,
    create: Create,
    document: Any,  # noqa: F811
) -> None:
    """The newest first, with times and speed where they are known."""
    good, bad = await create(images=["a", "b"]), await create(images=["c"])
    for task in (good, bad):
        engine.started(task["taskId"], ["n1", "n2"])
    engine.outcome(good["taskId"], "n1", pulled("a", "b"))
    engine.outcome(bad["taskId"], "n1", not_found("c"))
    engine.ended(good["taskId"], TaskStatus.COMPLETED)
    got = await get(client, f"nodes/{node}/history")
    check(document, "NodeTaskList", got)
    failed, done = got["tasks"]
    assert (failed["taskId"], failed["state"], failed["reason"]) == (
        bad["taskId"],
        "failed",
        "ImageNotFound",
    )
    assert "seconds" not in failed
    assert (done["seconds"], done["bytes"], done["bytesPerSecond"]) == (2.5, 200, 80)
    assert [image["state"] for image in done["images"]] == ["pulled", "pulled"]
    part = await get(client, f"nodes/{node}/history", limit=1, offset=1)
    assert ([task["taskId"] for task in part["tasks"]], part["total"]) == ([good["taskId"]], 2)


async def test_tasks_are_found_by_node(client: Client, engine: FakeEngine, create: Create) -> None:
    """Beside all other filters."""
    one, other = await create(images=["a"]), await create(images=["b"])
    engine.started(one["taskId"], ["n1"])
    engine.started(other["taskId"], ["n1", "n2"])
    queries: list[tuple[dict[str, Any], list[Any]]] = [
        ({"node": "n1"}, [other, one]),
        ({"node": "n2"}, [other]),
        ({"node": "n1", "image": "a"}, [one]),
        ({"node": "N 3"}, []),
    ]
    for query, expected in queries:
        got = await get(client, "tasks", **query)
        assert [task["taskId"] for task in got["tasks"]] == [task["taskId"] for task in expected]
        assert got["total"] == len(expected)


async def test_which_images_are_known(
    client: Client,
    engine: FakeEngine,
    document: Any,  # noqa: F811
) -> None:
    """By a text, in pages by offset and by key."""
    engine.images.references = [
        ImageUse("docker.io/library/nginx:1", tasks=2, last_task_at=1_768_576_354_567),
        ImageUse("docker.io/library/redis:7", sets=1, wanted_nodes=3, warm_nodes=2),
        ImageUse("ghcr.io/a/Redis-x:1"),
    ]
    got = await get(client, "images")
    check(document, "KnownImageList", got)
    assert got["images"][0] == {
        "image": "nginx:1",
        "reference": "docker.io/library/nginx:1",
        "tasks": 2,
        "lastTaskAt": "2026-01-16T15:12:34.567Z",
        "sets": 0,
        "wantedNodes": 0,
        "warmNodes": 0,
    }
    for query, expected in (
        ({"q": "REDIS"}, ["redis:7", "ghcr.io/a/Redis-x:1"]),
        ({"after": "docker.io/library/nginx:1", "limit": 1}, ["redis:7"]),
        ({"offset": 2}, ["ghcr.io/a/Redis-x:1"]),
        ({"after": "zz"}, []),
    ):
        assert [image["image"] for image in (await get(client, "images", **query))["images"]] == (
            expected
        )
    assert (await get(client, "images", 400, q="x" * 513))["errors"][0]["field"] == "?q"


async def test_where_an_image_is(
    client: Client,
    engine: FakeEngine,
    document: Any,  # noqa: F811
) -> None:
    """In any spelling; by state; with a count of each state and each digest."""
    engine.images.where[REDIS] = [
        Whereabouts("n1", PlaceState.PRESENT, "sha256:1", sets=["web"]),
        Whereabouts("n2", PlaceState.PRESENT, "sha256:1", at=1_768_576_354_567, task=TASK),
        Whereabouts("n3", PlaceState.FAILED, task=TASK, reason=Reason.TLS_ERROR, text=Text("bad")),
        Whereabouts("n4", PlaceState.UNKNOWN),
    ]
    for spelling in ("redis:7", REDIS, "library/redis:7", " redis:7 "):
        got = await get(client, "images/nodes", image=spelling)
        check(document, "ImagePlaceList", got)
        assert (got["image"], got["reference"], got["total"]) == ("redis:7", REDIS, 4)
    assert got["states"] == {"present": 2, "pulling": 0, "failed": 1, "absent": 0, "unknown": 1}
    assert got["digests"] == {"sha256:1": 2}
    assert got["nodes"][0] == {
        "nodeName": "n1",
        "state": "present",
        "digest": "sha256:1",
        "sets": ["web"],
    }
    assert got["nodes"][2]["message"] == "bad"
    some = await get(client, "images/nodes", image="redis:7", state="failed,unknown", limit=1)
    assert ([node["nodeName"] for node in some["nodes"]], some["total"]) == (["n3"], 2)
    nowhere = await get(client, "images/nodes", image="nginx")
    assert (nowhere["reference"], nowhere["nodes"]) == ("docker.io/library/nginx:latest", [])


@pytest.mark.parametrize("path", ["images/nodes", "images/history"])
async def test_what_is_no_image_is_refused(client: Client, path: str) -> None:
    """By name of the parameter."""
    for image in ("", "a b", "x" * 600):
        problem = await get(client, path, 400, image=image)
        assert problem["errors"][0]["field"] == "?image"
    problem = await get(client, "images/nodes", 400, image="a", state="gone", limit=5000)
    assert {error["field"] for error in problem["errors"]} == {"?state", "?limit"}


async def test_what_became_of_an_image_in_tasks(
    client: Client,
    engine: FakeEngine,
    create: Create,
    document: Any,  # noqa: F811
) -> None:
    """Of running and finished tasks; of one that waits, nothing but that it does."""
    done, running, waiting = [await create(images=["redis:7", "b"]) for _ in range(3)]
    await create(images=["b"])
    for task in (done, running):
        engine.started(task["taskId"], ["n1", "n2", "n3"])
        engine.outcome(task["taskId"], "n1", pulled("redis:7", "b"))
        engine.outcome(task["taskId"], "n2", not_found("redis:7", "b"))
    engine.ended(done["taskId"], TaskStatus.FAILED)
    got = await get(client, "images/history", image=REDIS)
    check(document, "ImageTaskList", got)
    assert [task["taskId"] for task in got["tasks"]] == [
        each["taskId"] for each in (waiting, running, done)
    ]
    assert "pulledNodes" not in got["tasks"][0]
    for task in got["tasks"][1:]:
        assert (task["totalNodes"], task["pulledNodes"], task["failedNodes"]) == (3, 1, 1)
        assert (task["presentNodes"], task["reasons"]) == (0, {"ImageNotFound": 1})
        assert (task["seconds"], task["bytesPerSecond"]) == (1.25, 80)
