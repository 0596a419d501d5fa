from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest

from common import subjects
from common.bus import Conflict, Record, StoreUnavailable, StoreWentBack
from common.bus import reading as bus_reading
from common.bus import session as bus_session
from common.bus.session import Delivery
from tests.fixtures.memory import ON_NATS, AnyBus, AnyServer, soon
from tests.fixtures.nats import NatsServer, OpenBus, eventually, heard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BOTH = True
DELAY = (0.001, 0.005)

TASK = "task-20260116-151234-a1b2c3d4"


def result(node: int) -> str:
    """The subject of an outcome."""
    return subjects.result(TASK, f"n{node}", 1)


class Follower:
    """Follows the outcomes in a task of its own and keeps what it is handed."""

    def __init__(self, bus: AnyBus, start: int = 1, subject: str = ">") -> None:
        self.records: list[Record] = []
        self._source = bus.follow(subjects.RESULTS, subject, start=start)
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with aclosing(self._source) as source:
            async for records in source:
                assert records
                self.records += records

    @property
    def seqs(self) -> list[int]:
        """Sequences in the order in which they came."""
        return [record.seq for record in self.records]

    def has(self, count: int) -> bool:
        """Whether so many records came."""
        return len(self.records) >= count

    async def stop(self) -> None:
        """Cancel it and wait for its end."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


class Publisher:
    """Stores one outcome after another, each until it is known to be stored."""

    def __init__(self, bus: AnyBus) -> None:
        self.stored = 0
        self._bus = bus
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._stop.is_set():
            await asyncio.gather(*(self._store(self.stored + n) for n in range(20)))
            self.stored += 20

    async def _store(self, number: int) -> None:
        while True:
            try:
                await self._bus.store(result(number), b"%d" % number, expect_last=0)
            except StoreUnavailable:
                await self._bus.wait_connected()
            except Conflict:
                return
            else:
                return

    async def stop(self) -> int:
        """End after the present ones; how many were stored."""
        self._stop.set()
        await self._task
        return self.stored


async def consumers(bus: AnyBus) -> list[str]:
    """Names of the consumers that the server has for the outcomes."""
    answer = await bus.call(f"$JS.API.CONSUMER.NAMES.{subjects.RESULTS}", b"", soon(2))
    names: list[str] = msgspec.json.decode(answer)["consumers"] or []
    return names


async def none_left(bus: AnyBus) -> None:
    """Wait until the server has no consumer any more."""
    async with asyncio.timeout(soon(5)):
        while await consumers(bus):
            await asyncio.sleep(0.02)


async def test_what_is_stored_comes_before_what_will_be(bus: AnyBus) -> None:
    """In order, with its time and headers, from the sequence asked for."""
    for n in range(3):
        await bus.store(result(n), b"%d" % n, expect_last=0)
    follower = Follower(bus, start=2)
    await eventually(lambda: follower.seqs == [2, 3])
    await bus.store(result(3), b"3", expect_last=0)
    await eventually(lambda: follower.seqs == [2, 3, 4])
    assert [record.data for record in follower.records] == [b"1", b"2", b"3"]
    await follower.stop()


async def test_only_what_matches_comes(bus: AnyBus) -> None:
    """The filter is the server's work."""
    follower = Follower(bus, subject=result(7))
    for n in range(10):
        await bus.store(result(n), b"", expect_last=0)
    await eventually(lambda: follower.seqs == [8])
    await follower.stop()


async def killed(server: AnyServer) -> None:
    """SIGKILL and a new start."""
    await server.restart()


async def restarted(server: AnyServer) -> None:
    """SIGTERM and a new start."""
    await server.stop()
    await server.start()


async def paused(server: AnyServer) -> None:
    """SIGSTOP until it was noticed, then SIGCONT."""
    await server.pause()
    await asyncio.sleep(1.0)
    server.resume()


