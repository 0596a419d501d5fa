"""What is asked of the API server, and what its answers mean; a real one is in tests/kubernetes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coordinator.access.callers import (
    AuthorityAwayError,
    Caller,
    Permission,
    Resource,
    SecretRead,
    UnknownCredentialError,
    Verb,
    Way,
)
from coordinator.access.kubernetes_reviews import KubernetesReviews
from coordinator.nodes.api_server import ApiServerError

BOB = Caller(user="bob", groups=("g",), way=Way.KUBERNETES, extra=(("scopes.example", ("a", "b")),))


class FakeApiServer:
    """Answers every review the same."""

    def __init__(self, status: object) -> None:
        self.status = status
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def post(self, path: str, body: Mapping[str, Any], silence: float = 0) -> bytes:
        """Remember the review and answer it."""
        assert 0 < silence <= 10
        self.asked.append((path, body))
        if isinstance(self.status, Exception):
            raise self.status
        return (
            self.status
            if isinstance(self.status, bytes)
            else json.dumps({"status": self.status}).encode()
        )

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[FakeApiServer]:
        """Always there."""
        yield self

    @property
    def reviews(self) -> KubernetesReviews:
        """Who asks it."""
        return KubernetesReviews(self.connected, "ips-system")


async def test_a_token_is_its_users() -> None:
    """With groups and whatever else the server knows, which it is told again later."""
    user = {"username": "bob", "uid": "1", "groups": ["g"], "extra": {"scopes.example": ["a", "b"]}}
    server = FakeApiServer({"authenticated": True, "user": user})
    assert await server.reviews.identify("t") == BOB
    [(path, body)] = server.asked
    assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
    assert body["spec"] == {"token": "t"}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"authenticated": False},
        {"authenticated": False, "user": {"username": "bob"}},
        {"authenticated": True},
        {"authenticated": True, "user": {}},
        {"user": {}, "error": "expired"},
    ],
)
async def test_whoever_is_not_authenticated_is_nobody(status: object) -> None:
    """A name alone proves nothing."""
    with pytest.raises(UnknownCredentialError):
        await FakeApiServer(status).reviews.identify("t")


@pytest.mark.parametrize(
    "status",
    [
        ApiServerError("503 away"),
        b"<html>",
        b"{}",
        {"authenticated": True, "user": {"username": "a" * 300}},
        {"authenticated": True, "user": {"username": "bob", "groups": ["g"] * 2000}},
        {"authenticated": 1},
    ],
)
async def test_what_is_no_answer_says_nothing(status: object) -> None:
    """Neither that somebody is known nor that they are not."""
    reviews = FakeApiServer(status).reviews
    with pytest.raises(AuthorityAwayError):
        await reviews.identify("t")


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ({"allowed": True}, True),
        ({"allowed": False}, False),
        ({}, False),
        ({"allowed": True, "denied": True}, False),
    ],
)
async def test_what_a_caller_may_do(status: object, allowed: bool) -> None:
    """As a virtual resource in the installation's namespace."""
    server = FakeApiServer(status)
    assert await server.reviews.may(BOB, Permission(Verb.CREATE, Resource.TASKS)) is allowed
    [(path, body)] = server.asked
    assert path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert body["spec"] == {
        "user": "bob",
        "groups": ["g"],
        "extra": {"scopes.example": ["a", "b"]},
        "resourceAttributes": {
            "namespace": "ips-system",
            "verb": "create",
            "group": "ips.dev",
            "resource": "tasks",
        },
    }


async def test_metrics_are_a_path() -> None:
    """To which the roles of a Prometheus give access anyway."""
    server = FakeApiServer({"allowed": True})
    assert await server.reviews.may(BOB, Permission(Verb.GET, Resource.METRICS))
    [(_, body)] = server.asked
    assert body["spec"]["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
    assert "resourceAttributes" not in body["spec"]


async def test_a_secret_is_asked_about_where_it_is() -> None:
    """In its own namespace and by its name, not where the service is."""
    server = FakeApiServer({"allowed": True})
    assert await server.reviews.may(BOB, SecretRead("shop", "regcred"))
    [(_, body)] = server.asked
    assert body["spec"]["resourceAttributes"] == {
        "namespace": "shop",
        "verb": "get",
        "group": "",
        "version": "v1",
        "resource": "secrets",
        "name": "regcred",
    }
