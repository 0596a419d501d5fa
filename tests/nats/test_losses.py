from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from common.bus import (
    Bus,
    BusSettings,
    NotConnected,
    TimedOut,
)
from common.bus import session as bus_session
from common.subjects import MAX_MESSAGE_BYTES
from tests.fixtures.memory import ON_NATS, AnyBus, connected, now, soon
from tests.fixtures.nats import NatsServer, OpenBus, eventually, heard
from tests.fixtures.patience import NEVER, PATIENCE
from tests.fixtures.scripted_nats import Peer, scripted_nats

BOTH = True


@pytest.fixture
def fast_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a silent peer be noticed after 0.4 to 0.6 s instead of 6 to 9 s."""
    monkeypatch.setattr(bus_session, "PING_SECONDS", 0.2)


@pytest.fixture
def no_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only what is seen of a connection tell that it has ended."""
    monkeypatch.setattr(bus_session, "PING_SECONDS", NEVER)


@pytest.mark.usefixtures("no_pings")
async def test_a_killed_server_is_noticed_at_once_and_found_again(
    nats_server: NatsServer, bus: AnyBus
) -> None:
    """Subscriptions come back by themselves, before anything can be sent."""
    got: list[bytes] = []
    await bus.subscribe("a.*", lambda received: got.append(received.data))
    await nats_server.kill()
    await eventually(lambda: not bus.connected, within=soon(1))
    await nats_server.start()
    await heard(bus)
    bus.publish("a.b", b"again")
    await eventually(lambda: got == [b"again"])


async def test_nothing_is_kept_to_be_sent_later(
    nats_server: NatsServer, bus: AnyBus, open_bus: OpenBus
) -> None:
    """An old assignment must not leave after its cancel (decisions: commands are not stored)."""
    await nats_server.kill()
    await eventually(lambda: not bus.connected)
    with pytest.raises(NotConnected):
        bus.publish("a", b"while away")
    with pytest.raises(NotConnected):
        await bus.call("a", b"while away", 1)
    await nats_server.start()
    other = await open_bus(nats_server)
    got: list[bytes] = []
    await other.subscribe("a", lambda received: got.append(received.data))
    await heard(bus)
    bus.publish("a", b"after")
    await eventually(lambda: bool(got))
    await heard(other)
    assert got == [b"after"]


@ON_NATS
async def test_what_was_not_sent_yet_goes_with_its_connection(
    nats_server: NatsServer, bus: AnyBus
) -> None:
    """Published in the very moment in which the connection ends: lost, not late."""
    got: list[bytes] = []
    await bus.subscribe("a", lambda received: got.append(received.data))
    assert isinstance(bus, Bus)
    bus.session._pending.append(b"PUB a  3\r\nold\r\n")
    await nats_server.restart()
    await heard(bus)
    bus.publish("a", b"new")
    await eventually(lambda: bool(got))
    assert got == [b"new"]


@ON_NATS
async def test_a_session_that_ended_takes_nothing(nats_server: NatsServer, bus: AnyBus) -> None:
    """Whoever still holds it learns so."""
    assert isinstance(bus, Bus)
    session = bus.session
    await nats_server.restart()
    await heard(bus)
    with pytest.raises(NotConnected):
        session.send(b"PUB a  0\r\n\r\n")


async def test_a_call_under_way_fails_when_the_connection_does(
    nats_server: NatsServer, bus: AnyBus
) -> None:
    """Not after its own time-out, as nats-py's."""
    await bus.subscribe("silent", lambda _: None)
    calling = asyncio.create_task(bus.call("silent", b"", 60))
    await bus.ping(soon(2))
    await nats_server.kill()
    with pytest.raises(NotConnected):
        async with asyncio.timeout(soon(2)):
            await calling


def test_a_silent_peer_is_noticed_in_ten_seconds() -> None:
    """The real intervals, for the tests here are faster."""
    assert bus_session.PING_SECONDS * (bus_session.PINGS_UNANSWERED + 1) < 10


@pytest.mark.usefixtures("fast_pings")
async def test_a_paused_server_is_noticed_and_found_again(
    nats_server: NatsServer, open_bus: OpenBus
) -> None:
    """SIGSTOP: nothing ends by itself, so only the pings tell."""
    bus = await open_bus(nats_server)
    await nats_server.pause()
    with pytest.raises(TimedOut):
        await bus.ping(0.1)
    await eventually(lambda: not bus.connected, within=soon(2))
    nats_server.resume()
    await heard(bus)


@pytest.mark.usefixtures("fast_pings")
async def test_a_peer_that_takes_nothing_does_not_hold_us(
    nats_server: NatsServer, open_bus: OpenBus
) -> None:
    """Megabytes wait to be sent: nats-py alone would wait for them for ever (#671)."""
    bus = await open_bus(nats_server)
    await nats_server.pause()
    for _ in range(60):
        bus.publish("a", bytes(MAX_MESSAGE_BYTES))
    await eventually(lambda: not bus.connected, within=soon(3))
    nats_server.resume()
    await heard(bus)


async def test_memory_for_a_slow_server_is_limited(nats_server: NatsServer, bus: AnyBus) -> None:
    """Publishing is refused before memory runs out."""
    await nats_server.pause()

    def flood() -> None:
        for _ in range(1000):
            bus.publish("a", bytes(MAX_MESSAGE_BYTES))

    with pytest.raises(NotConnected, match="has not taken"):
        flood()