@pytest.mark.parametrize("harm", [killed, restarted, paused])
async def test_each_record_comes_once_in_order_whatever_happens_to_the_server(
    nats_server: NatsServer,
    open_bus: OpenBus,
    bus: AnyBus,
    harm: Callable[[AnyServer], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four times in a row, while another program stores; noticed without waiting.

    Decisions: outcomes are read without acknowledgements.
    """
    monkeypatch.setattr(bus_reading, "SILENCE_SECONDS", 1000)
    monkeypatch.setattr(bus_session, "PING_SECONDS", 0.2)
    publisher = Publisher(bus)
    follower = Follower(await open_bus(nats_server))
    for _ in range(4):
        enough = len(follower.records) + 100
        await eventually(partial(follower.has, enough), within=soon(20))
        await harm(nats_server)
    stored = await publisher.stop()
    await eventually(lambda: len(follower.records) >= stored, within=soon(20))
    assert follower.seqs == list(range(1, stored + 1))
    assert {int(record.data) for record in follower.records} == set(range(stored))
    await follower.stop()


async def test_a_deleted_consumer_is_made_again(
    bus: AnyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator, or the server itself, removed it and says so."""
    monkeypatch.setattr(bus_reading, "SILENCE_SECONDS", 1000)
    follower = Follower(bus)
    for n in range(5):
        await bus.store(result(n), b"", expect_last=0)
        await eventually(partial(follower.has, n + 1))
        for name in await consumers(bus):
            await bus.call(f"$JS.API.CONSUMER.DELETE.{subjects.RESULTS}.{name}", b"", soon(2))
    assert follower.seqs == [1, 2, 3, 4, 5]
    await follower.stop()


@ON_NATS
async def test_a_gap_in_the_deliveries_is_read_again(bus: AnyBus) -> None:
    """A delivery that got lost on the way shows by the consumer's own sequence."""
    follower = Follower(bus)
    await bus.store(result(0), b"", expect_last=0)
    await eventually(lambda: follower.seqs == [1])
    (first,) = await consumers(bus)
    skipping = Delivery(
        result(8), b"", f"$JS.ACK.{subjects.RESULTS}.{first}.1.9.3.1795546079821204680.0", None
    )
    newest = max(bus.session._handlers)
    bus.session._handlers[newest](skipping)
    await bus.store(result(1), b"", expect_last=0)
    await eventually(lambda: follower.seqs == [1, 2])
    assert first not in await consumers(bus)
    await follower.stop()


@ON_NATS
async def test_silence_of_the_consumer_is_noticed(
    bus: AnyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record and no heartbeat, though the connection is well: another consumer is made."""
    monkeypatch.setattr(bus_reading, "SILENCE_SECONDS", 0.5)  # before the first heartbeat
    follower = Follower(bus)
    seen: set[str] = set()
    async with asyncio.timeout(soon(10)):
        while len(seen) < 3:
            seen.update(await consumers(bus))
            await asyncio.sleep(0.05)
    await bus.store(result(0), b"", expect_last=0)
    await eventually(lambda: follower.seqs == [1])
    await follower.stop()


async def test_the_server_keeps_no_consumer_of_one_who_left(bus: AnyBus) -> None:
    """Closed, cancelled, and left in the middle by an exception."""
    await bus.store(result(0), b"", expect_last=0)
    async with aclosing(bus.follow(subjects.RESULTS, start=1)) as follow:
        await anext(follow)
        assert len(await consumers(bus)) == 1
    await none_left(bus)

    follower = Follower(bus)
    await eventually(lambda: follower.seqs == [1])
    assert len(await consumers(bus)) == 1
    await follower.stop()
    await none_left(bus)

    async def fail() -> None:
        async with aclosing(bus.follow(subjects.RESULTS, start=1)) as follow:
            async for _ in follow:
                raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await fail()
    await none_left(bus)


async def test_a_cancelled_opening_leaves_no_consumer(
    bus: AnyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request was sent, its answer not read: removed at once, or soon by the server itself."""
    monkeypatch.setattr(bus_reading, "INACTIVE_SECONDS", 1)
    for steps in range(1, 12):
        follower = Follower(bus)
        for _ in range(steps):
            await asyncio.sleep(0)
        await follower.stop()
    await none_left(bus)


async def test_a_slow_reader_holds_a_bounded_part_in_memory(bus: AnyBus) -> None:
    """The server keeps the rest until it is asked for."""
    await asyncio.gather(*(bus.store(result(n), b"", expect_last=0) for n in range(3000)))
    seqs: list[int] = []
    async with aclosing(bus.follow(subjects.RESULTS, start=1)) as follow:
        async for records in follow:
            assert len(records) <= bus_reading.PULL_RECORDS * 3 // 2
            seqs += [record.seq for record in records]
            await asyncio.sleep(0.05)
            if len(seqs) == 3000:
                break
    assert seqs == list(range(1, 3001))


async def test_a_store_that_went_back_is_an_error(bus: AnyBus) -> None:
    """Its numbers would be given out again for other records: everything must be read anew."""
    await bus.store(result(0), b"", expect_last=0)
    async with aclosing(bus.follow(subjects.RESULTS, start=3)) as follow:
        with pytest.raises(StoreWentBack):
            await anext(follow)
    await none_left(bus)


async def test_following_begins_while_the_server_is_away(
    nats_server: NatsServer, bus: AnyBus
) -> None:
    """It waits, as long as it takes."""
    await nats_server.kill()
    await eventually(lambda: not bus.connected)
    follower = Follower(bus)
    await asyncio.sleep(0.2)
    await nats_server.start()
    await heard(bus)
    await bus.store(result(0), b"", expect_last=0)
    await eventually(lambda: follower.seqs == [1])
    await follower.stop()
