"""The Secrets of NATS, as a coordinator keeps them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from common.text import Text
from coordinator.nats_secrets.store import NatsSecrets, SecretNames, SecretStore
from coordinator.nodes.api_server import ApiServer
from tests.fixtures.kubernetes import Json, Kube

ALL = SecretNames("ips-nats", "ips-nats-keys", "ips-nats-ca")
"""As the manifests name them."""
HOSTS = ("ips-nats", "*.ips-nats-peers", "127.0.0.1")


def store(
    names: SecretNames = ALL, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> SecretStore:
    """With the rights of whose kubeconfig is used now."""
    return SecretStore(names, "ips-system", ApiServer.connected, HOSTS, now)


async def kept(names: SecretNames = ALL, *, said: list[str] | None = None) -> NatsSecrets:
    """What a coordinator finds or makes; ``said``: what it waits for."""

    def say(text: Text) -> None:
        if said is not None:
            said.append(text.message)

    return await store(names).awaited(say)


async def data_of(kube: Kube, name: str) -> Json:
    """What a Secret holds, as the API server has it."""
    secret = await kube.call("GET", f"/api/v1/namespaces/ips-system/secrets/{name}")
    return dict(secret["data"])
