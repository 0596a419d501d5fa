from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from common import texts
from coordinator.api.app import make_app
from coordinator.event_feed import EventFeed
from tests.api.conftest import Client
from tests.api.fake_engine import FakeEngine

Create = Callable[..., Awaitable[Any]]
TASKS = "/api/v1/tasks"
LIMIT = 3 * 1024 * 1024


async def problem(answer: Any, status: int) -> Any:
    """The problem document of an answer, which must have this status."""
    assert answer.status == status, await answer.text()
    assert answer.content_type == "application/problem+json"
    document = await answer.json(content_type=None)
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


# ── bodies ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"{", "byte 1"),
        (b'{"images": ["nginx"],}', "byte 21"),
        (b"images: nginx", "byte 0"),
        (b'{"images": ["\xff\xfe"]}', "UTF-8"),
        (b'{"images": ["\\ud800"]}', "byte 22"),
        (b"[" * 100_000, "deep"),
        (b'{"batchSize": NaN}', "byte 14"),
        (b'{"batchSize": 1e999}', "range"),
        (b"{} {}", "byte 4"),
        (b"\xef\xbb\xbf{}", "byte 0"),
    ],
)
async def test_broken_json(client: Client, body: bytes, words: str) -> None:
    """400 that says where, or what."""
    headers = {"Content-Type": "application/json"}
    document = await problem(await client.post(TASKS, data=body, headers=headers), 400)
    assert [fault["field"] for fault in document["errors"]] == [""]
    assert words in document["errors"][0]["message"]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "multipart/form-data",
        "nonsense",
        "",
    ],
)
async def test_wrong_content_types(client: Client, content_type: str) -> None:
    """415 that says what would be right."""
    headers = {"Content-Type": content_type}
    answer = await client.post(TASKS, data=b'{"images": ["nginx"]}', headers=headers)
    assert "application/json" in (await problem(answer, 415))["detail"]
    assert answer.headers["Accept"] == "application/json"


async def test_no_content_type(client: Client) -> None:
    """A page of another site can make a browser send a body without a type, so it is refused."""
    answer = await client.post(TASKS, data=b"{}", skip_auto_headers=["Content-Type"])
    await problem(answer, 415)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_right_content_types(client: Client, content_type: str) -> None:
    """A charset may be said, where it is UTF-8."""
    headers = {"Content-Type": content_type}
    answer = await client.post(TASKS, data=b'{"images": ["nginx"]}', headers=headers)
    assert answer.status == 201


def padded(size: int) -> BytesIO:
    """A good body of exactly this many bytes."""
    return BytesIO(b'{"images": ["nginx"]}'.ljust(size))


async def test_three_mebibytes_are_the_limit(client: Client) -> None:
    """A body may have 3 MiB, and not a byte more."""
    headers = {"Content-Type": "application/json"}
    assert (await client.post(TASKS, data=padded(LIMIT), headers=headers)).status == 201
    answer = await client.post(TASKS, data=padded(LIMIT + 1), headers=headers)
    assert "3 MiB" in (await problem(answer, 413))["detail"]


async def test_the_limit_holds_for_chunked_and_compressed_bodies(client: Client) -> None:
    """What does not say how long it is, or unfolds to more, is cut off all the same."""

    async def chunks(size: int) -> Any:
        body = padded(size)
        while chunk := body.read(100_000):
            yield chunk

    headers = {"Content-Type": "application/json"}
    assert (await client.post(TASKS, data=chunks(LIMIT), headers=headers)).status == 201
    for size in (LIMIT + 1, 2 * LIMIT):
        await problem(await client.post(TASKS, data=chunks(size), headers=headers), 413)
    bomb = await client.post(TASKS, data=padded(50 * LIMIT), headers=headers, compress="deflate")
    await problem(bomb, 413)


