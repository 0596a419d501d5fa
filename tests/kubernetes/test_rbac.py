"""The roles as they are shipped: enough for everything, and no verb too many."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from common.reasons import Reason
from coordinator.access.callers import (
    AuthorityAwayError,
    Caller,
    Permission,
    Resource,
    UnknownCredentialError,
    Verb,
)
from coordinator.access.kubernetes_reviews import KubernetesReviews
from coordinator.callout.service_accounts import AUDIENCE
from coordinator.nodes import failure_events
from coordinator.nodes.api_server import ApiServer, ApiServerError, NotFoundError
from coordinator.nodes.failure_events import FailureEvents
from coordinator.nodes.node_events import EVENTS
from coordinator.nodes.source import FailedPull
from coordinator.nodes.watched import NODES
from tests.fixtures.kubernetes import Json, Kube
from tests.kubernetes.conftest import UseConfig
from tests.kubernetes.manifests import OVERLAYS, build
from tests.kubernetes.nats_secrets import ALL
from tests.kubernetes.roles import account, roles

pytestmark = pytest.mark.kubernetes

VERBS = [
    ("ips-coordinator", "secrets", "create"),
    ("ips-coordinator", "secrets", "get"),
    ("ips-coordinator", "secrets", "patch"),
    ("ips-system", "events", "create"),
    ("ips-system", "nodes", "list"),
    ("ips-system", "nodes", "watch"),
    ("ips-system", "subjectaccessreviews", "create"),
    ("ips-system", "tokenreviews", "create"),
]
"""Every verb of every role: the role, the resource, the verb."""


def verbs(objects: list[Json]) -> Iterator[tuple[str, str, str]]:
    """The same, as the manifests have it."""
    for item in objects:
        for rule in item.get("rules", []):
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield item["metadata"]["name"], resource, verb


def without(objects: list[Json], role: str, resource: str, verb: str) -> list[Json]:
    """The same objects, with one verb of one role taken out."""
    changed = copy.deepcopy(objects)
    for item in changed:
        if item["metadata"]["name"] == role and "rules" in item:
            for rule in item["rules"]:
                if resource in rule["resources"] and verb in rule["verbs"]:
                    rule["verbs"].remove(verb)
            item["rules"] = [rule for rule in item["rules"] if rule["verbs"]]
    return changed


async def everything_works(kube: Kube, use: UseConfig, folder: Path) -> list[str]:
    """Do all that the programs ask of Kubernetes, as who they are; what was refused."""
    refused = []

    @asynccontextmanager
    async def attempt(what: str) -> AsyncIterator[None]:
        try:
            yield
        except (ApiServerError, TimeoutError):
            refused.append(what)

    use(await account(kube, "ips-coordinator", folder))
    async with ApiServer.connected() as api:
        async with attempt("list nodes"):
            await api.get(NODES, limit="1")
        async with attempt("watch nodes"), api.streamed(NODES, 5.0, watch="true") as lines:
            await anext(aiter(lines))
    async with attempt("create events"):
        await _tell_of_a_failed_pull(kube)
    reviews = KubernetesReviews(ApiServer.connected, "ips-system")
    try:
        await reviews.may(Caller(user="ann"), Permission(Verb.GET, Resource.TASKS))
    except AuthorityAwayError:
        refused.append("create subjectaccessreviews")
    try:
        with suppress(UnknownCredentialError):
            await reviews.identify("nobody's")
    except AuthorityAwayError:
        refused.append("create tokenreviews")
    secrets = "/api/v1/namespaces/ips-system/secrets"
    async with ApiServer.connected() as api:
        async with attempt("create secrets"):
            await api.post(secrets, {"metadata": {"name": "made-by-test"}})
            await kube.call("DELETE", f"{secrets}/made-by-test")
        for verb, ask in (("get", api.get), ("patch", lambda path: api.patch(path, {}))):
            for name in ALL:
                async with attempt(f"{verb} secrets"):
                    with suppress(NotFoundError):
                        await ask(f"{secrets}/{name}")
            with pytest.raises(ApiServerError, match="403"):
                await ask(f"{secrets}/ips-registry")
    return refused


async def _tell_of_a_failed_pull(kube: Kube) -> None:
    failed = FailedPull("task-1", "n1", "nginx", Reason.IMAGE_NOT_FOUND, "no such image")
    events = FailureEvents(lambda _: "some-uid")
    running = asyncio.create_task(events.run())
    events.pull_failed(failed)
    path = f"{EVENTS}/{failure_events.event_name(failed)}"
    try:
        async with asyncio.timeout(10):  # as long, too, where it never comes
            while True:
                try:
                    event = await kube.call("GET", path)
                except AssertionError:
                    await asyncio.sleep(0.05)
                else:
                    break
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert event["regarding"]["name"] == "n1"
    assert event["note"] == "Pulling nginx for task-1 failed: no such image"
    await kube.call("DELETE", path)


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_with_the_roles_as_shipped_everything_works(
    kube: Kube, use_config: UseConfig, tmp_path: Path, overlay: str
) -> None:
    """Nodes are listed and watched, a failed pull becomes an Event, a token a Secret."""
    await kube.create_node("n1")
    async with roles(kube, build(overlay)):
        assert await everything_works(kube, use_config, tmp_path) == []


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize(("role", "resource", "verb"), VERBS)
async def test_no_verb_is_without_use(
    kube: Kube, use_config: UseConfig, tmp_path: Path, role: str, resource: str, verb: str
) -> None:
    """Taken away, just what needs it does not work any more."""
    await kube.create_node("n1")
    async with roles(kube, without(build("."), role, resource, verb)):
        refused = await everything_works(kube, use_config, tmp_path)
    assert set(refused) == {f"{verb} {resource}"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_roles_hold_no_other_verb(overlay: str) -> None:
    """Each of them is taken away in the test above."""
    assert sorted(verbs(build(overlay))) == VERBS


async def test_the_agents_ask_nothing_of_kubernetes(kube: Kube) -> None:
    """No role names them, and the one token in their pods is none of the API server's."""
    del kube
    for item in build("."):
        names = {subject["name"] for subject in item.get("subjects", [])}
        assert "ips-agent" not in names
        if item["kind"] == "DaemonSet":
            spec = item["spec"]["template"]["spec"]
            assert spec["automountServiceAccountToken"] is False
            sources = [
                s for v in spec["volumes"] for s in v.get("projected", {}).get("sources", [])
            ]
            [token] = [s["serviceAccountToken"] for s in sources if "serviceAccountToken" in s]
            assert token["audience"] == AUDIENCE
