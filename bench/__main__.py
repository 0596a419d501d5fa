"""``make bench``: all figures, one after the other; name some to have only those."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from bench import (
    callout,
    client,
    fleet,
    gets,
    jobs,
    latency,
    limits,
    memory,
    pulls,
    soak,
    store,
    virtual,
    watch,
)
from bench.options import Options

BENCHES: dict[str, Callable[[], Awaitable[None]]] = {
    "pulls": pulls.run,
    "latency": latency.run,
    "memory": memory.run,
    "limits": limits.run,
    "client": client.run,
    "watch": watch.run,
    "jobs": jobs.run,
    "virtual": virtual.run,
}
WRITTEN: dict[str, Callable[[Options], Awaitable[None]]] = {
    "fleet": fleet.run,
    "callout": callout.run,
    "gets": gets.run,
    "store": store.run,
    "soak": soak.run,
}
"""Those that docs/benchmarks.md has a section of."""


async def main(options: Options) -> None:
    """Run the named benches, or all."""
    for name in options.names or (*BENCHES, *WRITTEN):
        if name in WRITTEN:
            await WRITTEN[name](options)
        else:
            await BENCHES[name]()


asyncio.run(main(Options.parse(sys.argv[1:])))
