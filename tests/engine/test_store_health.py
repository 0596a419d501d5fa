"""Whether the store takes writes: what fails in, what the core and users are told out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.bus import BusError, Conflict, StoreRefused
from coordinator.core.events import Event, StoreClosed, StoreOpened
from coordinator.engine.store_health import (
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    PROBE_SECONDS,
    StoreHealth,
)
from sandbox.virtual.time import virtual
from tests.engine.following import AWAY

FULL = StoreRefused("insufficient storage resources available", code=10047)


class ProbedStore:
    """Fails as told, and remembers when it was probed."""

    def __init__(self) -> None:
        self.trouble: BusError | None = None
        self.at: list[float] = []
        self.takes: list[float] = []
        """How long each of the next probes takes."""

    async def probe(self) -> None:
        """As ``Store.probe``."""
        self.at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes.pop(0) if self.takes else 0)
        if self.trouble is not None:
            raise self.trouble


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[StoreHealth, ProbedStore, list[Event]]]:
    """Health that is watched."""
    store, fed = ProbedStore(), list[Event]()
    health = StoreHealth(store, fed.append)
    watching = asyncio.create_task(health.watch())
    try:
        yield health, store, fed
    finally:
        watching.cancel()
        await asyncio.wait([watching])


@virtual
async def test_while_all_is_well_the_store_is_looked_at_now_and_then() -> None:
    """And nobody hears of it."""
    async with watched() as (health, store, fed):
        await asyncio.sleep(3 * LOOK_SECONDS + 1)
        assert store.at == [LOOK_SECONDS, 2 * LOOK_SECONDS, 3 * LOOK_SECONDS]
        assert health.trouble is None
        assert fed == []


@virtual
async def test_a_refused_write_closes_the_store_until_a_probe_works() -> None:
    """It is said once, however many fail; probes come often meanwhile."""
    async with watched() as (health, store, fed):
        store.trouble = FULL
        health.failed(AWAY)
        health.failed(FULL)
        assert fed == [StoreClosed()]
        assert health.trouble == FULL.cause
        await asyncio.sleep(5 * PROBE_SECONDS + 0.5)
        assert len(store.at) == 5
        store.trouble = None
        await asyncio.sleep(PROBE_SECONDS)
        assert health.trouble is None
        assert fed == [StoreClosed(), StoreOpened()]
        probes = len(store.at)
        await asyncio.sleep(LOOK_SECONDS - 1)
        assert len(store.at) == probes


@virtual
async def test_trouble_is_noticed_without_any_write_of_ours() -> None:
    """Outcomes are written by agents, and a full disk stops one stream after the other."""
    async with watched() as (health, store, fed):
        store.trouble = FULL
        await asyncio.sleep(LOOK_SECONDS + 0.5)
        assert health.trouble == FULL.cause
        assert fed == [StoreClosed()]
        store.trouble = None
        await asyncio.sleep(2 * PROBE_SECONDS)
        assert fed == [StoreClosed(), StoreOpened()]


@virtual
async def test_a_lost_swap_is_no_trouble() -> None:
    """Somebody was faster: the store works."""
    async with watched() as (health, store, fed):
        health.failed(Conflict("wrong last sequence: 7"))
        await asyncio.sleep(LOOK_SECONDS - 1)
        assert health.trouble is None
        assert fed == []
        assert store.at == []


@virtual
async def test_trouble_may_come_back() -> None:
    """Each time is told."""
    async with watched() as (health, _, fed):
        for _ in range(2):
            health.failed(FULL)
            await asyncio.sleep(2 * PROBE_SECONDS)
        assert fed == [StoreClosed(), StoreOpened()] * 2


@virtual
async def test_a_probe_that_hangs_is_given_up_for_another_one() -> None:
    """It was sent to a server that is gone; one that is merely slow is given its time."""
    async with watched() as (health, store, fed):
        health.failed(AWAY)
        store.takes = [60.0, 0.5]
        await asyncio.sleep(PROBE_SECONDS + PATIENCE_SECONDS + PROBE_SECONDS + 1)
        assert health.trouble is None
        assert fed == [StoreClosed(), StoreOpened()]
        health.failed(AWAY)
        store.takes = [7.0] * 10
        await asyncio.sleep(2 + 4 + 8 + 3 * PROBE_SECONDS)
        assert health.trouble is None


@virtual
async def test_a_slow_store_that_is_well_is_not_given_up() -> None:
    """Whoever writes knows how long that takes."""
    async with watched() as (health, store, fed):
        store.takes = [14.0]
        await asyncio.sleep(LOOK_SECONDS + 15)
        assert (health.trouble, fed) == (None, [])
