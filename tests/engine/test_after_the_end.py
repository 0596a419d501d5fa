"""What is done with tasks that are over: readings that are shared, receivers on real sockets."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from coordinator.access import receivers as access
from coordinator.engine.finished_folds import FinishedFolds
from coordinator.engine.webhooks import AT_ONCE, Webhooks, new_http_session
from coordinator.snapshots import Snapshot
from coordinator.store import Store
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.stored import bus_in_memory, failed, stored
from tests.fixtures.nats import eventually


@virtual
async def test_all_who_ask_at_once_share_one_reading() -> None:
    """When a large task has failed, every page that is open on it asks at the same moment."""

    class Counting(Store):
        readings = 0

        async def load_list(self, task: str, name: str) -> list[str]:
            self.readings += 1
            return await super().load_list(task, name)

    async with bus_in_memory() as bus:
        store = Counting(bus)
        head = (await stored(store, failed())).head
        folds = FinishedFolds(store)
        runs = await asyncio.gather(*(folds.of(head) for _ in range(50)))
        assert {id(run) for run in runs} == {id(runs[0])}
        assert list(runs[0].by_name) == ["n1"]
        assert store.readings == 1


# ── webhooks ──


LOOPBACK = access.Receivers(loopback=True)


class Receivers:
    """Hosts 127.0.0.1 to .250 on one port: ``/dead`` never answers, ``/`` does, with a cookie."""

    def __init__(self) -> None:
        self.waiting = 0
        self.cookies: list[str] = []
        self.port = 0

    async def dead(self, _: web.Request) -> web.Response:
        """Take the request and say nothing."""
        self.waiting += 1
        await asyncio.sleep(3600)
        return web.Response()

    async def ready(self, request: web.Request) -> web.Response:
        """Answer, and remember the cookies that came."""
        self.cookies += list(request.cookies)
        return web.Response(headers={"Set-Cookie": "sid=secret; Path=/"})

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen on all of loopback."""
        app = web.Application()
        app.router.add_post("/dead", self.dead)
        app.router.add_post("/", self.ready)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 0).start()  # noqa: S104 - every address of loopback
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    def url(self, host: int, path: str = "/") -> str:
        """Where the receiver with this number is."""
        return f"http://127.0.0.{host}:{self.port}{path}"


async def test_however_many_receivers_are_dead_another_one_is_told() -> None:
    """More requests hang than a session usually has connections; no receiver sees a cookie."""
    receivers, hosts = Receivers(), 15
    async with receivers.listening(), new_http_session(LOOPBACK) as http:
        webhooks = Webhooks(http, time.time, random.Random(1), receivers=LOOPBACK)
        dead = [
            asyncio.create_task(_deliver(webhooks, number, receivers.url(host, "/dead")))
            for number, host in enumerate(list(range(1, hosts + 1)) * AT_ONCE)
        ]
        await eventually(lambda: receivers.waiting == hosts * AT_ONCE)
        for number in (1_000, 1_001):
            # By name: cookies of bare addresses are kept by no one.
            await _deliver(webhooks, number, f"http://localhost:{receivers.port}/")
        assert receivers.cookies == []
        assert not any(delivery.done() for delivery in dead)
        for delivery in dead:
            delivery.cancel()
        await asyncio.gather(*dead, return_exceptions=True)


def _numbered(number: int) -> str:
    return f"task-20260101-000000-{number:08x}"


async def _deliver(webhooks: Webhooks, number: int, url: str) -> Any:
    now = int(time.time() * 1000)
    over = replace(failed(_numbered(number)), spec=spec(webhook_url=url), finished_at=now)

    async def look() -> Snapshot:
        return Snapshot(over, now)

    await webhooks.deliver(over, look)
