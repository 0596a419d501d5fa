"""What can be made to go wrong on the bus in memory; what goes right is in ``tests/nats``."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from common.bus import (
    Conflict,
    Draft,
    NoResponders,
    NotConnected,
    StoreRefused,
    StoreUnavailable,
    StreamConfig,
    TimedOut,
)
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.server import VirtualServer
from sandbox.virtual.session import VirtualSession
from sandbox.virtual.time import in_virtual_time, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STREAM = StreamConfig(name="S", subjects=("s.>",), allow_atomic=True)


def now() -> float:
    """The loop's own time."""
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def connections(server: VirtualServer, *names: str) -> AsyncIterator[list[VirtualBus]]:
    """Connect programs with these names; the first makes the stream."""
    buses = [await VirtualBus.connect(server, name) for name in names]
    running = [asyncio.create_task(bus.run()) for bus in buses]
    await buses[0].ensure_stream(STREAM)
    yield buses
    for bus in buses:
        bus.link.mend()
        await bus.close()
    await asyncio.gather(*running)


@virtual
async def test_nothing_is_delivered_inside_publish() -> None:
    """Not even to oneself; a reply to a reply neither."""
    async with connections(VirtualServer(), "a") as [bus]:
        got: list[bytes] = []
        await bus.subscribe("x", lambda received: got.append(received.data))
        bus.publish("x", b"1")
        assert got == []
        await asyncio.sleep(0)
        assert got == [b"1"]
        assert now() == 0


@virtual
async def test_an_answer_can_be_lost_after_storing() -> None:
    """Unavailable after the time limit, though it landed: the same again is a conflict."""
    async with connections(VirtualServer(), "a") as [bus]:
        bus.link.answers_to_lose = 1
        with pytest.raises(StoreUnavailable, match="no answer within 5 s"):
            await bus.store("s.a", b"1", expect_last=0)
        assert now() == 5
        with pytest.raises(Conflict):
            await bus.store("s.a", b"1", expect_last=0)
        bus.link.answers_to_lose = 1
        with pytest.raises(StoreUnavailable):
            await bus.store_batch([Draft("s.b", b""), Draft("s.c", b"")])
        assert (await bus.stream_state("S")).messages == 3


@virtual
async def test_one_stream_can_refuse() -> None:
    """Its disk is full; another one takes what it is given, and it can be read."""
    server = VirtualServer()
    async with connections(server, "a") as [bus]:
        await bus.ensure_stream(StreamConfig(name="T", subjects=("t",)))
        await bus.store("s.a", b"1", expect_last=0)
        server.jetstream.refuse("S")
        with pytest.raises(StoreRefused, match="insufficient storage") as refused:
            await bus.store("s.b", b"", expect_last=0)
        assert refused.value.code == 10047
        with pytest.raises(StoreRefused):
            await bus.store_batch([Draft("s.b", b"")])
        await bus.store("t", b"", expect_last=0)
        assert await bus.last("S", "s.a") is not None
        server.jetstream.refuse("S", None)
        assert await bus.store("s.b", b"", expect_last=0) == 2


@virtual
async def test_an_election_is_waited_for() -> None:
    """Fifteen seconds long."""
    server = VirtualServer()
    async with connections(server, "a") as [bus]:
        server.jetstream.lead("S", leads=False)
        storing = asyncio.create_task(bus.store("s.a", b"", expect_last=0))
        await asyncio.sleep(7)
        assert not storing.done()
        server.jetstream.lead("S", leads=True)
        assert await storing == 1
        server.jetstream.lead("S", leads=False)
        began = now()
        with pytest.raises(StoreUnavailable):
            await bus.last("S", "s.a")
        assert 15 <= now() - began < 17


@virtual
async def test_one_program_can_be_disconnected() -> None:
    """Its calls fail at once, it comes back by itself, and nobody else notices."""
    async with connections(VirtualServer(), "a", "b") as [one, other]:
        await other.subscribe("silent", lambda _: None)
        calling = asyncio.create_task(one.call("silent", b"", 60))
        await asyncio.sleep(1)
        one.link.drop()
        with pytest.raises(NotConnected):
            await calling
        assert not one.connected
        assert other.connected
        await one.wait_connected()
        assert now() < 4


@virtual
async def test_a_reading_goes_on_over_a_disconnection() -> None:
    """On another consumer; the one before went with its connection."""
    server = VirtualServer()
    async with connections(server, "a", "b") as [reader, writer]:  # noqa: SIM117 -- the one needs the other
        async with aclosing(reader.follow("S", start=1)) as follow:
            await writer.store("s.a", b"", expect_last=0)
            assert [record.seq for record in await anext(follow)] == [1]
            (before,) = server.jetstream.consumers("S")
            reader.link.drop()
            await writer.store("s.b", b"", expect_last=0)
            assert [record.seq for record in await anext(follow)] == [2]
            (after,) = server.jetstream.consumers("S")
            assert after != before


