"""A program that labels nodes at an even pace: ``URL CA TOKEN PER_SECOND NAME…``.

Apart from what it is measured against, which has an event loop and an interpreter of its own. It
prints when each request was answered, as JSON, on the monotonic clock that all processes share.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Sequence

import aiohttp

PATCH = {"metadata": {"labels": {"changed": "yes"}}}
HEADERS = {"Content-Type": "application/merge-patch+json"}


async def main(url: str, authority: str, token: str, pace: int, names: Sequence[str]) -> None:
    """Change every node once."""
    answered: dict[str, float] = {}

    async def change(name: str, when: float) -> None:
        await asyncio.sleep(when - time.monotonic())
        path = f"{url}/api/v1/nodes/{name}"
        async with http.patch(path, json=PATCH, headers=HEADERS) as answer:
            answer.raise_for_status()
            answered[name] = time.monotonic()

    context = ssl.create_default_context(cafile=authority)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=32), headers=headers
    ) as http:
        began = time.monotonic()
        await asyncio.gather(*(change(name, began + n / pace) for n, name in enumerate(names)))
    print(json.dumps(answered))


if __name__ == "__main__":
    server, trusted, bearer, per_second, *nodes = sys.argv[1:]
    asyncio.run(main(server, trusted, bearer, int(per_second), nodes))
