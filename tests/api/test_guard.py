"""What stands before every route."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from common.text import Text
from coordinator.access import gatekeeper
from coordinator.access.callers import AuthorityAwayError, Caller, Permission, Right, Way
from coordinator.access.gatekeeper import Authorities
from coordinator.api import guard
from coordinator.api.guard import Entrance
from coordinator.api.permissions import PERMISSIONS, PUBLIC, PURGE, permission_of
from tests.api.conftest import Client, Guarded
from tests.api.entrances import People, bearer, entrance, for_people
from tests.api.fake_engine import FakeEngine
from tests.fixtures.patience import PATIENCE

TASKS = "/api/v1/tasks"
BODY = {"images": ["nginx"]}


@pytest.fixture
def people(tmp_path: Path) -> People:
    """One of each role, and one who has none."""
    return People(tmp_path, ann="viewers", bob="ops", cem="admins", dee="strangers")


@pytest.fixture
async def asked(guarded: Guarded, people: People) -> Client:
    """The application, for these people."""
    return await guarded(for_people(people))


async def problem(answer: Any, status: int) -> Any:
    """The problem that an answer is."""
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    return await answer.json()


# ── every route ──────────────────────────────────────────────────────────────────────────────


def routes(client: Client) -> list[tuple[str, str]]:
    """Method and pattern of each route."""
    assert client.app is not None
    return [
        (route.method, route.resource.canonical)
        for route in client.app.router.routes()
        if route.resource is not None
    ]


async def test_every_route_is_in_the_tables(client: Client) -> None:
    """And nothing else is; a route that is forgotten answers nobody."""
    known = routes(client)
    for method, pattern in known:
        permission_of(method, pattern)
    assert {pattern for _, pattern in known} >= PUBLIC
    assert set(known) >= set(PERMISSIONS)
    with pytest.raises(LookupError):
        permission_of("GET", "/api/v1/forgotten")


async def test_nothing_but_the_shell_answers_strangers(asked: Client) -> None:
    """Every route of the interface says 401 with a challenge, whatever is asked of it."""
    for method, pattern in routes(asked):
        path = pattern.format(id="task-x", name="n", path="js/main.js")
        answer = await asked.request(method, path, allow_redirects=False)
        if pattern in PUBLIC or pattern == "/metrics":
            assert answer.status != 401 or pattern.endswith("callback"), path
            continue
        assert answer.status == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        if method != "HEAD":
            assert (await problem(answer, 401))["messageCode"] == "access.unidentified"


@pytest.mark.parametrize(
    ("user", "method", "path", "status"),
    [
        ("ann", "GET", TASKS, 200),
        ("ann", "HEAD", TASKS, 200),
        ("ann", "GET", "/api/v1/nodes", 200),
        ("ann", "POST", TASKS, 403),
        ("ann", "DELETE", f"{TASKS}/x", 403),
        ("ann", "POST", f"{TASKS}/x/retry", 403),
        ("bob", "POST", TASKS, 201),
        ("bob", "DELETE", f"{TASKS}/x", 404),
        ("cem", "POST", TASKS, 201),
        ("dee", "GET", TASKS, 403),
        ("nobody", "GET", TASKS, 401),
        ("bob", "DELETE", "/api/v1/sets/web", 404),
    ],
)
async def test_each_may_what_their_role_says(
    asked: Client, user: str, method: str, path: str, status: int
) -> None:
    """No more and no less."""
    body = BODY if method == "POST" else None
    answer = await asked.request(method, path, headers=bearer(user), json=body)
    assert answer.status == status


async def test_who_may_delete_a_set_may_not_purge_by_that(
    asked: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes what a purge takes besides: here something that nobody but an admin has."""
    assert PERMISSIONS["POST", "/api/v1/purges"] == PURGE
    monkeypatch.setattr(guard, "PURGE", PERMISSIONS["GET", "/api/v1/audit"])
    for user, query, status in (
        ("bob", "", 404),
        ("bob", "?purge=true", 403),
        ("cem", "?purge=true", 404),
    ):
        answer = await asked.delete(f"/api/v1/sets/web{query}", headers=bearer(user))
        assert answer.status == status


async def test_a_refusal_names_what_is_missing(asked: Client) -> None:
    """Verb and resource, so that an admin knows what to give."""
    refused = await problem(await asked.post(TASKS, json=BODY, headers=bearer("ann")), 403)
    assert refused["detail"] == "ann may not create tasks."
    assert refused["messageParams"] == {"user": "ann", "verb": "create", "resource": "tasks"}


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "token x", f"Bearer {'x' * 20_000}", "Bearer \u00ff"],
)
async def test_a_header_that_names_nobody(asked: Client, header: str) -> None:
    """It says so, and repeats nothing of it."""
    answer = await asked.get(TASKS, headers={"Authorization": header})
    if answer.status != 400:  # longer than the server reads
        assert "invalid_token" in answer.headers["WWW-Authenticate"]
        assert (await problem(answer, 401))["messageCode"] == "access.unknown"


