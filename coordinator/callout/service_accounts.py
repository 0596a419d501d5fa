"""Agents in pods: Kubernetes says whose a token is, and on which node the pod runs.

https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from common.messages import NOT_DECODABLE
from common.subjects import is_node_name
from coordinator.access.api_server_asks import TOKEN_REVIEWS, ApiServerAsks, token_review
from coordinator.access.callers import UnknownCredentialError
from coordinator.callout.identities import AgentPod
from coordinator.nodes.api_server import NotFoundError

AUDIENCE: Final = "ips-nats"
REVIEW_SECONDS: Final = 1.2
"""Less than NATS waits for the coordinators: an answer that comes later is none."""
NODE_NAME: Final = "authentication.kubernetes.io/node-name"
"""Since Kubernetes 1.30; before that the pod is asked for its node."""
POD_NAME: Final = "authentication.kubernetes.io/pod-name"
POD_UID: Final = "authentication.kubernetes.io/pod-uid"

_Name = Annotated[str, Meta(max_length=1024)]
_Names = Annotated[tuple[_Name, ...], Meta(max_length=100)]


class _Account(msgspec.Struct, frozen=True):
    username: _Name = ""
    extra: Annotated[Mapping[_Name, _Names], Meta(max_length=100)] = {}


class _ReviewStatus(msgspec.Struct):
    authenticated: bool = False
    audiences: _Names = ()
    user: _Account = _Account()


class _Review(msgspec.Struct):
    status: _ReviewStatus


class _PodMetadata(msgspec.Struct):
    uid: str


class _PodSpec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _Pod(msgspec.Struct):
    metadata: _PodMetadata
    spec: _PodSpec


class _Expiry(msgspec.Struct):
    exp: Annotated[float, Meta(gt=0, lt=1e11)]


_read_review = msgspec.json.Decoder(_Review).decode
_read_pod = msgspec.json.Decoder(_Pod).decode
_read_expiry = msgspec.json.Decoder(_Expiry).decode


class KubernetesApi(Protocol):
    """What is needed of a connection to the API server. Each raises ApiServerError."""

    async def get(self, path: str) -> bytes:
        """Read something. Raises NotFoundError."""

    async def post(self, path: str, body: Mapping[str, Any], silence: float = ...) -> bytes:
        """Create something; what it is then."""


class OpenApi(Protocol):
    """Opens a connection."""

    def __call__(self) -> AbstractAsyncContextManager[KubernetesApi]:
        """Open for as long as the block lasts. Raises ApiServerError."""


class ServiceAccounts:
    """Asks the API server about agents' tokens; remembers nothing."""

    def __init__(self, connect: OpenApi, namespace: str, account: str) -> None:
        """``account``: the name of the ServiceAccount of all agents."""
        self._asks = ApiServerAsks(connect, REVIEW_SECONDS)
        self._namespace = namespace
        self._user = f"system:serviceaccount:{namespace}:{account}"

    async def identify(self, token: str) -> AgentPod:
        """Whose token this is. Raises UnknownCredentialError, AuthorityAwayError.

        Ends within ``REVIEW_SECONDS``, the waiting for others' tokens included.
        """
        async with self._asks.ask() as api:
            node = await self._node(api, token)
        if not is_node_name(node):
            raise UnknownCredentialError
        return AgentPod(node, _expiry(token))

    async def _node(self, api: KubernetesApi, token: str) -> str:
        review = token_review(token, (AUDIENCE,))
        body = await api.post(TOKEN_REVIEWS, review, silence=REVIEW_SECONDS)
        status = _read_review(body).status
        if not self._is_agent(status):
            raise UnknownCredentialError
        return await self._node_of(api, status.user.extra)

    def _is_agent(self, status: _ReviewStatus) -> bool:
        is_meant_for_nats = AUDIENCE in status.audiences
        return status.authenticated and is_meant_for_nats and status.user.username == self._user

    async def _node_of(self, api: KubernetesApi, extra: Mapping[str, tuple[str, ...]]) -> str:
        if node := _only(extra, NODE_NAME):
            return node
        name, uid = _only(extra, POD_NAME), _only(extra, POD_UID)
        if not is_node_name(name) or not uid:
            raise UnknownCredentialError
        try:
            pod = _read_pod(await api.get(f"/api/v1/namespaces/{self._namespace}/pods/{name}"))
        except NotFoundError:
            raise UnknownCredentialError from None
        if pod.metadata.uid != uid:
            raise UnknownCredentialError
        return pod.spec.node_name


def _only(extra: Mapping[str, tuple[str, ...]], key: str) -> str:
    """The one value of a key; empty where there is none, or several."""
    values = extra.get(key, ())
    return values[0] if len(values) == 1 else ""


def _expiry(token: str) -> float:
    """When a token that Kubernetes has accepted ends. Raises UnknownCredentialError."""
    try:
        body = token.split(".")[1]
        return _read_expiry(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))).exp
    except (LookupError, binascii.Error, *NOT_DECODABLE, ValueError):
        raise UnknownCredentialError from None
