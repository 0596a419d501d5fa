"""What is asked of the API server about agents' tokens; a real one is in tests/kubernetes."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coordinator.access.callers import AuthorityAwayError, UnknownCredentialError
from coordinator.callout.identities import AgentPod
from coordinator.callout.service_accounts import (
    NODE_NAME,
    POD_NAME,
    POD_UID,
    REVIEW_SECONDS,
    ServiceAccounts,
)
from coordinator.nodes.api_server import ApiServerError, NotFoundError

UNTIL = 1_800_000_000
BODY = base64.urlsafe_b64encode(json.dumps({"exp": UNTIL}).encode()).rstrip(b"=").decode()
TOKEN = f"eyJhbGciOiJSUzI1NiJ9.{BODY}.c2ln"
USER = "system:serviceaccount:ips-system:ips-agent"
NODE = {NODE_NAME: ["node-1"]}
POD = {POD_NAME: ["agent-x"], POD_UID: ["u-1"]}


def status(extra: Mapping[str, list[str]] = NODE, **changed: object) -> dict[str, Any]:
    """What the API server says of an agent's token."""
    user = {"username": changed.pop("username", USER), "extra": extra}
    return {"authenticated": True, "audiences": ["ips-nats"], "user": user, **changed}


class FakeApi:
    """Says the same of every token, and knows one pod."""

    def __init__(self, said: object, pod: object = None) -> None:
        self._said = said
        self._pod = pod
        self.asked: list[Mapping[str, Any]] = []

    async def post(self, path: str, body: Mapping[str, Any], silence: float = 0) -> bytes:
        """Answer a review."""
        assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
        assert silence == REVIEW_SECONDS
        self.asked.append(body)
        return self._answer({"status": self._said} if isinstance(self._said, dict) else self._said)

    async def get(self, path: str) -> bytes:
        """Answer about the pod."""
        assert path == "/api/v1/namespaces/ips-system/pods/agent-x"
        return self._answer(self._pod)

    @staticmethod
    def _answer(said: object) -> bytes:
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, bytes) else json.dumps(said).encode()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[FakeApi]:
        """Always there."""
        yield self

    async def identify(self, token: str = TOKEN) -> AgentPod:
        """Ask it."""
        return await ServiceAccounts(self.connected, "ips-system", "ips-agent").identify(token)


async def test_a_token_is_its_pods_node() -> None:
    """As the API server says, for the audience of NATS alone, until the token's end."""
    api = FakeApi(status())
    assert await api.identify() == AgentPod("node-1", UNTIL)
    assert api.asked[0]["spec"] == {"token": TOKEN, "audiences": ["ips-nats"]}


async def test_before_kubernetes_1_30_the_pod_is_asked() -> None:
    """By name; another pod that has the name by now is none of ours."""
    pod = {"metadata": {"uid": "u-1"}, "spec": {"nodeName": "node-2"}}
    assert await FakeApi(status(POD), pod).identify() == AgentPod("node-2", UNTIL)
    other = {**pod, "metadata": {"uid": "u-2"}}
    with pytest.raises(UnknownCredentialError):
        await FakeApi(status(POD), other).identify()
    with pytest.raises(UnknownCredentialError):
        await FakeApi(status(POD), NotFoundError("404")).identify()


@pytest.mark.parametrize(
    "said",
    [
        {"authenticated": False},
        status(audiences=["https://kubernetes.default.svc"]),
        status(audiences=[]),
        status(username="system:serviceaccount:other:ips-agent"),
        status(username="system:serviceaccount:ips-system:ips-coordinator"),
        status({}),
        status({NODE_NAME: ["node-1", "node-2"]}),
        status({NODE_NAME: ["node-1.>"]}),
        status({POD_NAME: ["../secrets/x"], POD_UID: ["u-1"]}),
        status({POD_NAME: ["agent-x"]}),
    ],
)
async def test_any_other_token_is_nobodys(said: dict[str, Any]) -> None:
    """Not authenticated, not for NATS, of another account, or of no node."""
    with pytest.raises(UnknownCredentialError):
        await FakeApi(said, {"metadata": {"uid": "u-1"}, "spec": {}}).identify()


@pytest.mark.parametrize("said", [ApiServerError("away"), b"no JSON", {"authenticated": "x"}])
async def test_an_api_server_that_is_away_decides_nothing(said: object) -> None:
    """Whoever asks comes again; that is not to be remembered of the token."""
    with pytest.raises(AuthorityAwayError, match="Kubernetes"):
        await FakeApi(said).identify()


@pytest.mark.parametrize("body", ["", "e30", "bm8", "eyJleHAiOiAtMX0"])
async def test_a_token_without_an_end_is_nobodys(body: str) -> None:
    """Whatever Kubernetes says of it: it would let its agent stay for ever."""
    with pytest.raises(UnknownCredentialError):
        await FakeApi(status()).identify(f"eyJh.{body}.c2ln")
