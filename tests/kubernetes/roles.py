"""The ServiceAccounts and roles of the manifests, alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fixtures.kubernetes import Json, Kube

KINDS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PLACES = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "Role": f"{RBAC}/namespaces/{{namespace}}/roles",
    "RoleBinding": f"{RBAC}/namespaces/{{namespace}}/rolebindings",
}


@asynccontextmanager
async def roles(kube: Kube, objects: list[Json]) -> AsyncIterator[None]:
    """ServiceAccounts, roles and bindings, for as long as the block lasts."""
    made = []
    try:
        for item in objects:
            if item["kind"] in KINDS:
                namespace = item["metadata"].get("namespace", "")
                path = PLACES[item["kind"]].format(namespace=namespace)
                await kube.call("POST", path, item)
                made.append(f"{path}/{item['metadata']['name']}")
        yield
    finally:
        for path in made:
            await kube.call("DELETE", path)


async def token(kube: Kube, name: str) -> str:
    """A token of a ServiceAccount's, by TokenRequest."""
    path = f"/api/v1/namespaces/ips-system/serviceaccounts/{name}/token"
    answer = await kube.call("POST", path, {"spec": {"expirationSeconds": 600}})
    return str(answer["status"]["token"])


async def account(kube: Kube, name: str, folder: Path) -> Path:
    """A kubeconfig of a ServiceAccount's."""
    user = {"token": await token(kube, name)}
    return kube.plane.access.kubeconfig(folder / f"{name}.kubeconfig", user)
