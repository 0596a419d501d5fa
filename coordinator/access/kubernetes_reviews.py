"""Kubernetes says whose token it is, and what they may do: TokenReview and SubjectAccessReview.

https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from coordinator.access.api_server_asks import TOKEN_REVIEWS, ApiServerAsks, token_review
from coordinator.access.callers import (
    MOST_GROUPS,
    NAME_CHARACTERS,
    Caller,
    Resource,
    Right,
    SecretRead,
    UnknownCredentialError,
    Verb,
    Way,
)

GROUP: Final = "ips.dev"
"""The API group of the virtual resources that roles speak of."""
ACCESS_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ANSWER_SECONDS: Final = 5.0

_Name = Annotated[str, Meta(max_length=NAME_CHARACTERS)]
_Names = Annotated[tuple[Annotated[str, Meta(max_length=1024)], ...], Meta(max_length=MOST_GROUPS)]


class _User(msgspec.Struct):
    username: _Name = ""
    """Empty where nobody was authenticated."""
    groups: _Names = ()
    extra: Annotated[Mapping[_Name, _Names], Meta(max_length=100)] = {}


class _TokenStatus(msgspec.Struct):
    authenticated: bool = False
    user: _User | None = None


class _TokenReview(msgspec.Struct):
    status: _TokenStatus


class _AccessStatus(msgspec.Struct):
    allowed: bool = False
    denied: bool = False


class _AccessReview(msgspec.Struct):
    status: _AccessStatus


_read_token_review = msgspec.json.Decoder(_TokenReview).decode
_read_access_review = msgspec.json.Decoder(_AccessReview).decode


class Posts(Protocol):
    """What is needed of a connection to the API server."""

    async def post(self, path: str, body: Mapping[str, Any], silence: float = ...) -> bytes:
        """Create something; what it is then. Raises ApiServerError."""


class Connect(Protocol):
    """Opens a connection."""

    def __call__(self) -> AbstractAsyncContextManager[Posts]:
        """Open for as long as the block lasts. Raises ApiServerError."""


class KubernetesReviews:
    """Asks the API server about tokens and permissions; remembers nothing."""

    def __init__(self, connect: Connect, namespace: str) -> None:
        """``namespace``: where a Role and its binding count; ClusterRoleBindings count anyway."""
        self._asks = ApiServerAsks(connect, 2 * ANSWER_SECONDS)
        self._namespace = namespace

    async def identify(self, token: str) -> Caller:
        """Whose token this is. Raises UnknownCredentialError, AuthorityAwayError."""
        async with self._asks.ask() as api:
            body = await api.post(TOKEN_REVIEWS, token_review(token), silence=ANSWER_SECONDS)
            status = _read_token_review(body).status
        user = status.user
        if not status.authenticated or user is None or not user.username:
            raise UnknownCredentialError
        return Caller(
            user=user.username,
            groups=user.groups,
            way=Way.KUBERNETES,
            extra=tuple(sorted(user.extra.items())),
        )

    async def may(self, caller: Caller, right: Right) -> bool:
        """Whether Kubernetes lets a caller do something. Raises AuthorityAwayError."""
        review = _access_review(caller, right, self._namespace)
        async with self._asks.ask() as api:
            body = await api.post(ACCESS_REVIEWS, review, silence=ANSWER_SECONDS)
            status = _read_access_review(body).status
        return status.allowed and not status.denied


def _access_review(caller: Caller, right: Right, namespace: str) -> Mapping[str, Any]:
    who = {
        "user": caller.user,
        "groups": list(caller.groups),
        "extra": {name: list(values) for name, values in caller.extra},
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": who | _attributes(right, namespace),
    }


def _attributes(right: Right, namespace: str) -> dict[str, Any]:
    if isinstance(right, SecretRead):
        return {
            "resourceAttributes": {
                "namespace": right.namespace,
                "verb": Verb.GET,
                "group": "",
                "version": "v1",
                "resource": "secrets",
                "name": right.name,
            }
        }
    if right.resource is Resource.METRICS:
        return {"nonResourceAttributes": {"path": "/metrics", "verb": right.verb}}
    return {
        "resourceAttributes": {
            "namespace": namespace,
            "verb": right.verb,
            "group": GROUP,
            "resource": right.resource,
        }
    }
