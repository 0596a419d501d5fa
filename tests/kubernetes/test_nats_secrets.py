"""The Secrets of NATS on a real API server, with the rights of the coordinator's ServiceAccount."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.nats_secrets.contents import encoded
from coordinator.nats_secrets.store import SecretNames
from tests.fixtures.kubernetes import Json, Kube
from tests.kubernetes.conftest import NAMESPACE, UseConfig
from tests.kubernetes.manifests import build, pod_specs
from tests.kubernetes.nats_secrets import ALL, data_of, kept, store
from tests.kubernetes.roles import account, roles

pytestmark = pytest.mark.kubernetes

ACCOUNTS = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"


@pytest.fixture
async def coordinator(
    kube: Kube, namespace: None, use_config: UseConfig, tmp_path: Path
) -> AsyncIterator[Kube]:
    """Its rights as shipped, and the Secrets as an apply leaves them: empty, or not there."""
    del namespace
    objects = build(".")
    async with roles(kube, objects):
        for item in objects:
            if item["kind"] == "Secret":
                await kube.call("POST", SECRETS, item)
        use_config(await account(kube, "ips-coordinator", tmp_path))
        yield kube


async def versions(kube: Kube) -> list[Json]:
    """Of each Secret, what changes when it changes."""
    found = [await kube.call("GET", f"{SECRETS}/{name}") for name in ALL if name]
    return [item["metadata"]["resourceVersion"] for item in found]


async def test_ten_coordinators_at_once_make_one_of_each(coordinator: Kube) -> None:
    """Whoever comes second takes what is there; afterwards nothing is written any more."""
    found = await asyncio.gather(*(kept() for _ in range(10)))
    assert len(set(found)) == 1
    made = {name: sorted(await data_of(coordinator, name)) for name in ALL if name}
    assert made == {
        "ips-nats": ["ca.crt", "issuer", "route", "tls.crt", "tls.key", "token"],
        "ips-nats-keys": ["ca.crt", "ca.key", "callout-key"],
        "ips-nats-ca": ["ca.crt"],
    }
    before = await versions(coordinator)
    assert await kept() == found[0]
    assert await versions(coordinator) == before


async def test_the_secret_of_the_version_before_keeps_its_token(coordinator: Kube) -> None:
    """And whatever else somebody has put there."""
    data = encoded({"token": "of-before", "note": "mine"})
    await coordinator.call("POST", SECRETS, {"metadata": {"name": "ips-nats"}, "data": data})
    assert (await kept()).token == "of-before"
    held = await data_of(coordinator, "ips-nats")
    assert {key: held[key] for key in data} == data
    assert held["route"] != data["token"]


async def test_a_certificate_that_ends_is_renewed_and_what_others_hold_stays(
    coordinator: Kube,
) -> None:
    """By a look that coordinators have every hour; agents need nothing new for it."""
    before = await kept()
    agents = await data_of(coordinator, "ips-nats-ca")
    later = datetime.now(UTC) + timedelta(days=61)
    renewed = await store(now=lambda: later).looked_at()
    assert renewed is not None
    assert renewed.certificate != before.certificate
    assert renewed._replace(certificate=before.certificate) == before
    assert await data_of(coordinator, "ips-nats-ca") == agents


async def test_what_cannot_be_read_now_is_looked_at_again_later(
    coordinator: Kube, use_config: UseConfig, tmp_path: Path
) -> None:
    """A renewal is due for a month: a refusal ends nothing."""
    await kept()
    access = coordinator.plane.access
    use_config(access.kubeconfig(tmp_path / "nobody", {"token": "nobody's"}))
    assert await store().looked_at() is None
    assert await store(SecretNames("ips-nats")).looked_at() is None


@pytest.mark.parametrize("overlay", [".", "overlays/single"])
async def test_coordinator_and_nats_pass_the_restricted_level(
    kube: Kube, no_namespace: None, overlay: str
) -> None:
    """As Pod Security of a real API server has it; the agent alone mounts folders of its node."""
    del no_namespace
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata: Json = {"name": NAMESPACE, "labels": enforce}
    await kube.call("POST", "/api/v1/namespaces", {"metadata": metadata})
    await kube.call("POST", ACCOUNTS, {"metadata": {"name": "default"}})
    for name, spec in pod_specs(build(overlay)).items():
        if name.startswith("DaemonSet"):
            continue
        for each in ("serviceAccountName", "priorityClassName"):  # of objects that are not there
            spec.pop(each, None)
        claims = [{"name": "data", "emptyDir": {}}] if name.startswith("StatefulSet") else []
        spec["volumes"] = [*spec["volumes"], *claims]
        pod = {"metadata": {"name": "a"}, "spec": {**spec, "automountServiceAccountToken": False}}
        await kube.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", pod, dryRun="All")
