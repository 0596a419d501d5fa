"""Who asks and what they may do, asked of a real API server with the roles as they are shipped."""

from __future__ import annotations

import os.path
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.access.callers import Permission, Resource, UnknownCredentialError, Verb, Way
from coordinator.access.kubernetes_reviews import KubernetesReviews
from coordinator.access.roles import PERMISSIONS, Role
from coordinator.nodes.api_server import ApiServer
from tests.fixtures.fleet import Fleet
from tests.fixtures.kubernetes import Json, Kube
from tests.kubernetes.conftest import UseConfig
from tests.kubernetes.manifests import DEPLOY, build
from tests.kubernetes.roles import account, roles

pytestmark = pytest.mark.kubernetes

CORE = "/api/v1/namespaces/ips-system"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/ips-system/rolebindings"


@pytest.fixture
async def shipped(kube: Kube, namespace: None) -> AsyncIterator[None]:
    """Everything that the manifests say about roles; no controller aggregates them here."""
    del namespace
    async with roles(kube, [*build("."), *build("roles")]):
        yield


@pytest.fixture
def reviews(kube: Kube, use_config: UseConfig) -> KubernetesReviews:
    """The admin asks."""
    use_config(kube.config)
    return KubernetesReviews(ApiServer.connected, "ips-system")


async def token_of(kube: Kube, name: str, role: str = "", pod: Json | None = None) -> str:
    """A token of a new ServiceAccount with a role, bound to a pod perhaps."""
    with suppress(AssertionError):  # it is there
        await kube.call("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": name}})
    if role:
        binding = {
            "metadata": {"name": name},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": role,
            },
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "ips-system"}],
        }
        await kube.call("POST", RBAC, binding)
    spec: dict[str, Any] = {"expirationSeconds": 600}
    if pod is not None:
        spec["boundObjectRef"] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        }
    answer = await kube.call("POST", f"{CORE}/serviceaccounts/{name}/token", {"spec": spec})
    return str(answer["status"]["token"])


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("role", list(Role))
async def test_a_cluster_role_gives_what_our_own_role_gives(
    kube: Kube, reviews: KubernetesReviews, role: Role
) -> None:
    """Each verb of each resource, in this namespace and in no other."""
    caller = await reviews.identify(await token_of(kube, f"a-{role}", f"ips-{role}"))
    assert caller.user == f"system:serviceaccount:ips-system:a-{role}"
    assert caller.way is Way.KUBERNETES
    elsewhere = KubernetesReviews(ApiServer.connected, "default")
    # A RoleBinding gives no path: /metrics needs a ClusterRoleBinding.
    resources = [each for each in Resource if each is not Resource.METRICS]
    for verb, resource in product(Verb, resources):
        permission = Permission(verb, resource)
        assert await reviews.may(caller, permission) is (permission in PERMISSIONS[role]), (
            permission
        )
    assert not await elsewhere.may(caller, Permission(Verb.GET, Resource.TASKS))
    assert not await reviews.may(caller, Permission(Verb.GET, Resource.METRICS))


@pytest.mark.usefixtures("shipped")
async def test_the_token_of_a_deleted_pod_is_nobodys(
    kube: Kube, reviews: KubernetesReviews
) -> None:
    """Once it is deleted, however long the token itself is good."""
    await token_of(kube, "app")
    spec = {"serviceAccountName": "app", "containers": [{"name": "a", "image": "a"}]}
    pod = await kube.call("POST", f"{CORE}/pods", {"metadata": {"name": "app"}, "spec": spec})
    token, other = [await token_of(kube, "app", pod=pod) for _ in range(2)]
    caller = await reviews.identify(token)
    assert ("authentication.kubernetes.io/pod-name", ("app",)) in caller.extra
    assert not await reviews.may(caller, Permission(Verb.GET, Resource.TASKS))
    await kube.call("DELETE", f"{CORE}/pods/app", gracePeriodSeconds="0")
    # The API server itself remembers for ten seconds what it has said of the first.
    with pytest.raises(UnknownCredentialError):
        await reviews.identify(other)


@pytest.mark.usefixtures("shipped")
async def test_a_coordinator_asks_the_api_server(kube: Kube, fleet: Fleet, tmp_path: Path) -> None:
    """As the ServiceAccount that it is shipped with: 401, 403 and 201 to whom they belong."""
    config = await account(kube, "ips-coordinator", tmp_path)
    settings = {"IPS_AUTH": "kubernetes", "K8S_NAMESPACE": "ips-system", "KUBECONFIG": str(config)}
    coordinator = await fleet.add_coordinator({**settings, "IPS_LISTEN": "127.0.0.1"})
    view, edit = await token_of(kube, "v", "ips-view"), await token_of(kube, "e", "ips-edit")
    tasks = f"{coordinator.url}/api/v1/tasks"
    expected = {"": (401, 401), "x.y.z": (401, 401), view: (200, 403), edit: (200, 201)}
    async with aiohttp.ClientSession() as http:
        for token, statuses in expected.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with http.get(tasks, headers=headers) as seen:
                pass
            async with http.post(tasks, headers=headers, json={"images": ["nginx"]}) as made:
                assert (seen.status, made.status) == statuses, await made.text()
        session = f"{coordinator.url}/api/v1/session"
        async with http.post(session, json={"token": edit}) as opened:
            assert opened.status == 200
            cookie = opened.cookies["ips-session"]
        headers = {"Cookie": f"{cookie.key}={cookie.value}"}
        async with http.post(tasks, headers=headers, json={"images": ["nginx"]}) as made:
            assert made.status == 201


def test_who_wants_no_questions_takes_them_out(tmp_path: Path) -> None:
    """The component ``open`` is all that it needs."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources: [{_from(folder, '.')}]\ncomponents: [{_from(folder, 'components/open')}]\n"
    )
    [settings] = [
        item["data"]
        for item in build(str(folder))
        if item["kind"] == "ConfigMap" and item["metadata"]["name"].startswith("ips-coordinator")
    ]
    assert settings["IPS_AUTH"] == "none"


def _from(folder: Path, part: str) -> str:
    return os.path.relpath(DEPLOY / part, folder)