@virtual
async def test_a_deaf_program_hears_not_even_itself() -> None:
    """It is connected, and what it says is heard."""
    async with connections(VirtualServer(), "a", "b") as [deaf, other]:
        got: list[bytes] = []
        await other.subscribe("x", lambda received: got.append(received.data))
        deaf.link.deaf = True
        deaf.publish("x", b"1")
        with pytest.raises(TimedOut):
            await deaf.ping(2)
        assert deaf.connected
        assert got == [b"1"]
        deaf.link.deaf = False
        assert await deaf.ping(2) == 0


@virtual
async def test_a_short_cut_only_delays() -> None:
    """What was sent arrives afterwards, in order."""
    async with connections(VirtualServer(), "a", "b") as [one, other]:
        got: list[bytes] = []
        await other.subscribe("x", lambda received: got.append(received.data))
        one.link.cut()
        for n in range(3):
            one.publish("x", b"%d" % n)
        storing = asyncio.create_task(one.store("s.a", b"", expect_last=0))
        await asyncio.sleep(4)
        assert got == []
        assert one.connected
        one.link.mend()
        assert await storing == 1
        assert got == [b"0", b"1", b"2"]


@virtual
async def test_a_long_cut_is_noticed_and_what_waited_is_lost() -> None:
    """After 6 to 9 s; until the server knows, calls to it wait in vain."""
    async with connections(VirtualServer(), "a", "b") as [cut, other]:
        got: list[bytes] = []
        await other.subscribe("x", lambda received: got.append(received.data))
        await cut.subscribe("ask", lambda received: cut.publish(received.reply, b""))
        cut.link.cut()
        cut.publish("x", b"lost")
        await asyncio.sleep(6)
        assert cut.connected
        await asyncio.sleep(3)
        assert not cut.connected
        with pytest.raises(TimedOut):
            await other.call("ask", b"", 1)
        cut.link.mend()
        await cut.wait_connected()
        await cut.ping(1)
        assert got == []
        assert await other.call("ask", b"", 1) == b""


@virtual
async def test_delay_keeps_the_order_of_a_connection() -> None:
    """Messages, what is stored, and what is read."""
    server = VirtualServer(seed=7)
    for name in "ab":
        server.link(name).delay = (0.01, 1.0)
    async with connections(server, "a", "b") as [one, other]:
        got: list[bytes] = []
        await other.subscribe("x.*", lambda received: got.append(received.data))
        for n in range(100):
            one.publish(f"x.{n}", b"%d" % n)
        assert 0.02 <= await one.ping(10) <= 2
        seqs = await asyncio.gather(*(one.store(f"s.{n}", b"", expect_last=0) for n in range(100)))
        assert seqs == list(range(1, 101))
        await other.ping(10)
        assert got == [b"%d" % n for n in range(100)]
        read: list[int] = []
        async with aclosing(other.follow("S", start=1)) as follow:
            async for records in follow:
                read += [record.seq for record in records]
                if len(read) == 100:
                    break
        assert read == list(range(1, 101))


@virtual
async def test_messages_can_be_lost_doubled_and_late() -> None:
    """What is asked of the store cannot."""
    async with connections(VirtualServer(seed=1), "a", "b") as [one, other]:
        got: list[int] = []
        await other.subscribe("x", lambda received: got.append(int(received.data)))
        one.link.loss, one.link.doubled, one.link.late = 0.1, 0.1, 0.3
        for n in range(1000):
            one.publish("x", b"%d" % n)
        for n in range(100):
            assert await one.store(f"s.{n}", b"", expect_last=0) == n + 1
        await asyncio.sleep(2)
        assert 850 < len(set(got)) < 950
        assert len(got) - len(set(got)) > 50
        assert got != sorted(got)


@virtual
async def test_a_store_can_lose_its_end_and_find_what_was_purged() -> None:
    """As after a crash: readers learn of the first, and meet the second."""
    server = VirtualServer()
    async with connections(server, "a") as [bus]:
        for n in range(10):
            await bus.store(f"s.{n}", b"", expect_last=0)
        await bus.purge("S", "s.3")
        await bus.purge("S", "s.0")
        assert await bus.last("S", "s.3") is None
        server.jetstream.undo_purges()
        assert list(await bus.subjects("S")) == [f"s.{n}" for n in (1, 2, *range(4, 10), 3, 0)]
        assert (await bus.stream_state("S")).first_seq == 1
        server.jetstream.streams["S"].lose_after(6)
        state = await bus.stream_state("S")
        assert (state.last_seq, state.messages) == (6, 6)
        assert await bus.store("s.new", b"", expect_last=0) == 7


@virtual
async def test_nobody_there_after_a_program_ended() -> None:
    """Its subscriptions go with it."""
    server = VirtualServer()
    async with connections(server, "a") as [bus]:
        other = await VirtualBus.connect(server, "b")
        await other.subscribe("ask", lambda _: None)
        await other.close()
        with pytest.raises(NoResponders):
            await bus.call("ask", b"", 60)


