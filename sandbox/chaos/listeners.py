"""Whoever is told: a client of events at each coordinator, and a receiver of webhooks."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

SILENT_SECONDS = 25.0
"""A stream on which nothing is said for so long is given up; comments come every few seconds."""
AGAIN_SECONDS = 0.3
FINAL = frozenset({"completed", "failed", "cancelled"})
LONGEST_LINE = 8 * 1024 * 1024


@dataclass(frozen=True)
class Told:
    """One event as a client got it."""

    position: int
    id: str
    type: str
    task: str


@dataclass
class EventClient:
    """Reads all events at one coordinator, at the next one while that is away, and resumes."""

    name: str
    urls: Sequence[str]
    """Its own first."""
    told: list[Told] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    """Tasks of whose end it was told."""
    resets: int = 0
    position: int | None = None

    async def run(self) -> None:
        """Read until cancelled."""
        turn = 0
        while True:
            with suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
                await self._read(self.urls[turn % len(self.urls)])
            turn += 1
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self, url: str) -> None:
        headers = {} if self.position is None else {"Last-Event-ID": str(self.position)}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=SILENT_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, read_bufsize=LONGEST_LINE) as http,
            http.get(f"{url}/api/v1/events", headers=headers) as answer,
        ):
            answer.raise_for_status()
            fields: dict[str, str] = {}
            async for raw in answer.content:
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                else:
                    self._frame(fields)
                    fields = {}

    def _frame(self, fields: Mapping[str, str]) -> None:
        if "id" in fields:
            self.position = int(fields["id"])
        if fields.get("event") == "reset":
            self.resets += 1
        elif "data" in fields and self.position is not None:
            event = json.loads(fields["data"])
            task = str(event["subject"]).partition("/")[0]
            self.told.append(Told(self.position, event["id"], event["type"], task))
            if event["type"].removeprefix("task.") in FINAL:
                self.ended.add(task)


class Receiver:
    """Takes webhooks, and keeps the id and the status of each delivery."""

    def __init__(self) -> None:
        self.deliveries: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        """By task."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/", self._take)
        self._runner = web.AppRunner(app)
        self.port = 0

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        said: dict[str, Any] = await request.json()
        task = said["task"]
        self.deliveries[task["taskId"]].append((request.headers["IPS-Delivery"], task["status"]))
        return web.Response(status=204)
