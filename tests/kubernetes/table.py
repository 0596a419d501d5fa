"""What a node source has told so far, and how that differs from what the API server has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from coordinator.core.fleet import Node
from tests.fixtures.patience import PATIENCE

if TYPE_CHECKING:
    from tests.fixtures.kubernetes import Kube


class Table:
    """A sink that remembers, and wakes whoever waits for a condition."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.told: list[tuple[str, str]] = []
        """Every word, in order: what happened, and to which node."""
        self.seen_at: dict[str, float] = {}
        """When a node was last told of, on the monotonic clock."""
        self.is_listed = False
        self._changed = asyncio.Event()

    def seen(self, name: str, node: Node) -> None:
        """A node exists, and this is what it is like now."""
        self.nodes[name] = node
        self.seen_at[name] = time.monotonic()
        self._note("seen", name)

    def vanished(self, name: str) -> None:
        """A node has ceased to exist."""
        del self.nodes[name]
        self._note("vanished", name)

    def listed(self) -> None:
        """Every node that exists has been named."""
        self.is_listed = True
        self._note("listed", "")

    def _note(self, what: str, name: str) -> None:
        self.told.append((what, name))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at after each word."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def differences(table: Table, kube: Kube) -> list[str]:
    """What the table has wrong, one line for each node; empty if it equals the API server's."""
    real = {}
    for item in await kube.nodes():
        conditions = item["status"].get("conditions", [])
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        takes_work = ready and not item["spec"].get("unschedulable", False)
        real[item["metadata"]["name"]] = (item["metadata"].get("labels", {}), takes_work)
    told = {name: (node.labels, node.schedulable) for name, node in table.nodes.items()}
    return [
        f"{name}: {told.get(name)} instead of {real.get(name)}"
        for name in sorted(told.keys() | real.keys())
        if told.get(name) != real.get(name)
    ]


async def equal(table: Table, kube: Kube) -> None:
    """Wait until nothing differs while nobody changes anything."""
    wrong: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while wrong := await differences(table, kube):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError("\n".join(wrong[:20])) from None
