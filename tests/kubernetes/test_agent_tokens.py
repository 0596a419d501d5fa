"""An agent's projected token, as a real API server knows it: the node is its pod's."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.access.callers import UnknownCredentialError
from coordinator.callout.service_accounts import AUDIENCE, ServiceAccounts
from coordinator.nodes.api_server import ApiServer
from tests.fixtures.kubernetes import Json, Kube
from tests.kubernetes.conftest import UseConfig

pytestmark = pytest.mark.kubernetes

CORE = "/api/v1/namespaces/ips-system"


@pytest.fixture
def accounts(kube: Kube, namespace: None, use_config: UseConfig) -> ServiceAccounts:
    """The admin asks."""
    del namespace
    use_config(kube.config)
    return ServiceAccounts(ApiServer.connected, "ips-system", "ips-agent")


async def pod_of(kube: Kube, account: str, node: str) -> Json:
    """A pod of a ServiceAccount on a node."""
    await kube.call("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": account}})
    spec = {
        "serviceAccountName": account,
        "nodeName": node,
        "containers": [{"name": "a", "image": "a"}],
    }
    return await kube.call("POST", f"{CORE}/pods", {"metadata": {"name": account}, "spec": spec})


async def token_of(kube: Kube, pod: Json, *audiences: str) -> str:
    """What the kubelet gets for the pod's projected volume."""
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"]}
    spec: dict[str, Any] = {
        "audiences": audiences,
        "expirationSeconds": 600,
        "boundObjectRef": {**bound, "uid": pod["metadata"]["uid"]},
    }
    account = pod["spec"]["serviceAccountName"]
    answer = await kube.call("POST", f"{CORE}/serviceaccounts/{account}/token", {"spec": spec})
    return str(answer["status"]["token"])


async def test_an_agents_token_is_its_node(kube: Kube, accounts: ServiceAccounts) -> None:
    """Neither one for another audience, nor one of another account; none of a deleted pod."""
    await kube.create_node("node-1")
    agent = await pod_of(kube, "ips-agent", "node-1")
    token, later = [await token_of(kube, agent, AUDIENCE) for _ in range(2)]
    found = await accounts.identify(token)
    assert found.node == "node-1"
    other = await pod_of(kube, "app", "node-1")
    for wrong in (
        await token_of(kube, other, AUDIENCE),
        await token_of(kube, agent, "https://kubernetes.default.svc"),
        token[:-4] + "AAAA",
    ):
        with pytest.raises(UnknownCredentialError):
            await accounts.identify(wrong)
    await kube.call("DELETE", f"{CORE}/pods/ips-agent", gracePeriodSeconds="0")
    with pytest.raises(UnknownCredentialError):
        await accounts.identify(later)
