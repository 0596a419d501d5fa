from __future__ import annotations

import asyncio

import pytest

from common import subjects
from common.bus import Bus, KeyValue
from coordinator.lease import KEY, Lease, LeaseTimes
from tests.fixtures.memory import AnyBus, clock, now, soon, stand_still
from tests.fixtures.nats import NatsServer, OpenBus, eventually, heard

BOTH = True

TIMES = LeaseTimes(ttl=4, fence=3, renew=0.3, answer=0.6, retry=0.05, ask=0.1)


def lease(bus: AnyBus, owner: str, times: LeaseTimes = TIMES) -> Lease:
    """Make a lease of a process that is named as its owner, but faster than a real one."""
    return Lease(bus, owner=owner, name=f"coordinator {owner}", times=times, clock=clock())


async def holder(bus: AnyBus) -> int:
    """Return the revision of the claim that is stored."""
    entry = await KeyValue(bus, subjects.LEASE_BUCKET).get(KEY)
    assert entry is not None
    return entry.revision


@pytest.fixture
async def other_bus(nats_server: NatsServer, open_bus: OpenBus) -> AnyBus:
    """Connect a second program to the same server."""
    return await open_bus(nats_server)


def test_the_real_times_keep_the_fence_before_the_end() -> None:
    """A renewal that was begun at the fence's edge is over before another one can lead."""
    times = LeaseTimes()
    assert times.fence + times.answer < times.ttl
    assert times.renew + times.answer < times.fence


async def test_one_leads_and_the_other_learns_who(bus: AnyBus, other_bus: Bus) -> None:
    """Never two at once, however long."""
    first, second = lease(bus, "a"), lease(other_bus, "b")
    await first.acquire()
    keeping = asyncio.create_task(first.lost())
    waiting = asyncio.create_task(second.acquire())
    await eventually(lambda: second.holder == "coordinator a")
    await asyncio.sleep(TIMES.ttl + 0.5)
    assert first.held
    assert not keeping.done()
    assert not waiting.done()
    assert not second.held
    keeping.cancel()
    waiting.cancel()


async def test_a_leader_that_dies_is_followed_by_another_with_a_higher_epoch(
    bus: AnyBus, other_bus: Bus
) -> None:
    """Nobody renews any more: it ends by itself, and not before its time."""
    first = lease(bus, "a")
    epoch = await first.acquire()
    keeping = asyncio.create_task(first.lost())
    async with asyncio.timeout(soon(5)):
        while await holder(bus) < epoch + 3:
            await asyncio.sleep(0.02)
    keeping.cancel()
    began = now()
    second = lease(other_bus, "b")
    assert await second.acquire() > epoch
    assert TIMES.ttl - soon(0.8) < now() - began < TIMES.ttl + soon(2)
    assert second.holder is None


async def test_a_graceful_stop_hands_it_over_at_once(bus: AnyBus, other_bus: Bus) -> None:
    """Nobody waits for the time to live."""
    first, second = lease(bus, "a"), lease(other_bus, "b")
    await first.acquire()
    keeping = asyncio.create_task(first.lost())
    waiting = asyncio.create_task(second.acquire())
    await eventually(lambda: second.holder is not None)
    keeping.cancel()
    began = now()
    await first.release()
    assert not first.held
    await waiting
    assert now() - began < soon(1)


async def test_release_of_anothers_lease_is_without_effect(bus: AnyBus, other_bus: Bus) -> None:
    """Only its holder gives it back; also not one of an earlier life."""
    first = lease(bus, "a")
    await first.acquire()
    before = await holder(bus)
    await lease(other_bus, "b").release()
    await lease(other_bus, "a").release()
    assert await holder(bus) == before


async def test_a_restart_takes_its_own_back_at_once(bus: AnyBus, other_bus: Bus) -> None:
    """The same owner is the same data directory, whose lock says that the other life is over."""
    epoch = await lease(bus, "a", LeaseTimes()).acquire()
    began = now()
    assert await lease(other_bus, "a", LeaseTimes()).acquire() > epoch
    assert now() - began < soon(1)


