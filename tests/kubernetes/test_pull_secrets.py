"""Secrets that tasks name, on a real API server with the roles and the component as shipped."""

from __future__ import annotations

import base64
import os.path
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import yaml
from nacl.public import PrivateKey

from common.messages import Heartbeat
from common.sealed_logins import open_logins
from common.subjects import AttemptKey
from coordinator.access.callers import Caller, Right
from coordinator.access.kubernetes_reviews import KubernetesReviews
from coordinator.core.commands import Assign
from coordinator.core.task import Asker, TaskImage, TaskSpec
from coordinator.credentials.pull_secret import PullSecretError
from coordinator.credentials.table import CredentialTable
from coordinator.engine.task_credentials import CannotBeGivenError, TaskCredentials
from coordinator.nodes.api_server import ApiServer
from coordinator.pull_secrets import KubernetesSecrets
from tests.credentials.secrets import CANARY, secret
from tests.fixtures.fleet import FAST, Fleet
from tests.fixtures.kubernetes import Json, Kube
from tests.kubernetes.conftest import UseConfig
from tests.kubernetes.manifests import DEPLOY, build
from tests.kubernetes.roles import RBAC, account, roles
from tests.kubernetes.test_access import token_of
from tests.kubernetes.test_two_installations import built

pytestmark = pytest.mark.kubernetes

SHOP, CLOSED = "/api/v1/namespaces/ips-test-shop", "/api/v1/namespaces/ips-test-closed"
BINDINGS = f"{RBAC}/namespaces/ips-test-shop/rolebindings"
REGCRED = "ips-test-shop/regcred"
IMAGE = TaskImage(name="reg.example/a:1", reference="reg.example/a:1")
KEY = PrivateKey(bytes(range(32)))


def component(folder: Path) -> list[Json]:
    """What a namespace applies that opts in."""
    own = folder / "opt-in"
    own.mkdir()
    wanted = {
        "namespace": "ips-test-shop",
        "components": [os.path.relpath(DEPLOY / "components/pull-secrets", own)],
    }
    (own / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    return built(own)


@pytest.fixture
async def shop(kube: Kube, namespace: None, tmp_path: Path) -> AsyncIterator[None]:
    """The service's roles, one namespace that opts in, and one that does not."""
    del namespace
    async with AsyncExitStack() as stack:
        for path in (SHOP, CLOSED):
            name = path.rpartition("/")[2]
            await kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            stack.push_async_callback(_remove, kube, path)
        for path, name in ((SHOP, "regcred"), (SHOP, "unnamed"), (CLOSED, "regcred")):
            content = secret()
            made = {"metadata": {"name": name}, "type": content["type"], "data": content["data"]}
            await kube.call("POST", f"{path}/secrets", made)
        await stack.enter_async_context(roles(kube, [*build("."), *build("roles")]))
        await stack.enter_async_context(roles(kube, component(tmp_path)))
        yield


async def _remove(kube: Kube, path: str) -> None:
    name = path.rpartition("/")[2]
    await kube.call("DELETE", f"{path}/secrets")
    await kube.call("DELETE", path)
    await kube.call("PUT", f"{path}/finalize", {"metadata": {"name": name}, "spec": {}})


async def let_get(kube: Kube, user: str, name: str) -> None:
    """Let somebody get one Secret of the shop."""
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]}
    role = {"metadata": {"name": user}, "rules": [rule]}
    await kube.call("POST", f"{RBAC}/namespaces/ips-test-shop/roles", role)
    subject = {"kind": "ServiceAccount", "name": user, "namespace": "ips-system"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}
    binding = {"metadata": {"name": user}, "roleRef": reference, "subjects": [subject]}
    await kube.call("POST", BINDINGS, binding)


class Reviewed:
    """Asks the API server each time, and remembers nothing."""

    def __init__(self, reviews: KubernetesReviews) -> None:
        self._reviews = reviews

    async def may_still(self, caller: Caller, right: Right) -> bool:
        """As the gatekeeper does."""
        return await self._reviews.may(caller, right)


def assign(caller: Caller, name: str = REGCRED) -> Assign:
    """Work of somebody's that names a Secret."""
    asker = Asker(user=caller.user, way=caller.way, groups=caller.groups)
    spec = TaskSpec(images=(IMAGE.name,), work=(IMAGE,), pull_secrets=(name,), asked_by=asker)
    key = AttemptKey("task-20260101-000000-00000001", "n1", 1)
    return Assign(key=key, instance="i1", images=(IMAGE,), spec=spec)


