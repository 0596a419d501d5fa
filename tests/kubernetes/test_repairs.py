"""Applied again, by whatever tool and after whatever mistake: nothing is refused, nothing moves."""

from __future__ import annotations

import base64
import os.path
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from sandbox.kubernetes.parts import find
from tests.fixtures.kubernetes import Json, Kube
from tests.kubernetes.conftest import GROUPS, NAMESPACE, UseConfig
from tests.kubernetes.manifests import DEPLOY, build
from tests.kubernetes.nats_secrets import kept

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]

PART_OF = "app.kubernetes.io/part-of=image-prewarm-service"
FORCED = ("--server-side", "--force-conflicts")


@pytest.fixture
async def installed(kube: Kube, no_namespace: None, use_config: UseConfig) -> AsyncIterator[Kube]:
    """``deploy/`` is applied, and the coordinator has made its Secrets."""
    del no_namespace
    kube.kubectl("apply", "-k", DEPLOY / "namespace")
    kube.kubectl("apply", "-k", DEPLOY)
    use_config(kube.config)
    await kept()
    yield kube
    kube.kubectl("delete", "-k", DEPLOY, "--wait=false")


async def versions(kube: Kube) -> dict[str, str]:
    """The version of every object in the namespace, and of those that are in none."""
    found: dict[str, str] = {}
    cluster_wide = [
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "/apis/scheduling.k8s.io/v1/priorityclasses",
    ]
    namespaced = [
        f"{group}/namespaces/{NAMESPACE}/{kind['name']}"
        for group in GROUPS
        for kind in (await kube.call("GET", group))["resources"]
        if kind["namespaced"] and "list" in kind["verbs"] and kind["name"] != "endpoints"
    ]
    for path in [*cluster_wide, *namespaced]:
        for item in (await kube.call("GET", path))["items"]:
            found[f"{path}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
    return found


async def test_what_is_applied_again_is_left_as_it_is(installed: Kube) -> None:
    """The second apply changes no object, and a diff is empty before and after it."""
    before = await versions(installed)
    assert len(before) > len(build("."))
    for _ in range(2):
        assert installed.kubectl("diff", "-k", DEPLOY) == ""
        installed.kubectl("apply", "-k", DEPLOY)
    assert await versions(installed) == before


async def test_a_prune_takes_nothing_that_is_needed(installed: Kube) -> None:
    """Not the Secret, which nobody applied; and it takes what is of the service no more."""
    stale: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "old", "namespace": NAMESPACE, "labels": dict([PART_OF.split("=")])},
    }
    before = await versions(installed)
    file = installed.plane.folder / "stale.yaml"
    file.write_text(yaml.safe_dump(stale))
    installed.kubectl("apply", "-f", file)
    pruned = _prune(installed, DEPLOY, PART_OF)
    assert [line for line in pruned.splitlines() if "pruned" in line] == ["configmap/old pruned"]
    assert await versions(installed) == before


async def test_a_server_side_apply_may_follow_a_client_side_one(installed: Kube) -> None:
    """Nothing conflicts, and both ways of looking find no difference afterwards."""
    installed.kubectl("apply", "-k", DEPLOY, "--server-side")
    assert installed.kubectl("diff", "-k", DEPLOY, "--server-side") == ""
    before = await versions(installed)
    installed.kubectl("apply", "-k", DEPLOY, "--server-side")
    assert await versions(installed) == before


async def test_a_loop_like_argo_cds_comes_to_rest(installed: Kube, tmp_path: Path) -> None:
    """It labels and annotates what it tracks, applies, prunes what it tracked, and compares."""
    tracked = {
        **_on(DEPLOY, tmp_path),
        "labels": [{"pairs": {"app.kubernetes.io/instance": "prewarm"}}],
        "commonAnnotations": {"argocd.argoproj.io/tracking-id": "prewarm"},
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(tracked))
    instance = "app.kubernetes.io/instance=prewarm"
    _prune(installed, tmp_path, instance)
    before = await versions(installed)
    for _ in range(3):
        assert installed.kubectl("diff", "-k", tmp_path) == ""
        _prune(installed, tmp_path, instance)
    assert await versions(installed) == before


async def test_a_loop_like_fluxs_comes_to_rest(installed: Kube) -> None:
    """It applies on the server's side, as an owner of its own, whoever owned the fields before."""
    owner = "--field-manager=kustomize-controller"
    installed.kubectl("apply", "-k", DEPLOY, *FORCED, owner)
    before = await versions(installed)
    for _ in range(3):
        assert installed.kubectl("diff", "-k", DEPLOY, *FORCED, owner) == ""
        installed.kubectl("apply", "-k", DEPLOY, *FORCED, owner)
    assert await versions(installed) == before


async def test_a_wrong_image_is_repaired_by_an_apply(installed: Kube, tmp_path: Path) -> None:
    """Of every workload: none holds a field that cannot be changed."""
    wrong = [{"name": f"ips-{name}", "newTag": "no-such"} for name in ("coordinator", "agent")]
    broken = {**_on(DEPLOY, tmp_path), "images": wrong}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(broken))
    installed.kubectl("apply", "-k", tmp_path)
    installed.kubectl("apply", "-k", DEPLOY)
    assert installed.kubectl("diff", "-k", DEPLOY) == ""
    token = await installed.call("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/ips-nats")
    assert base64.b64decode(token["data"]["token"]).startswith(b"t")


def _prune(kube: Kube, folder: Path, selector: str) -> str:
    """Apply, and delete what was applied with a label before; what kubectl says.

    It warns each time of what a later release will do, and that it looks at Endpoints.
    """
    where = f"--kubeconfig={kube.config}"
    what = ["apply", "-k", str(folder), "--prune", f"--selector={selector}"]
    done = subprocess.run(
        [find("kubectl"), where, *what], check=True, capture_output=True, text=True
    )
    return done.stdout


def _on(folder: Path, here: Path) -> Json:
    """The beginning of a kustomization in ``here`` on top of a folder."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(folder, here)],
    }
