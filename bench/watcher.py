"""A program: the node source of the coordinator on the API server of ``KUBECONFIG``, and a clock.

``python -m bench.watcher COUNT LABEL``. It says "listed" when it knows the nodes, and when each of
COUNT nodes first had the label, as JSON, on the monotonic clock that all processes share; and how
many seconds of CPU it has used since it said so.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from coordinator.core.fleet import Node
from coordinator.nodes.watched import WatchedNodes


class Clock:
    """A node table that only remembers when it was told of a label."""

    def __init__(self, count: int, label: str) -> None:
        self._label = label
        self._missing = count
        self.seen_at: dict[str, float] = {}
        self.complete = asyncio.Event()
        self.listed_after = 0.0
        """Seconds of CPU that had been used when all nodes were known."""

    def seen(self, name: str, node: Node) -> None:
        """A node exists, and this is what it is like now."""
        if self._label in node.labels and name not in self.seen_at:
            self.seen_at[name] = time.monotonic()
            if len(self.seen_at) == self._missing:
                self.complete.set()

    def vanished(self, name: str) -> None:
        """A node has ceased to exist."""

    def listed(self) -> None:
        """Every node that exists has been named; what has the label already does not count."""
        self.seen_at.clear()
        self.listed_after = time.process_time()
        print("listed", flush=True)


async def main(count: int, label: str) -> None:
    """Watch until all have the label."""
    clock = Clock(count, label)
    watching = asyncio.create_task(WatchedNodes(clock).run())
    await clock.complete.wait()
    cpu = time.process_time() - clock.listed_after
    watching.cancel()
    await asyncio.wait([watching])
    print(json.dumps({"seen": clock.seen_at, "cpu": cpu}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
