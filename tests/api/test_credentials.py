"""Stored credentials over the API: put, shown without their secrets, deleted, by admins alone."""

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
from coordinator.audit import AuditTrail
from coordinator.core.task import Asker
from coordinator.credentials.table import CredentialTable
from coordinator.event_feed import EventFeed
from tests.api.conftest import PACE, Client
from tests.api.entrances import People, bearer, for_people
from tests.api.fake_engine import FakeEngine
from tests.api.test_openapi import check
from tests.engine.following import connected

SHOP, ALL = "/api/v1/credentials/shop", "/api/v1/credentials"
TASKS = "/api/v1/tasks"
CANARY = "canary-5f1c"
BODY = {"registry": "reg.example", "username": "ci", "password": CANARY}
Make = Callable[..., Awaitable[Client]]


@pytest.fixture
async def make(
    engine: FakeEngine, feed: EventFeed, aiohttp_client: Callable[..., Awaitable[Client]]
) -> AsyncIterator[Make]:
    """The application over a table that follows a store in memory."""
    jobs: list[asyncio.Task[None]] = []
    async with connected() as bus:

        async def make(keys: list[bytes] | None, entrance: Entrance | None = None) -> Client:
            table = CredentialTable(None if keys is None else lambda: keys)
            jobs.append(asyncio.create_task(table.run(bus)))
            if entrance is not None:
                jobs.append(asyncio.create_task(entrance.audit.run(bus)))
            while not table._is_loaded:
                await asyncio.sleep(0)
            registry = CollectorRegistry()
            app = make_app(engine, feed, registry, pace=PACE, entrance=entrance, credentials=table)
            return await aiohttp_client(app)

        yield make
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)


@pytest.fixture
async def client(make: Make) -> Client:
    """Behind no door, with a key."""
    return await make([bytes(32)])


async def test_the_life_of_a_credential(client: Client) -> None:
    """201 with its place, then 200; shown and listed as the document says; 404 after its end."""
    document = await (await client.get("/openapi.json")).json()
    answer = await client.put(SHOP, json=BODY)
    assert (answer.status, answer.headers["Location"]) == (201, SHOP)
    again = await client.put(SHOP, json={"registry": "index.docker.io", "token": CANARY})
    assert again.status == 200
    shown = await (await client.get(SHOP)).json()
    check(document, "RegistryCredential", shown)
    assert (shown["name"], shown["registry"], shown["kind"]) == ("shop", "docker.io", "token")
    listed = await (await client.get(ALL)).json()
    check(document, "RegistryCredentialList", listed)
    assert (listed["credentials"], listed["total"]) == ([shown], 1)
    gone = await client.delete(SHOP)
    check(document, "RegistryCredentialDeleted", await gone.json())
    assert (await client.delete(SHOP)).status == 404
    assert (await client.get(SHOP)).status == 404
    assert (await (await client.get(ALL)).json())["total"] == 0


async def test_without_a_key_nothing_is_stored(make: Make) -> None:
    """And the answer says which setting is missing."""
    answer = await (await make(None)).put(SHOP, json=BODY)
    problem = await answer.json()
    assert (answer.status, problem["messageCode"]) == (409, "credential.noKey")
    assert "IPS_CREDENTIALS_KEY_FILE" in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"registry": "reg.example"},
        {"registry": "reg.example", "username": "ci"},
        {"registry": "reg.example", "password": CANARY},
        BODY | {"token": CANARY},
        BODY | {"password": [CANARY]},
        BODY | {"password": CANARY * 1000},
        BODY | {"password": ""},
        BODY | {"password": {CANARY: 1}},
        BODY | {"registry": f"ci:{CANARY}@reg.example"},
        BODY | {"registry": "https://reg.example"},
        BODY | {"more": CANARY},
        [CANARY],
    ],
)
async def test_a_body_that_will_not_do(client: Client, body: Any) -> None:
    """Refused by name, and no answer repeats the secret."""
    answer = await client.put(SHOP, json=body)
    assert answer.status == 400
    assert CANARY not in await answer.text()
    assert (await client.get(SHOP)).status == 404


async def test_a_name_that_will_not_do(client: Client) -> None:
    """A name becomes a key of the store."""
    for name in ("Shop", "a.b", "x" * 51, "-", "a%2Fb", "*"):
        assert (await client.put(f"{ALL}/{name}", json=BODY)).status in {400, 404}
        assert (await client.get(f"{ALL}/{name}")).status == 404
        assert (await client.delete(f"{ALL}/{name}")).status == 404


