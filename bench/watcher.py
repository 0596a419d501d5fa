"""A program: a watch on the nodes of the API server of ``KUBECONFIG``, and a clock.

``python -m bench.watcher table|wire COUNT LABEL``: the coordinator's node source with its table, or
somebody who only looks for the label in the bytes. It says "listed" when it is there, and when each
of COUNT nodes first had the label, as JSON, on the monotonic clock that all processes share.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

from coordinator.core.fleet import Node
from coordinator.nodes.api_server import ApiServer
from coordinator.nodes.watched import NODES, WatchedNodes


class Clock:
    """A node table that only remembers when it was told of a label."""

    def __init__(self, count: int, label: str) -> None:
        self._label = label
        self._missing = count
        self.seen_at: dict[str, float] = {}
        self.complete = asyncio.Event()

    def seen(self, name: str, node: Node) -> None:
        """A node exists, and this is what it is like now."""
        if self._label in node.labels and name not in self.seen_at:
            self.seen_at[name] = time.monotonic()
            if len(self.seen_at) == self._missing:
                self.complete.set()

    def vanished(self, name: str) -> None:
        """A node has ceased to exist."""

    def listed(self) -> None:
        """Every node that exists has been named."""
        print("listed", flush=True)


async def table(count: int, label: str) -> dict[str, float]:
    """Watch by the node source until all have the label."""
    clock = Clock(count, label)
    watching = asyncio.create_task(WatchedNodes(clock).run())
    await clock.complete.wait()
    watching.cancel()
    await asyncio.wait([watching])
    return clock.seen_at


async def wire(count: int, label: str) -> dict[str, float]:
    """Watch the bytes until all have the label."""
    seen_at: dict[str, float] = {}
    mark, name = f'"{label}":'.encode(), re.compile(rb'"name":"([^"]+)"')
    async with ApiServer.connected() as api:
        version = json.loads(await api.get(NODES, limit="1"))["metadata"]["resourceVersion"]
        async with api.streamed(NODES, 60.0, watch="true", resourceVersion=version) as lines:
            print("listed", flush=True)
            async for line in lines:
                found = name.search(line)
                if mark in line and found is not None:
                    seen_at.setdefault(found[1].decode(), time.monotonic())
                    if len(seen_at) == count:
                        break
    return seen_at


if __name__ == "__main__":
    _, by, how_many, which = sys.argv
    print(json.dumps(asyncio.run({"table": table, "wire": wire}[by](int(how_many), which))))