async def test_a_leader_whose_lease_was_taken_knows_at_its_next_renewal(
    bus: AnyBus, other_bus: Bus
) -> None:
    """It says who has it."""
    first = lease(bus, "a")
    await first.acquire()
    keeping = asyncio.create_task(first.lost())
    stored = KeyValue(other_bus, subjects.LEASE_BUCKET)
    await stored.delete(KEY)
    await lease(other_bus, "b").acquire()
    async with asyncio.timeout(soon(1)):
        await keeping
    assert not first.held
    assert first.holder == "coordinator b"


async def test_a_lease_that_was_removed_is_lost(bus: AnyBus) -> None:
    """Nobody holds it, so neither does this one."""
    first = lease(bus, "a")
    await first.acquire()
    keeping = asyncio.create_task(first.lost())
    await KeyValue(bus, subjects.LEASE_BUCKET).delete(KEY)
    async with asyncio.timeout(soon(1)):
        await keeping
    assert first.holder is None


async def test_a_renewal_without_an_answer_that_landed_is_adopted(bus: AnyBus) -> None:
    """The next one meets a newer revision, finds its own words there, and goes on."""
    first = lease(bus, "a")
    await first.acquire()
    keeping = asyncio.create_task(first.lost())
    stored = KeyValue(bus, subjects.LEASE_BUCKET)
    for _ in range(3):
        revision = await holder(bus)
        landed = await stored.update(KEY, first._value, revision, ttl=TIMES.ttl)
        async with asyncio.timeout(soon(2)):
            while await holder(bus) <= landed:
                await asyncio.sleep(0.02)
    assert first.held
    assert not keeping.done()
    keeping.cancel()


@pytest.mark.parametrize("harm", ["pause", "kill"])
async def test_a_leader_whose_store_is_away_stops_before_another_could_lead(
    nats_server: NatsServer, bus: AnyBus, harm: str
) -> None:
    """By its own clock; and takes its own lease back when the store is there again."""
    first = lease(bus, "a")
    epoch = await first.acquire()
    keeping = asyncio.create_task(first.lost())
    await asyncio.sleep(TIMES.renew * 2)
    began = now()
    if harm == "pause":
        await nats_server.pause()
    else:
        await nats_server.kill()
    await keeping
    least, most = TIMES.fence - TIMES.renew - soon(0.2), TIMES.fence + soon(0.3)
    assert least < now() - began < most
    assert not first.held
    if harm == "pause":
        nats_server.resume()
    else:
        await nats_server.start()
    assert await first.acquire() > epoch
    assert first.held


async def test_a_short_absence_of_the_store_costs_nothing(
    nats_server: NatsServer, bus: AnyBus
) -> None:
    """Killed and restarted well before the fence: the same leader, the same epoch."""
    first = lease(bus, "a", LeaseTimes(renew=0.2))
    await first.acquire()
    keeping = asyncio.create_task(first.lost())
    for _ in range(3):
        await nats_server.restart()
        await heard(bus)
    before = await holder(bus)
    async with asyncio.timeout(soon(5)):
        while await holder(bus) == before:
            await asyncio.sleep(0.02)
    assert first.held
    assert not keeping.done()
    keeping.cancel()


async def test_held_looks_at_the_clock(bus: AnyBus) -> None:
    """A process that was stopped itself knows when it wakes, before its timers tell."""
    first = lease(bus, "a")
    await first.acquire()
    assert first.held
    stand_still(TIMES.fence)
    assert not first.held


async def test_a_claim_that_nobody_understands_is_somebody_elses(bus: AnyBus) -> None:
    """Of a later release, say: it is waited for."""
    stored = KeyValue(bus, subjects.LEASE_BUCKET)
    await stored.create(KEY, b"\xff", ttl=1)
    first = lease(bus, "a")
    waiting = asyncio.create_task(first.acquire())
    await eventually(lambda: first.holder == "an unknown coordinator")
    async with asyncio.timeout(soon(5)):
        await waiting
    assert first.holder is None
