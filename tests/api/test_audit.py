"""Who changed what and who was refused, from the request to what is kept and shown."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from coordinator.api.app import make_app
from coordinator.api.guard import Entrance
from coordinator.audit import REFUSALS_PER_MINUTE, AuditRecord, AuditTrail
from coordinator.event_feed import EventFeed
from coordinator.port import StoreAway
from tests.access.hand_clock import HandClock
from tests.api.conftest import PACE, Client
from tests.api.entrances import People, bearer, for_people, token_of
from tests.api.fake_engine import FakeEngine
from tests.engine.following import connected

TASKS, AUDIT = "/api/v1/tasks", "/api/v1/audit"
BODY = {"images": ["nginx", "https://me:s3cret@registry.example/a"]}


@pytest.fixture
async def trail() -> AsyncIterator[AuditTrail]:
    """A trail that writes to a store in memory."""
    trail = AuditTrail()
    async with connected() as bus:
        writing = asyncio.create_task(trail.run(bus))
        yield trail
        writing.cancel()
        await asyncio.wait([writing])


async def written(trail: AuditTrail) -> None:
    """Wait until everything that was noted is stored."""
    while trail._wake.is_set():
        await asyncio.sleep(0)


@pytest.fixture
async def client(
    engine: FakeEngine,
    feed: EventFeed,
    trail: AuditTrail,
    tmp_path: Path,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> Client:
    """The application for a viewer, an editor and an admin."""
    people = People(tmp_path, ann="viewers", bob="ops", cem="admins")
    behind = replace(for_people(people), audit=trail)
    app = make_app(engine, feed, CollectorRegistry(), pace=PACE, entrance=behind)
    return await aiohttp_client(app)


async def entries(client: Client, trail: AuditTrail, **query: str) -> list[Any]:
    """What the admin sees, the newest first."""
    await written(trail)
    answer = await client.get(AUDIT, params=query, headers=bearer("cem"))
    assert answer.status == 200, await answer.text()
    return list((await answer.json())["entries"])


async def test_changes_and_refusals_are_kept(client: Client, trail: AuditTrail) -> None:
    """Who, from where, what, and what it came to; looking is not."""
    created = await client.post(TASKS, json={"images": ["nginx"]}, headers=bearer("bob"))
    task = (await created.json())["taskId"]
    await client.delete(f"{TASKS}/{task}", headers=bearer("bob"))
    await client.post(TASKS, json={"images": ["nginx"]}, headers=bearer("ann"))
    await client.get(AUDIT, headers=bearer("ann"))
    await client.get(TASKS, headers=bearer("eve"))
    await client.post(TASKS, json={"images": []}, headers=bearer("bob"))  # nobody's right
    await client.get(TASKS, headers=bearer("ann"))
    await client.post("/api/v1/session", json={"token": token_of("bob")})
    await client.post("/api/v1/session", json={"token": "wrong"})
    seen = await entries(client, trail)
    assert [
        (e.get("user"), e["action"], e["status"], e.get("reason"), e.get("taskId")) for e in seen
    ] == [
        (None, "log in", 401, "access.unknown", None),
        ("bob", "log in", 200, None, None),
        (None, "list tasks", 401, "access.unknown", None),
        ("ann", "list audit", 403, "access.forbidden", None),
        ("ann", "create tasks", 403, "access.forbidden", None),
        ("bob", "delete tasks", 200, None, task),
        ("bob", "create tasks", 201, None, task),
    ]
    created_entry = seen[-1]
    assert created_entry["groups"] == ["ops"]
    assert (created_entry["way"], created_entry["address"]) == ("tokens", "127.0.0.1")
    assert created_entry["images"] == ["nginx"]


async def test_no_secret_is_kept(
    client: Client, trail: AuditTrail, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a token, nor a webhook's address, nor what stands in a reference by mistake."""
    caplog.set_level(logging.INFO)
    body = BODY | {"webhookUrl": "https://h/hook?key=s3cret"}
    await client.post(TASKS, json=body, headers=bearer("bob"))
    body = {"images": ["nginx"], "webhookUrl": "https://h/hook?key=s3cret"}
    await client.post(TASKS, json=body, headers=bearer("bob"))
    await client.post("/api/v1/session", json={"token": token_of("bob")})
    seen = json.dumps(await entries(client, trail))
    lines = " ".join(str(getattr(r, "fields", "")) for r in caplog.records)
    for secret in ("s3cret", token_of("bob")):
        assert secret not in seen
        assert secret not in lines
    assert "'action': 'create tasks'" in lines


