"""As in a pod: the ServiceAccount's files where Kubernetes puts them, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import shutil
from pathlib import Path

import pytest

from sandbox.programs import Program
from tests.fixtures.fleet import Fleet
from tests.fixtures.kubernetes import Kube
from tests.fixtures.patience import PATIENCE
from tests.kubernetes.manifests import build
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
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "HOME": str(tmp_path),
        }
        coordinator = await fleet.add_coordinator(settings, ready=False)
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


async def test_the_token_of_nats_is_made_once(kube: Kube, namespace: None, tmp_path: Path) -> None:
    """By the Job's ServiceAccount; where there is a Secret, it stays as it is."""
    del namespace
    secret = "/api/v1/namespaces/ips-system/secrets/ips-nats"
    async with roles(kube, build(".")):
        config = await account(kube, "ips-nats-token", tmp_path)
        settings = {"K8S_NAMESPACE": "ips-system", "KUBECONFIG": str(config)}
        job = Program("coordinator.nats_secret", "job", tmp_path, settings)
        found = []
        for _ in range(2):
            job.start()
            await asyncio.wait_for(job.exited(), PATIENCE)
            assert job.exit_code == 0, job.log
            found.append((await kube.call("GET", secret))["data"]["token"])
    assert found[0] == found[1]
    made = base64.b64decode(found[0]).decode()
    assert made[0] == "t"
    assert len(made) == 49
    assert made not in job.log