async def test_metrics_ask_where_they_are_told_to(guarded: Guarded, people: People) -> None:
    """By default they are for whoever reaches them."""
    free, bound = await guarded(for_people(people)), await guarded(for_people(people, metrics=True))
    assert (await free.get("/metrics")).status == 200
    assert (await bound.get("/metrics")).status == 401
    assert (await bound.get("/metrics", headers=bearer("ann"))).status == 200
    assert (await bound.get("/metrics", headers=bearer("dee"))).status == 403


@pytest.mark.parametrize(("flag", "resource"), [("live", "nodes"), ("sets", "sets")])
async def test_what_is_no_task_is_asked_for_apart(
    guarded: Guarded, flag: str, resource: str
) -> None:
    """Whoever may watch tasks alone sees neither nodes nor sets by the way."""

    class Reviews:
        """Lets everybody watch tasks."""

        async def identify(self, token: str) -> Caller:
            """Anybody is somebody."""
            return Caller(user=token, way=Way.KUBERNETES)

        async def may(self, caller: Caller, right: Right) -> bool:
            """Tasks, and nothing else."""
            del caller
            return isinstance(right, Permission) and right.resource == "tasks"

    client = await guarded(entrance(Authorities(kubernetes=Reviews())))
    headers = {"Authorization": "Bearer eve"}
    assert (await client.head("/api/v1/events", headers=headers)).status == 200
    assert (await client.head(f"{TASKS}/x/events?live=true", headers=headers)).status == 404
    for method in ("HEAD", "GET"):
        answer = await client.request(method, f"/api/v1/events?{flag}=true", headers=headers)
        assert answer.status == 403
    refused = await problem(answer, 403)
    assert refused["messageParams"] == {"user": "eve", "verb": "watch", "resource": resource}


async def test_who_cannot_be_asked_refuses_nobody(guarded: Guarded) -> None:
    """503 with the reason, and when to come back: neither 401 nor 200."""

    class Away:
        """Never answers."""

        async def identify(self, token: str) -> Caller:
            """Say why."""
            del token
            raise AuthorityAwayError(Text("the API server is away"))

        async def may(self, caller: Caller, right: Right) -> bool:
            """Nobody was identified."""
            raise AssertionError(caller, right)

    client = await guarded(entrance(Authorities(kubernetes=Away())))
    answer = await client.get(TASKS, headers=bearer("ann"))
    assert (await problem(answer, 503))["detail"] == "the API server is away"
    assert "Retry-After" in answer.headers


# ── where a request comes from ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["open", "tokens"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8080"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:9", "Origin": "http://localhost:9"}, 201),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:80", "Origin": "http://evil.example:80"}, 421),
    ],
)
async def test_pages_of_other_sites_change_nothing(
    guarded: Guarded,
    people: People,
    engine: FakeEngine,
    mode: str,
    headers: dict[str, str],
    status: int,
) -> None:
    """In every mode, with a token or without."""
    behind = for_people(people) if mode == "tokens" else Entrance.wide_open()
    client = await guarded(behind)
    answer = await client.post(TASKS, json=BODY, headers={**bearer("bob"), **headers})
    assert answer.status == status
    assert len(engine.all_heads) == (status == 201)


async def test_a_name_made_to_point_here_reads_nothing(client: Client) -> None:
    """A rebound name would make every answer its page's own."""
    answer = await client.get(TASKS, headers={"Host": "evil.example"})
    refused = await problem(answer, 421)
    assert refused["messageCode"] == "access.strangeHost"
    assert (await client.get(TASKS, headers={"Origin": "https://evil.example"})).status == 200


# ── streams ──────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_ends_with_its_credential(
    asked: Client, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And cannot be opened again; those of others go on."""
    monkeypatch.setattr(gatekeeper, "LOOK_SECONDS", 0.01)
    ann = await asked.get("/api/v1/events", headers=bearer("ann"))
    bob = await asked.get("/api/v1/events", headers=bearer("bob"))
    assert (ann.status, bob.status) == (200, 200)
    people.remove("ann")
    async with asyncio.timeout(PATIENCE):
        await ann.content.read()
    assert (await asked.get("/api/v1/events", headers=bearer("ann"))).status == 401
    assert await bob.content.readany()
    assert not bob.content.at_eof()
    bob.close()