async def test_entries_are_found_by_user_and_time(client: Client, trail: AuditTrail) -> None:
    """However far back they are."""
    for number in range(1500):
        user = "rare" if number % 500 == 0 else "often"
        record = AuditRecord(
            at=number * 1000, user=user, way="oidc", action="create tasks", status=201
        )
        trail.changed(record)
    rare = await entries(client, trail, user="rare")
    assert [entry["time"] for entry in rare] == [
        "1970-01-01T00:16:40.000Z",
        "1970-01-01T00:08:20.000Z",
        "1970-01-01T00:00:00.000Z",
    ]
    late = await entries(client, trail, since="1970-01-01T00:24:57Z")
    assert [entry["time"][14:19] for entry in late] == ["24:59", "24:58", "24:57"]
    assert len(await entries(client, trail)) == 100
    assert len(await entries(client, trail, limit="1000")) == 1000
    assert await entries(client, trail, user="nobody") == []


@pytest.mark.parametrize("query", ["since=yesterday", "since=2026-01-01T00:00:00", "limit=1001"])
async def test_a_wrong_question_is_refused(client: Client, query: str) -> None:
    """By field."""
    answer = await client.get(f"{AUDIT}?{query}", headers=bearer("cem"))
    assert answer.status == 400
    assert (await answer.json())["errors"][0]["field"] == f"?{query.partition('=')[0]}"


async def test_nobody_can_change_it(client: Client) -> None:
    """Not by any method, whoever they are."""
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in (AUDIT, f"{AUDIT}/1"):
            answer = await client.request(method, path, headers=bearer("cem"), json={})
            assert answer.status in {404, 405}


async def test_being_refused_pushes_nothing_out(trail: AuditTrail) -> None:
    """Refusals of one address, or of one caller, are kept so often in a minute and no more."""
    clock = HandClock()
    bounded = AuditTrail(clock)
    record = AuditRecord(at=0, way="none", address="192.0.2.1", action="list tasks", status=401)
    for _ in range(1000):
        bounded.refused(record)
    assert len(bounded._waiting) == REFUSALS_PER_MINUTE
    clock.now += 60
    bounded.refused(record)
    assert len(bounded._waiting) == REFUSALS_PER_MINUTE + 1
    assert not trail._waiting


async def test_a_store_that_is_away_is_waited_for() -> None:
    """What happens meanwhile is written later, in its order; memory is bounded."""
    trail = AuditTrail(most_waiting=100)
    with pytest.raises(StoreAway):
        await trail.newest(1, user=None, since=0)
    for number in range(105):
        trail.changed(AuditRecord(at=number, way="none", action="create tasks", status=201))
    assert len(trail._waiting) == 100
    async with connected() as bus:
        writing = asyncio.create_task(trail.run(bus))
        await written(trail)
        kept = await trail.newest(1000, user=None, since=0)
        writing.cancel()
        await asyncio.wait([writing])
    assert [record.at for record in kept] == list(range(104, 4, -1))


async def test_where_nobody_is_asked_it_says_so(
    engine: FakeEngine,
    feed: EventFeed,
    trail: AuditTrail,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> None:
    """An entry without a user, by nobody's way."""
    behind = replace(Entrance.wide_open(), audit=trail)
    app = make_app(engine, feed, CollectorRegistry(), pace=PACE, entrance=behind)
    client = await aiohttp_client(app)
    await client.post(TASKS, json={"images": ["nginx"]})
    [entry] = await entries(client, trail)
    assert ("user" in entry, entry["way"], entry["status"]) == (False, "none", 201)
