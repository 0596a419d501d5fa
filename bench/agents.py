"""A program: simulated agents for the nodes that are named, whose pulls take no time.

``python -m bench.agents NAME…``, in a network from which the bus can be reached that
``IPS_NATS_URL`` and ``IPS_NATS_TOKEN`` name. It runs until it is ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from bench.nodes import connected, simulated_nodes


async def main(names: Sequence[str]) -> None:
    """Speak for nodes until somebody ends it."""
    settings = {key: os.environ[key] for key in ("IPS_NATS_URL", "IPS_NATS_TOKEN")}
    async with connected(settings) as bus, simulated_nodes(bus, settings, names, seconds=0.0):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
