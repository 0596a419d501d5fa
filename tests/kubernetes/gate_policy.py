"""The gate's roles and policy on a real API server, as kubectl builds and applies them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from coordinator.nodes.api_server import ApiServer, ApiServerError, PatchKind
from tests.fixtures.kubernetes import Json, Kube
from tests.fixtures.patience import PATIENCE
from tests.kubernetes.roles import roles
from tests.kubernetes.test_components import with_component
from tests.kubernetes.test_two_installations import built

POLICIES = "/apis/admissionregistration.k8s.io/v1"
PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
NODE = "/api/v1/nodes/fenced"
UNFENCED = "example.com/unfenced"


@asynccontextmanager
async def fenced(kube: Kube, folder: Path) -> AsyncIterator[list[Json]]:
    """Roles and policy of ``deploy/`` with the component, once they hold."""
    objects = built(with_component(folder, "gate"))
    made: list[str] = []
    async with roles(kube, objects):
        try:
            for item in objects:
                if item["kind"] in PLURALS:
                    path = f"{POLICIES}/{PLURALS[item['kind']]}"
                    await kube.call("POST", path, item)
                    made.append(f"{path}/{item['metadata']['name']}")
            yield objects
        finally:
            for path in made:
                await kube.call("DELETE", path)


async def until_fenced(api: ApiServer) -> None:
    """The API server learns of a policy by a watch of its own: what it refuses tells when.

    Each try says something else: one that changes nothing is allowed.
    """
    async with asyncio.timeout(PATIENCE):
        for number in itertools.count():
            try:
                await api.patch(NODE, {"metadata": {"annotations": {UNFENCED: str(number)}}})
            except ApiServerError:
                return
            await asyncio.sleep(0.1)


async def patched(api: ApiServer, path: str, body: Any, kind: PatchKind) -> str:
    """What the API server says to a patch; empty where it does it."""
    try:
        await api.patch(path, body, kind)
    except ApiServerError as why:
        return str(why)
    return ""
