"""A cluster of one coordinator that has credentials, and one node, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from common.text import Text
from common.texts import ACCESS_AUTHORITY_AWAY
from coordinator.access.callers import AuthorityAwayError, Caller, Right
from coordinator.core.task import TaskSpec
from coordinator.credentials.pull_secret import PullSecret, PullSecretError
from coordinator.credentials.records import RegistryLogin
from coordinator.credentials.table import CredentialTable
from coordinator.engine.task_credentials import TaskCredentials
from sandbox.simulator.cluster import Cluster, Coordinator

CANARY = "canary-77aa"
AWAY = ACCESS_AUTHORITY_AWAY(authority="Kubernetes", why="timed out")
LOGIN = RegistryLogin(name="shop", registry="docker.io", username="ci", password=CANARY)


class Rights:
    """Says what the test wants."""

    def __init__(self) -> None:
        self.asked: list[Caller] = []
        self.wanted: list[Right] = []
        self.allowed: bool | None = True
        """None: nobody answers."""
        self.refused: set[Right] = set()

    async def may_still(self, caller: Caller, right: Right) -> bool:
        """Answer."""
        self.asked.append(caller)
        self.wanted.append(right)
        if self.allowed is None:
            raise AuthorityAwayError(AWAY)
        return self.allowed and right not in self.refused


class Secrets:
    """Those that the API server would show."""

    def __init__(self) -> None:
        self.known: dict[str, PullSecret | Text] = {}
        """Or why one cannot be used."""

    async def read(self, name: str) -> PullSecret:
        """One of them."""
        found = self.known[name]
        if isinstance(found, Text):
            raise PullSecretError(found)
        return found


class Shop:
    """What it is made of."""

    def __init__(self, cluster: Cluster, coordinator: Coordinator) -> None:
        self.cluster = cluster
        self.coordinator = coordinator
        self.rights = Rights()
        self.table = CredentialTable(lambda: [bytes(32)])
        self.secrets = Secrets()

    @classmethod
    async def open(cls, cluster: Cluster, *, kubernetes: bool = True) -> Shop:
        """Start it; without Kubernetes there are no Secrets."""
        coordinator = await cluster.coordinator("c1")
        shop = cls(cluster, coordinator)
        coordinator._context_of_replicas = replace(
            coordinator._context_of_replicas,
            task_credentials=TaskCredentials(
                shop.table, shop.rights, shop.secrets if kubernetes else None
            ),
        )
        coordinator._begin(shop.table.run(coordinator._context_of_replicas.bus))
        await cluster.until(lambda: coordinator.leads and shop.table._is_loaded)
        await shop.table.put(LOGIN, None)
        await cluster.node("n1")
        await asyncio.sleep(1.0)
        return shop

    async def run(self, wanted: TaskSpec) -> Any:
        """A task to its end: its head, and how its node ended."""
        task = await self.cluster.create(self.coordinator, wanted)
        head = await self.cluster.over(self.coordinator, task)
        shot = await self.coordinator.service.tasks.snapshot_with_nodes(task)
        assert shot.run is not None
        return head, shot.run.by_name["n1"]