@ON_NATS
async def test_a_connection_that_ends_at_once_again_and_again_is_no_storm(
    open_bus: OpenBus, pauses: list[float]
) -> None:
    """Taken and dropped counts as a failed try: the pauses grow all the same."""

    async def drop(peer: Peer) -> None:
        await peer.welcome()
        if peer.number == 1:
            with suppress(TimeoutError):
                await asyncio.wait_for(peer.serve(), 0.3)

    async with scripted_nats(drop) as (url, _):
        await open_bus(url)
        await eventually(lambda: len(pauses) >= 6)
    assert pauses[:6] == [0, 0.25, 0.5, 1, 2, 2]


@ON_NATS
async def test_a_server_slow_to_let_us_in_pings_first(open_bus: OpenBus) -> None:
    """nats-py takes that PING for its PONG and stays half connected for ever (#93)."""

    async def ping_first(peer: Peer) -> None:
        await peer.greet()
        peer.say("PING")
        await peer.hear("PONG")
        peer.say("PONG")
        await peer.serve()

    async with scripted_nats(ping_first) as (url, _):
        bus = await open_bus(url)
        assert bus.connected
        assert await bus.ping(soon(2)) < soon(2)


@ON_NATS
@pytest.mark.parametrize(
    "error",
    ["User Authentication Expired", "Authorization Violation", "maximum connections exceeded"],
)
async def test_an_error_of_the_server_ends_one_connection_only(
    open_bus: OpenBus, error: str
) -> None:
    """nats-py alone would be closed for ever (#1019)."""

    async def expire_once(peer: Peer) -> None:
        await peer.welcome()
        serving = asyncio.create_task(peer.serve())
        if peer.number == 1:
            await asyncio.sleep(0.1)
            peer.say(f"-ERR '{error}'")
        await serving

    async with scripted_nats(expire_once) as (url, peers):
        bus = await open_bus(url)
        await eventually(lambda: len(peers) == 2 and bus.connected)
        assert await bus.ping(soon(2)) < soon(2)


@ON_NATS
@pytest.mark.usefixtures("no_pings")
async def test_a_loop_of_the_client_that_dies_ends_the_connection(
    open_bus: OpenBus, caplog: pytest.LogCaptureFixture
) -> None:
    """An INFO that is no JSON kills nats-py's reader; it would look connected (PR #914)."""

    async def babble_once(peer: Peer) -> None:
        await peer.welcome()
        serving = asyncio.create_task(peer.serve())
        if peer.number == 1:
            await asyncio.sleep(0.1)
            peer.say("INFO {nonsense")
        await serving

    async with scripted_nats(babble_once) as (url, peers):
        bus = await open_bus(url)
        await eventually(lambda: len(peers) == 2)
        await heard(bus)
    assert "nats: encountered error" in caplog.text


async def test_a_slow_pong_kills_no_connection(nats_server: NatsServer, bus: AnyBus) -> None:
    """nats-py's own ``rtt`` breaks its reader when its answer comes after the time limit."""
    await nats_server.pause()
    with pytest.raises(TimedOut):
        await bus.ping(0.05)
    nats_server.resume()
    assert await bus.ping(soon(2)) < soon(2)
    assert bus.connected


async def test_run_returns_after_close(nats_server: NatsServer) -> None:
    """An orderly end is no death of a job, and nothing is sent after it."""
    bus = await connected(nats_server)
    running = asyncio.create_task(bus.run())
    await bus.ping(soon(2))
    await bus.close()
    async with asyncio.timeout(soon(1)):
        await running
    with pytest.raises(NotConnected, match="closed"):
        bus.publish("a", b"")


async def test_close_after_run_was_cancelled(nats_server: NatsServer) -> None:
    """The order in which a program ends: its jobs first, then what they stood on."""
    bus = await connected(nats_server)
    running = asyncio.create_task(bus.run())
    await bus.ping(soon(2))
    running.cancel()
    await asyncio.wait([running])
    await bus.close()
    assert not bus.connected


@ON_NATS
async def test_a_cancellation_is_heeded_whenever_it_comes(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the moment in which a try fails, when ``wait_for`` of Python 3.11 forgets it."""

    async def cancelled_as_it_fails(*_: object) -> None:
        loop, result = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        loop.call_soon(result.set_exception, ConnectionRefusedError())
        loop.call_soon(opening.cancel)
        await asyncio.wait_for(result, PATIENCE)

    monkeypatch.setattr(bus_session.Session, "_shake_hands", cancelled_as_it_fails)
    opening = asyncio.create_task(Bus.connect(BusSettings(servers=(nats_server.url,))))
    await asyncio.wait([opening], timeout=soon(1))
    assert opening.cancelled()


async def test_close_does_not_wait_for_a_server_that_is_away(nats_server: NatsServer) -> None:
    """A stop has a budget."""
    bus = await connected(nats_server)
    running = asyncio.create_task(bus.run())
    await nats_server.pause()
    began = now()
    await bus.close()
    await running
    assert now() - began < soon(2)


async def test_close_sends_what_was_published(nats_server: NatsServer, bus: AnyBus) -> None:
    """Last words are heard."""
    got: list[bytes] = []
    await bus.subscribe("a", lambda received: got.append(received.data))
    other = await connected(nats_server)
    for _ in range(1000):
        other.publish("a", b"last words")
    await other.close()
    await eventually(lambda: len(got) == 1000)


@ON_NATS
async def test_a_fault_of_ours_takes_the_program_down(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a program that looks alive and will never be connected again."""
    bus = await Bus.connect(BusSettings(servers=(nats_server.url,)))
    monkeypatch.setattr(bus_session.Session, "dial", None)
    running = asyncio.create_task(bus.run())
    await asyncio.sleep(0)
    await nats_server.kill()
    with pytest.raises(TypeError):
        async with asyncio.timeout(soon(5)):
            await running