async def test_admins_alone(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The audit names verb, resource and credential; the secret is in it no more than in a log."""
    caplog.set_level(logging.DEBUG)
    people = People(tmp_path, ann="viewers", bob="ops", cem="admins")
    trail = AuditTrail()
    client = await make([bytes(32)], replace(for_people(people), audit=trail))
    for user in ("ann", "bob"):
        for answer in (
            await client.put(SHOP, json=BODY, headers=bearer(user)),
            await client.get(SHOP, headers=bearer(user)),
            await client.get(ALL, headers=bearer(user)),
            await client.delete(SHOP, headers=bearer(user)),
        ):
            assert answer.status == 403
    shown = await (await client.put(SHOP, json=BODY, headers=bearer("cem"))).json()
    assert shown["updatedBy"] == "cem"
    await client.delete(SHOP, headers=bearer("cem"))
    while trail._wake.is_set():
        await asyncio.sleep(0)
    entries = (await (await client.get("/api/v1/audit", headers=bearer("cem"))).json())["entries"]
    assert [(e["action"], e["status"], e["taskId"]) for e in entries[:3]] == [
        ("delete credentials", 200, "shop"),
        ("update credentials", 201, "shop"),
        ("delete credentials", 403, "shop"),
    ]
    assert CANARY not in json.dumps(entries) + caplog.text


async def test_no_metric_shows_it(client: Client) -> None:
    """Routes are counted by their patterns."""
    await client.put(SHOP, json=BODY)
    assert CANARY not in await (await client.get("/metrics")).text()


async def test_a_task_names_credentials(make: Make, tmp_path: Path, engine: FakeEngine) -> None:
    """Who may not use them is refused; unknown ones are named; who asked is kept for later."""
    people = People(tmp_path, bob="ops", cem="admins")
    client = await make([bytes(32)], for_people(people))
    await client.put(SHOP, json=BODY, headers=bearer("cem"))
    task = {"images": ["reg.example/a"], "credentials": ["shop", "shop"]}
    for path, method in (("/api/v1/tasks", "POST"), ("/api/v1/sets/web", "PUT")):
        refused = await client.request(method, path, json=task, headers=bearer("bob"))
        problem = await refused.json()
        assert (refused.status, problem["messageParams"]) == (
            403,
            {"user": "bob", "verb": "use", "resource": "credentials"},
        )
        unknown = await client.request(
            method, path, json=task | {"credentials": ["shop", "none"]}, headers=bearer("cem")
        )
        [fault] = (await unknown.json())["errors"]
        assert (unknown.status, fault["field"]) == (400, "/credentials/1")
        assert fault["messageParams"] == {"name": "none"}
        made = await client.request(method, path, json=task, headers=bearer("cem"))
        assert (made.status, (await made.json())["credentials"]) == (201, ["shop"])
    [head] = engine.all_heads.values()
    spec = engine.sets.stored["web"].head.spec
    for asked_by in (head.spec.asked_by, spec.asked_by):
        assert asked_by == Asker(user="cem", way="tokens", groups=("admins",))


@pytest.mark.parametrize("names", [["Shop"], "shop", [1], ["a"] * 11, [""]])
async def test_names_that_will_not_do(client: Client, names: Any) -> None:
    """Found in the body."""
    answer = await client.post("/api/v1/tasks", json={"images": ["a"], "credentials": names})
    assert answer.status == 400


async def test_a_create_is_repeated_after_its_credential_is_gone(
    client: Client, engine: FakeEngine
) -> None:
    """By its key it is what it was; without one, or with another body, it is refused."""
    await client.put(SHOP, json=BODY)
    body = {"images": ["reg.example/app:1"], "credentials": ["shop"]}
    key = {"Idempotency-Key": "k"}
    first = await client.post(TASKS, json=body, headers=key)
    await client.delete(SHOP)
    again = await client.post(TASKS, json=body, headers=key)
    assert (first.status, again.status) == (201, 200)
    assert (await again.json())["taskId"] == (await first.json())["taskId"]
    for other, headers in ((body, {}), (body | {"priority": 9}, key)):
        assert (await client.post(TASKS, json=other, headers=headers)).status == 400
    assert len(engine.all_heads) == 1


async def test_where_nobody_is_asked(client: Client, engine: FakeEngine) -> None:
    """Anybody may use what there is, and nobody is kept to be asked about."""
    await client.put(SHOP, json=BODY)
    answer = await client.post("/api/v1/tasks", json={"images": ["a"], "credentials": ["shop"]})
    assert answer.status == 201
    [head] = engine.all_heads.values()
    assert (head.spec.credentials, head.spec.asked_by) == (("shop",), None)
