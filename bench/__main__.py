"""``make bench``: all figures, one after the other; name some to have only those."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from bench import callout, client, fleet, jobs, latency, limits, memory, pulls, virtual, watch

BENCHES: dict[str, Callable[[], Awaitable[None]]] = {
    "pulls": pulls.run,
    "fleet": fleet.run,
    "latency": latency.run,
    "memory": memory.run,
    "limits": limits.run,
    "client": client.run,
    "watch": watch.run,
    "jobs": jobs.run,
    "virtual": virtual.run,
    "callout": callout.run,
}


async def main(names: list[str]) -> None:
    """Run the named benches, or all."""
    for name in names or BENCHES:
        await BENCHES[name]()


asyncio.run(main(sys.argv[1:]))
