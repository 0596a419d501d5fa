"""As in a pod: the ServiceAccount's files where Kubernetes puts them, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.nats_secrets import store
from coordinator.nats_secrets.store import SecretNames
from tests.fixtures.fleet import Fleet
from tests.fixtures.kubernetes import Kube
from tests.fixtures.patience import PATIENCE
from tests.kubernetes.conftest import UseConfig
from tests.kubernetes.manifests import build
from tests.kubernetes.nats_secrets import kept
from tests.kubernetes.roles import account, roles, token

pytestmark = pytest.mark.kubernetes

MOUNT = (
    'mount -t tmpfs tmpfs /run && mkdir -p /run/secrets && ln -s "$0" /run/secrets/kubernetes.io'
)
"""In a mount namespace of its own: /run/secrets/kubernetes.io is the folder ``$0``."""


async def test_a_coordinator_takes_the_service_account_and_reads_a_new_token(
    kube: Kube, fleet: Fleet, namespace: None, tmp_path: Path
) -> None:
    """No kubeconfig is there; what the kubelet writes anew is used from the next connection on."""
    del namespace
    files = tmp_path / "secrets" / "serviceaccount"
    files.mkdir(parents=True)
    shutil.copy(kube.plane.access.authority, files / "ca.crt")
    await kube.create_node("node-1", {"zone": "a"})
    async with roles(kube, build(".")):
        (files / "token").write_text("of-yesterday")
        host, _, port = kube.plane.access.url.removeprefix("https://").partition(":")
        settings = {
            "IPS_NODE_SOURCE": "kubernetes",
            "IPS_NODE_SELECTOR": "*",
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "HOME": str(tmp_path),
        }
        coordinator = await fleet.add_coordinator(settings, ready=False, forked=False)
        await coordinator.kill()
        script = f'{MOUNT} && shift && exec "$@"'
        inside: list[str | Path] = ["unshare", "--mount", "sh", "-c", script, files.parent, "-"]
        coordinator._command = [*inside, *coordinator._command]
        coordinator.start()
        await coordinator.ready()
        task = await fleet.post(["nginx"], nodeSelector={"zone": "a"})
        await fleet.until(task, lambda seen: "401" in seen.get("message", ""))
        (files / "token").write_text(await token(kube, "ips-coordinator"))
        await fleet.add_agents(1)
        assert (await fleet.over(task))["status"] == "completed"


SECRET = "/api/v1/namespaces/ips-system/secrets/ips-nats"


async def token_as(kube: Kube, use: UseConfig, folder: Path, said: list[str]) -> str:
    """What a coordinator finds as the token, with the rights of its ServiceAccount."""
    use(await account(kube, "ips-coordinator", folder))
    return (await kept(SecretNames("ips-nats"), said=said)).token


async def test_the_token_of_nats_is_made_once(
    kube: Kube, namespace: None, use_config: UseConfig, tmp_path: Path
) -> None:
    """By the coordinator's ServiceAccount; where there is a Secret, it stays as it is."""
    del namespace
    said: list[str] = []
    async with roles(kube, build(".")):
        found = [await token_as(kube, use_config, tmp_path, said) for _ in range(2)]
        stored = (await kube.call("GET", SECRET))["data"]["token"]
    assert found[0] == found[1] == base64.b64decode(stored).decode()
    assert found[0][0] == "t"
    assert len(found[0]) == 49
    assert said == []


async def test_where_the_token_may_not_be_made_it_is_waited_for(
    kube: Kube,
    namespace: None,
    use_config: UseConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The probe is told which Secret, and who refused what; one without a token is no token."""
    del namespace
    monkeypatch.setattr(store, "AGAIN_SECONDS", 0.05)
    said: list[str] = []
    objects = build(".")
    [role] = [item for item in objects if item["kind"] == "Role"]
    role["rules"] = [rule for rule in role["rules"] if "get" in rule["verbs"]]
    async with roles(kube, objects):
        waiting = asyncio.create_task(token_as(kube, use_config, tmp_path, said))
        await _until(lambda: bool(said))
        assert "ips-system/ips-nats" in said[0]
        assert 'cannot create resource "secrets"' in said[0]
        empty = {"metadata": {"name": "ips-nats"}, "data": {"other": "eA=="}}
        await kube.call("POST", SECRET.rpartition("/")[0], empty)
        await _until(lambda: "it has no key 'token'" in said[-1])
        await kube.call("PATCH", SECRET, {"data": {"token": "bXktb3du"}})
        assert await asyncio.wait_for(waiting, PATIENCE) == "my-own"


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.02)
