"""What is done with tasks that are over, on a real store."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from common.bus import Bus, StoreUnavailable
from common.messages import Outcome
from common.subjects import AttemptKey
from coordinator.core.commands import StartTask
from coordinator.core.task import TaskCounts, TaskHead, TaskStatus
from coordinator.engine.finished_folds import FinishedFolds
from coordinator.engine.heads import Heads
from coordinator.engine.janitor import Janitor
from coordinator.engine.persistence import Persistently
from coordinator.engine.transitions import Transitions
from coordinator.engine.webhooks import AT_ONCE, Webhooks, new_http_session
from coordinator.snapshots import Snapshot
from coordinator.store import KEY_UNUSED_SECONDS, KeyRecord, Store, StoredHead
from tests.core.stage import head as pending
from tests.core.stage import spec
from tests.fixtures.nats import NatsServer, eventually

pytestmark = pytest.mark.nats

TASK = "task-20260101-000000-00000001"
OTHER = "task-20260101-000000-00000002"


def failed(task: str) -> TaskHead:
    """A task that ended long ago, one of its nodes failed."""
    counts = TaskCounts(total=1, failed=1, failed_details=1)
    return replace(
        pending(task, status=TaskStatus.FAILED),
        started_at=0,
        finished_at=1,
        nodes=1,
        counts=counts,
        results_seq=10,
        node_list="nodes",
    )


class Table(Heads):
    """The table of tasks, as far as these modules need it."""

    def stored(self, task_id: str) -> StoredHead | None:
        """The newest known head with its revision."""
        kept = self.get(task_id)
        return None if kept is None else kept.stored

    def head(self, task_id: str) -> TaskHead | None:
        """The newest known head."""
        stored = self.get(task_id)
        return None if stored is None else stored.head

    def learn(self, stored: StoredHead, **_: object) -> None:
        """Take a head in."""
        self.apply(stored)

    def forget(self, task: str) -> None:
        """A head was deleted."""
        self.remove(task)


async def stored(store: Store, head: TaskHead) -> StoredHead:
    """A head in the store, with its list and one outcome."""
    await store.save_list(head.id, "nodes", ["n1"])
    await store.store_outcome(AttemptKey(head.id, "n1", 1), Outcome())
    return await store.create_head(head)


async def test_all_who_ask_at_once_share_one_reading(bus: Bus) -> None:
    """When a large task has failed, every page that is open on it asks at the same moment."""

    class Counting(Store):
        readings = 0

        async def load_list(self, task: str, name: str) -> list[str]:
            self.readings += 1
            return await super().load_list(task, name)

    store = Counting(bus)
    head = (await stored(store, failed(TASK))).head
    folds = FinishedFolds(store)
    runs = await asyncio.gather(*(folds.of(head) for _ in range(50)))
    assert {id(run) for run in runs} == {id(runs[0])}
    assert list(runs[0].by_name) == ["n1"]
    assert store.readings == 1


async def test_what_is_to_be_removed_is_removed_when_the_store_is_back(
    nats_server: NatsServer, bus: Bus
) -> None:
    """A term that begins while the store is away sweeps and removes all the same."""
    store, table = Store(bus), Table()
    table.apply(await stored(store, failed(TASK)))
    await store.store_outcome(AttemptKey(OTHER, "n1", 1), Outcome())  # left by a crash

    persistently = Persistently(random.Random(1))
    janitor = Janitor(
        store=store,
        tasks=table,
        clock=time.time,
        retention_seconds=1.0,
        persistently=persistently,
    )
    await nats_server.kill()
    working = asyncio.create_task(janitor.run())
    await asyncio.sleep(1.5)
    await nats_server.start()
    async with asyncio.timeout(30):
        await bus.wait_connected()
        while await persistently(partial(anything_is_left, store)):
            await asyncio.sleep(0.1)
    assert await store.load_list(TASK, "nodes") == []
    working.cancel()
    await asyncio.wait([working])


async def test_keys_go_with_their_tasks(bus: Bus) -> None:
    """Those of removed tasks, and those whose create nobody completed within a day."""
    store, now = Store(bus), time.time()
    kept, removed = failed(TASK), failed(OTHER)
    await store.create_head(kept)
    await store.delete_head(await store.create_head(removed))
    tasks = {"idem.kept": TASK, "idem.removed": OTHER, "idem.underway": _numbered(9)}
    for key, task in tasks.items():
        await store.claim_key(key, KeyRecord(task=task, body=""))
    await store.release_keys({TASK}.__contains__, now)
    assert [key for key in tasks if await store.load_key(key)] == ["idem.kept", "idem.underway"]
    await store.release_keys({TASK}.__contains__, now + KEY_UNUSED_SECONDS + 60)
    assert [key for key in tasks if await store.load_key(key)] == ["idem.kept"]


async def anything_is_left(store: Store) -> bool:
    """Whether the store has a head or outcomes of either task."""
    return await store.exists(TASK) or bool(await store.tasks_with_outcomes())


async def test_a_start_that_is_repeated_keeps_no_node_of_the_first(bus: Bus) -> None:
    """The first list was longer; its last chunks must not be read as part of the second."""

    class Refusing(Store):
        refusals = 1

        async def swap_head(self, old: StoredHead, new: TaskHead) -> StoredHead:
            if self.refusals:
                self.refusals -= 1
                raise StoreUnavailable("not now")
            return await super().swap_head(old, new)

    store, table = Refusing(bus), Table()
    table.apply(await store.create_head(pending(TASK)))
    transitions = Transitions(
        store=store,
        tasks=table,
        epoch=1,
        clock=time.time,
        feed=lambda _: None,
        failed=lambda _: None,
    )
    many = tuple(f"a-node-with-quite-a-long-name-{number:05}" for number in range(12_000))
    await transitions.start(StartTask(TASK, many))
    await transitions.start(StartTask(TASK, many[:3]))
    running = await store.load_head(TASK)
    assert running is not None
    assert await store.load_list(TASK, running.head.node_list or "") == list(many[:3])


# ── webhooks ──


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
    async with receivers.listening(), new_http_session() as http:
        webhooks = Webhooks(http, time.time, random.Random(1))
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