@pytest.mark.usefixtures("shop")
async def test_it_is_read_and_sealed_at_each_dispatch(
    kube: Kube, use_config: UseConfig, tmp_path: Path
) -> None:
    """By the coordinator's own ServiceAccount; the right and the Secret are as of then."""
    await token_of(kube, "ann", "ips-edit")
    await let_get(kube, "ann", "regcred")
    use_config(await account(kube, "ips-coordinator", tmp_path))
    reviews = KubernetesReviews(ApiServer.connected, "ips-system")
    ann = await reviews.identify(await token_of(kube, "ann"))
    credentials = TaskCredentials(
        CredentialTable(), Reviewed(reviews), KubernetesSecrets(ApiServer.connected)
    )
    public = base64.b64encode(bytes(KEY.public_key)).decode()
    agent = Heartbeat(agent_version="1", driver="cri", public_key=public)
    work = await credentials.seal(assign(ann), agent)
    [login] = open_logins(work.sealed, KEY).logins
    assert (login.registry, login.username, login.password) == ("reg.example", "ci", CANARY)
    again = await credentials.seal(assign(ann), agent)
    assert again.keys == work.keys
    other = {"auths": {"reg.example": {"username": "new", "password": "p"}}}
    data = secret(other["auths"])["data"]
    await kube.call("PATCH", f"{SHOP}/secrets/regcred", {"data": data})
    changed = await credentials.seal(assign(ann), agent)
    assert open_logins(changed.sealed, KEY).logins[0].username == "new"
    assert changed.keys != work.keys
    with pytest.raises(CannotBeGivenError) as refused:
        await credentials.seal(assign(ann, "ips-test-shop/unnamed"), agent)
    assert refused.value.text.code == "pullSecret.noRight"
    await kube.call("DELETE", f"{BINDINGS}/ann")
    with pytest.raises(CannotBeGivenError) as refused:
        await credentials.seal(assign(ann), agent)
    assert refused.value.text.params == {"user": ann.user, "name": REGCRED}


@pytest.mark.usefixtures("shop")
async def test_what_the_coordinator_may_get(
    kube: Kube, use_config: UseConfig, tmp_path: Path
) -> None:
    """The one Secret that the component names, in the one namespace that opted in."""
    use_config(await account(kube, "ips-coordinator", tmp_path))
    secrets = KubernetesSecrets(ApiServer.connected)
    assert (await secrets.read(REGCRED)).name == REGCRED
    for name, code in {
        "ips-test-shop/unnamed": "pullSecret.forbidden",
        "ips-test-closed/regcred": "pullSecret.forbidden",
        "ips-system/regcred": "pullSecret.forbidden",
    }.items():
        with pytest.raises(PullSecretError) as refused:
            await secrets.read(name)
        assert refused.value.text.code == code, name
    await kube.call("DELETE", f"{SHOP}/secrets/regcred")
    with pytest.raises(PullSecretError) as refused:
        await secrets.read(REGCRED)
    assert refused.value.text.code == "pullSecret.gone"


@pytest.mark.usefixtures("shop")
async def test_a_coordinator_admits_and_dispatches(
    kube: Kube, fleet: Fleet, tmp_path: Path
) -> None:
    """Whole programs: 403, 400 and 201 to whom they belong, and a task that reaches its agent."""
    config = await account(kube, "ips-coordinator", tmp_path)
    settings = {"IPS_AUTH": "kubernetes", "K8S_NAMESPACE": "ips-system", "KUBECONFIG": str(config)}
    coordinator = await fleet.add_coordinator({**settings, "IPS_LISTEN": "127.0.0.1"})
    await fleet.add_agents(1, FAST)
    reads, edits = await token_of(kube, "reads", "ips-edit"), await token_of(kube, "e", "ips-edit")
    await let_get(kube, "reads", "regcred")
    admin = await token_of(kube, "a", "ips-admin")
    expected = [
        (edits, REGCRED, 403),
        (edits, "ips-test-closed/regcred", 403),
        (admin, "ips-test-closed/regcred", 400),
        (reads, "ips-test-closed/regcred", 403),
        (admin, REGCRED, 201),
        (reads, REGCRED, 201),
    ]
    tasks = f"{coordinator.url}/api/v1/tasks"
    async with aiohttp.ClientSession() as http:
        for token, name, status in expected:
            headers = {"Authorization": f"Bearer {token}"}
            body = {"images": ["reg.example/a:1"], "pullSecrets": [name]}
            async with http.post(tasks, headers=headers, json=body) as made:
                text = await made.text()
                assert (made.status, CANARY in text) == (status, False), text
                task = await made.json()
        url = f"{tasks}/{task['taskId']}/events?live=true"
        async with http.get(url, headers=headers) as events:
            async for line in events.content:
                if line.startswith(b"event: task.completed"):
                    return
                assert not line.startswith(b"event: task.failed"), line
        raise AssertionError("the task did not end")
