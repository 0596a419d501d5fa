"""A client that asks again and again, and how long it was not served: measured, and not judged."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from tests.e2e.installation import Installation

_READ_SECONDS: Final = 1.0
_WRITE_SECONDS: Final = 3.0
"""After which a client gives a request up, and sends it again."""
_REACH: Final = aiohttp.ClientTimeout(sock_connect=0.5)
"""After which a client takes an address for gone: behind the service's address some pods may be."""
_PAUSE_SECONDS: Final = 0.1
_BETWEEN_WRITES: Final = 0.5


class Served:
    """What the client saw. ``gaps``: the longest time without a success, of reads and of writes."""

    def __init__(self, service: Installation, http: aiohttp.ClientSession, body: object) -> None:
        self.gaps = {"reads": 0.0, "writes": 0.0}
        self.tasks: list[str] = []
        """What was created."""
        self._service = service
        self._http = http
        self._body = body

    async def reads(self) -> None:
        """Read a list, for ever."""
        await self._again("reads", self._read, _PAUSE_SECONDS)

    async def writes(self) -> None:
        """Create tasks, for ever; each with a key of its own, so that it is made once."""
        await self._again("writes", self._write, _BETWEEN_WRITES)

    async def _again(self, kind: str, once: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            began = time.monotonic()
            await once()
            self.gaps[kind] = max(self.gaps[kind], time.monotonic() - began)
            await asyncio.sleep(pause)

    async def _read(self) -> None:
        url = f"{self._service.api}/tasks?limit=1"
        while True:
            try:
                async with asyncio.timeout(_READ_SECONDS):
                    async with self._http.get(url, timeout=_REACH) as answer:
                        answer.raise_for_status()
                        await answer.read()
                        return
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _write(self) -> None:
        key = {"Idempotency-Key": secrets.token_hex(8)}
        wanted: dict[str, Any] = {"json": self._body, "headers": key, "timeout": _REACH}
        while True:
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    url = f"{self._service.api}/tasks"
                    async with self._http.post(url, **wanted) as answer:
                        answer.raise_for_status()
                        self.tasks.append((await answer.json())["taskId"])
                        return
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def being_served(
    service: Installation, node: str, record: Callable[[str, object], None]
) -> AsyncIterator[Served]:
    """Ask from a node for as long as the block lasts; every task that was created is then done.

    ``record`` is told the gaps.
    """
    image = service.add_image()
    await service.ended_right(await service.post_when_taken([image], nodeNames=[node]), [node])
    async with service.session(node) as http:
        served = Served(service, http, {"images": [image], "nodeNames": [node]})
        asking = [asyncio.create_task(each()) for each in (served.reads, served.writes)]
        try:
            yield served
            for task in asking:
                assert not task.done(), task
        finally:
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)
    for kind, seconds in served.gaps.items():
        record(f"{kind} away for at most", f"{seconds:.2f} s")
    record("tasks created meanwhile", len(served.tasks))
    for task_id in served.tasks:
        assert (await service.over(task_id))["status"] == "completed"