async def eventful_day(seed: int) -> list[str]:
    """Say what happened to three programs on a bus that fails them in all ways."""
    server = VirtualServer(seed=seed)
    told: list[str] = []

    def tell(name: str, what: object) -> None:
        told.append(f"{now():.9f} {name} {what}")

    async def live(name: str) -> None:
        link = server.link(name)
        link.delay, link.late, link.loss, link.doubled = (0.001, 0.1), 0.05, 0.05, 0.05
        bus = await VirtualBus.connect(
            server, name, seed=seed, on_state=lambda up, why: tell(name, (up, why))
        )
        await bus.ensure_stream(STREAM)
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(bus.run()), group.create_task(follow(name, bus))]
            await bus.subscribe("beat.*", lambda received: tell(name, received.subject), queue="q")
            for n in range(40):
                await asyncio.sleep(bus.random.uniform(0, 3))
                try:
                    bus.publish(f"beat.{name}", b"")
                    tell(name, await bus.store(f"s.{n}", name.encode(), expect_last=0))
                except (NotConnected, StoreUnavailable, Conflict) as error:
                    tell(name, error)
                if n % 10 == 5:
                    link.drop() if n % 20 == 5 else link.cut()
                if n % 10 == 9:
                    link.mend()
            for job in jobs:
                job.cancel()

    async def follow(name: str, bus: VirtualBus) -> None:
        async for records in bus.follow("S", start=1):
            tell(name, [(record.seq, record.data) for record in records])

    await asyncio.gather(*(live(f"program-{n}") for n in range(3)))
    return told


def test_a_run_is_determined_by_its_seed() -> None:
    """Over processes with other hashes of strings; another seed is another day."""
    first = in_virtual_time(eventful_day(1))
    assert len(first) > 200
    assert in_virtual_time(eventful_day(1)) == first
    assert in_virtual_time(eventful_day(2)) != first
    say = (
        "import hashlib; from tests.sandbox import test_virtual_faults as t;"
        "print('\\n'.join(t.in_virtual_time(t.eventful_day(1))))"
    )
    for hashes in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", say],
            env=os.environ | {"PYTHONHASHSEED": hashes},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.splitlines() == first


@virtual
async def test_a_finite_reading_waits_for_a_copy_that_is_behind() -> None:
    """Whatever is read: it is whole, or goes on; who follows hears of the rest when it comes."""
    async with connections(VirtualServer(), "a") as [bus]:
        first = await bus.store("s.a", b"", expect_last=None)
        second = await bus.store("s.b", b"", expect_last=None)
        bus.jetstream.hold_copies("S")
        third = await bus.store("s.a", b"", expect_last=None)
        fourth = await bus.store("s.c", b"", expect_last=None)

        async def read(subject: str, **options: Any) -> list[int]:
            replay = bus.replay("S", subject, **options)
            return [record.seq async for records in replay for record in records]

        assert await read(">", upto=second) == [first, second]
        assert await read("s.b") == [second]
        assert await read("s.none") == []
        async with asyncio.TaskGroup() as reading:
            wanted = {
                reading.create_task(read(">")): [first, second, third, fourth],
                reading.create_task(read("s.a", upto=third)): [first, third],
                reading.create_task(read(">", last_per_subject=True)): [second, third, fourth],
                reading.create_task(read("s.c", last_per_subject=True)): [fourth],
            }
            await asyncio.sleep(60)
            assert not any(one.done() for one in wanted)
            bus.jetstream.catch_up("S")
        for one, expected in wanted.items():
            assert one.result() == expected


@virtual
async def test_what_is_removed_meanwhile_is_not_waited_for() -> None:
    """A copy that is behind may never have had it."""
    async with connections(VirtualServer(), "a") as [bus]:
        bus.jetstream.hold_copies("S")
        await bus.store("s.a", b"", expect_last=None)
        replay = bus.replay("S")
        reading = asyncio.create_task(anext(replay, None))
        await asyncio.sleep(10)
        assert not reading.done()
        await bus.purge("S", "s.a")
        assert await reading is None


@virtual
async def test_an_address_that_is_silent_is_soon_left_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no other one is there, it is given more time, as a slow network needs it."""
    async with connections(VirtualServer(), "a") as [bus]:
        within: list[float] = []

        async def silent(_self: VirtualBus, _server: object, seconds: float) -> VirtualSession:
            within.append(seconds)
            raise NotConnected("no answer in time")

        with monkeypatch.context() as patch:
            patch.setattr(VirtualBus, "_open", silent)
            bus.link.drop()
            while len(within) < 5:
                await asyncio.sleep(1)
        assert within[:5] == [2.0, 4.0, 8.0, 8.0, 8.0]