async def test_a_body_that_is_not_compressed_as_it_says(client: Client) -> None:
    """A broken encoding is the client's fault."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await client.post(TASKS, data=b"not gzip at all", headers=headers)
    assert answer.status == 400


# ── routes ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/nothing", "/api/v1", "/api/v1/tasks/", "/api/v2/tasks"])
async def test_unknown_routes(client: Client, path: str) -> None:
    """404 as a problem."""
    await problem(await client.get(path), 404)


async def test_wrong_methods(client: Client) -> None:
    """405 as a problem, with Allow."""
    answer = await client.put(TASKS)
    document = await problem(answer, 405)
    assert answer.headers["Allow"] == "GET,HEAD,POST"
    assert "POST" in document["detail"]
    await problem(await client.request("PROPFIND", "/health"), 405)


@pytest.mark.parametrize(
    "path", ["/", "/health", "/readyz", "/metrics", TASKS, "/api/v1/nodes", "/api/v1/events"]
)
async def test_head_is_get_without_a_body(client: Client, path: str) -> None:
    """HEAD works wherever GET does, and ends where GET would stream."""
    answer = await client.head(path)
    assert answer.status == 200
    assert await answer.read() == b""


async def test_an_internal_fault_leaks_nothing(
    client: Client, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 as a problem that says no more than that."""

    def explode(_status: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(engine, "ids", explode)
    document = await problem(await client.get(TASKS), 500)
    assert "secret" not in str(document)


# ── readiness ────────────────────────────────────────────────────────────────────────────────


async def test_health(client: Client, engine: FakeEngine) -> None:
    """Liveness does not depend on anything."""
    engine.blind = "NATS is away."
    for path in ("/health", "/healthz"):
        answer = await client.get(path)
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_readiness(client: Client, engine: FakeEngine) -> None:
    """It is about reads: 503 gives the reason why there are none."""
    assert await (await client.get("/readyz")).json() == {
        "status": "ok",
        "leads": True,
        "natsConnected": True,
        "takesWrites": True,
    }
    engine.warns = texts.CLOCK_DIFFERS(seconds=864_000)
    warned = await (await client.get("/readyz")).json()
    assert (warned["status"], warned["messageCode"]) == ("ok", "clock.differs")
    assert warned["messageParams"] == {"seconds": 864_000}
    engine.blind = "The state is being loaded."
    answer = await client.get("/readyz")
    assert (await problem(answer, 503))["detail"] == "The state is being loaded."
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_coordinator_that_takes_no_writes_is_ready_and_says_why(
    client: Client, engine: FakeEngine
) -> None:
    """Taken out of its Service it would answer no reads either."""
    engine.away = "The store is full."
    answer = await client.get("/readyz")
    said = await answer.json()
    assert (answer.status, said["takesWrites"], said["natsConnected"]) == (200, False, False)
    assert said["message"] == "The store is full."


async def test_a_store_that_refuses_stops_writes_only(
    client: Client, engine: FakeEngine, create: Create
) -> None:
    """What memory knows is still answered."""
    task = (await create())["taskId"]
    engine.away = "The store is full."
    for answer in (
        await client.post(TASKS, json={"images": ["nginx"]}),
        await client.post(f"{TASKS}/{task}/retry"),
        await client.delete(f"{TASKS}/{task}"),
    ):
        assert (await problem(answer, 503))["detail"] == "The store is full."
        assert "Retry-After" in answer.headers
    for path in (TASKS, f"{TASKS}/{task}", f"{TASKS}/{task}/nodes", "/api/v1/nodes"):
        assert (await client.get(path)).status == 200


async def test_without_state_nothing_of_the_api_is_answered(
    client: Client, engine: FakeEngine
) -> None:
    """Not ready yet: 503 for the API, while everything about the service itself is answered."""
    engine.blind = "Another coordinator leads."
    for path in (TASKS, f"{TASKS}/x", "/api/v1/nodes", "/api/v1/events", f"{TASKS}/x/events"):
        assert (await problem(await client.get(path), 503))["detail"] == engine.blind
    for path in ("/", "/web/", "/metrics", "/openapi.json", "/health"):
        assert (await client.get(path)).status == 200


# ── metrics ──────────────────────────────────────────────────────────────────────────────────


async def test_requests_are_counted_by_pattern(
    client: Client, registry: CollectorRegistry, create: Create
) -> None:
    """No path, id or made-up method becomes a label."""
    task = (await create())["taskId"]
    await client.get(f"{TASKS}/{task}")
    await client.get(f"{TASKS}/unknown")
    await client.get("/some/scanner/path")
    await client.request("PROPFIND", TASKS)
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = await answer.text()
    assert task not in text
    assert "scanner" not in text
    assert "PROPFIND" not in text

    def count(method: str, endpoint: str, status: str, name: str = "total") -> float | None:
        labels = {"method": method, "endpoint": endpoint, "status_code": status}
        return registry.get_sample_value(f"ips_api_request_{name}", labels)

    assert count("GET", "/api/v1/tasks/{id}", "200") == 1
    assert count("GET", "/api/v1/tasks/{id}", "404") == 1
    assert count("POST", "/api/v1/tasks", "201", "duration_seconds_count") == 1
    assert count("GET", "unmatched", "404") == 1
    assert count("other", "unmatched", "405") == 1


# ── the web UI ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("typed", "meant"), [("/web", "/web/"), ("/docs/", "/docs")])
async def test_what_people_type_leads_there(client: Client, typed: str, meant: str) -> None:
    """With the slash or without it."""
    answer = await client.get(typed, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, meant)
    assert (await client.get(typed)).status == 200


@pytest.mark.parametrize("path", ["/", "/web/", "/web/index.html"])
async def test_the_page(client: Client, path: str) -> None:
    """A page that may load nothing from elsewhere, with a validator."""
    answer = await client.get(path)
    assert answer.status == 200
    assert answer.content_type == "text/html"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    again = await client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize(
    "path",
    ["/web/../pyproject.toml", "/web/%2e%2e/pyproject.toml", "/web//etc/passwd", "/web/x.py"],
)
async def test_only_files_of_the_folder(client: Client, path: str) -> None:
    """Nothing else can be reached, however it is written."""
    async with ClientSession() as session:
        answer = await session.get(f"{client.make_url('/')}{path[1:]}")
        await problem(answer, 404)


async def test_files_of_the_page(
    tmp_path: Path,
    engine: FakeEngine,
    feed: EventFeed,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> None:
    """Scripts and styles in folders have their types; Python files are no part of the page."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "index.html").write_text("<p>hello")
    (tmp_path / "parts" / "table.js").write_text("export {}")
    (tmp_path / "__init__.py").write_text("")
    app = make_app(engine, feed, CollectorRegistry(), web_folder=tmp_path)
    client = await aiohttp_client(app)
    script = await client.get("/web/parts/table.js")
    assert script.status == 200
    assert script.content_type in {"text/javascript", "application/javascript"}
    assert (await client.get("/web/parts")).status == 404
    assert (await client.get(f"/web/parts{os.sep}..{os.sep}__init__.py")).status == 404
    assert (await client.get("/web/__init__.py")).status == 404
