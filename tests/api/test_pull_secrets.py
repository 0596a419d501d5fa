"""Secrets of Kubernetes that tasks and sets name: who may, and what is said where one cannot be."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from common import credential_texts as texts
from coordinator.access.callers import (
    AuthorityAwayError,
    Caller,
    Permission,
    Right,
    SecretRead,
    UnknownCredentialError,
    Verb,
    Way,
)
from coordinator.access.gatekeeper import Authorities
from coordinator.api.app import make_app
from coordinator.credentials.pull_secret import PullSecret, PullSecretError, decode_pull_secret
from coordinator.event_feed import EventFeed
from tests.api.conftest import PACE, Client
from tests.api.entrances import bearer, entrance, token_of
from tests.api.fake_engine import FakeEngine
from tests.api.test_openapi import check
from tests.credentials.secrets import secret

TASKS, SET = "/api/v1/tasks", "/api/v1/sets/web"
REGCRED = "shop/regcred"
BODY = {"images": ["reg.example/a:1"], "pullSecrets": [REGCRED]}
Make = Callable[..., Awaitable[Client]]


class Cluster:
    """Ann may get the one Secret, Cem use all credentials, Bob neither; all may create."""

    def __init__(self) -> None:
        self.read_names: list[str] = []
        self.away = False

    async def identify(self, token: str) -> Caller:
        """By their tokens."""
        for user in ("ann", "bob", "cem"):
            if token == token_of(user):
                pod = ("authentication.kubernetes.io/pod-name", ("app",))
                return Caller(user=user, way=Way.KUBERNETES, groups=("all",), extra=(pod,))
        raise UnknownCredentialError

    async def may(self, caller: Caller, right: Right) -> bool:
        """As above."""
        if isinstance(right, SecretRead):
            return caller.user == "ann" and right == SecretRead("shop", "regcred")
        assert isinstance(right, Permission)
        return right.verb is not Verb.USE or caller.user == "cem"

    async def read(self, name: str) -> PullSecret:
        """Two are there, and of those the coordinator may get one."""
        self.read_names.append(name)
        if self.away:
            raise AuthorityAwayError(texts.CREDENTIALS_LOADING())
        if name == "other/closed":
            raise PullSecretError(texts.PULL_SECRET_FORBIDDEN(name=name))
        if name != REGCRED:
            raise PullSecretError(texts.PULL_SECRET_GONE(name=name))
        return decode_pull_secret(name, json.dumps(secret()).encode())


@pytest.fixture
def cluster() -> Cluster:
    """Kubernetes."""
    return Cluster()


@pytest.fixture
async def client(
    engine: FakeEngine,
    feed: EventFeed,
    cluster: Cluster,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> Client:
    """The application where Kubernetes says who may do what."""
    door = entrance(Authorities(kubernetes=cluster))
    app = make_app(
        engine, feed, CollectorRegistry(), pace=PACE, entrance=door, pull_secrets=cluster
    )
    return await aiohttp_client(app)


async def post(client: Client, user: str, **more: Any) -> tuple[int, Any]:
    """A create, by somebody: its status and answer."""
    answer = await client.post(TASKS, json=BODY | more, headers=bearer(user))
    return answer.status, await answer.json()


@pytest.mark.parametrize("user", ["ann", "cem"])
async def test_who_may(client: Client, engine: FakeEngine, user: str) -> None:
    """The answer shows the names, as the document says; who is asked about later is kept."""
    document = await (await client.get("/openapi.json")).json()
    status, task = await post(client, user)
    assert (status, task["pullSecrets"]) == (201, [REGCRED])
    check(document, "Task", task)
    spec = engine.all_heads[task["taskId"]].spec
    assert spec.asked_by is not None
    assert (spec.asked_by.user, spec.asked_by.groups, spec.asked_by.extra) == (user, ("all",), {})
    put = await client.put(SET, json=BODY, headers=bearer(user))
    shown = await put.json()
    assert (put.status, shown["pullSecrets"]) == (201, [REGCRED])
    check(document, "WarmSet", shown)


@pytest.mark.parametrize("name", [REGCRED, "other/closed", "shop/none"])
async def test_who_may_not(client: Client, cluster: Cluster, name: str) -> None:
    """403 with what is missing, whether there is such a Secret or not."""
    status, problem = await post(client, "bob", pullSecrets=[name])
    assert (status, problem["messageCode"]) == (403, "access.forbidden")
    assert problem["detail"] == f"bob may not get Secret {name}."
    put = await client.put(SET, json=BODY | {"pullSecrets": [name]}, headers=bearer("bob"))
    assert put.status == 403
    assert cluster.read_names == []


async def test_a_right_is_to_one_secret(client: Client) -> None:
    """And none to stored credentials."""
    status, problem = await post(client, "ann", pullSecrets=[REGCRED, "shop/other"])
    assert (status, problem["detail"]) == (403, "ann may not get Secret shop/other.")
    status, problem = await post(client, "ann", credentials=["shop"])
    assert (status, problem["detail"]) == (403, "ann may not use credentials.")


async def test_secrets_that_cannot_be_read(client: Client) -> None:
    """Each is named at its place."""
    names = ["other/closed", REGCRED, "shop/none"]
    status, problem = await post(client, "cem", pullSecrets=names)
    assert status == 400
    assert [(each["field"], each["messageCode"]) for each in problem["errors"]] == [
        ("/pullSecrets/0", "pullSecret.forbidden"),
        ("/pullSecrets/2", "pullSecret.gone"),
    ]


@pytest.mark.parametrize("names", [["regcred"], ["shop/a/b"], [""], [5], "shop/regcred"])
async def test_what_is_no_name(client: Client, cluster: Cluster, names: Any) -> None:
    """Nothing is asked for by it."""
    status, problem = await post(client, "cem", pullSecrets=names)
    assert (status, problem["errors"][0]["field"].split("/")[1]) == (400, "pullSecrets")
    assert cluster.read_names == []


async def test_kubernetes_is_away(client: Client, cluster: Cluster) -> None:
    """503: it is worth another try."""
    cluster.away = True
    status, _ = await post(client, "cem")
    assert status == 503


async def test_outside_of_kubernetes(
    engine: FakeEngine, feed: EventFeed, aiohttp_client: Callable[..., Awaitable[Client]]
) -> None:
    """The answer says what to do there."""
    client = await aiohttp_client(make_app(engine, feed, CollectorRegistry(), pace=PACE))
    for answer in (await client.post(TASKS, json=BODY), await client.put(SET, json=BODY)):
        problem = await answer.json()
        assert answer.status == 400
        assert [(each["field"], each["messageCode"]) for each in problem["errors"]] == [
            ("/pullSecrets", "pullSecret.noKubernetes")
        ]
