from __future__ import annotations

import asyncio

import pytest

from common.bus import (
    Bus,
    BusSettings,
    NotConnected,
    TimedOut,
)
from common.bus import connection as bus_connection
from common.bus import session as bus_session
from common.subjects import MAX_MESSAGE_BYTES
from tests.fixtures.nats import NatsServer, OpenBus, eventually, heard
from tests.fixtures.patience import NEVER, PATIENCE
from tests.fixtures.scripted_nats import Peer, scripted_nats

pytestmark = pytest.mark.nats


@pytest.fixture
def fast_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a silent peer be noticed after 0.4 to 0.6 s instead of 6 to 9 s."""
    monkeypatch.setattr(bus_session, "PING_SECONDS", 0.2)


@pytest.fixture
def no_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is noticed is noticed without them."""
    monkeypatch.setattr(bus_session, "PING_SECONDS", NEVER)


@pytest.mark.usefixtures("no_pings")
async def test_a_killed_server_is_noticed_without_pings_and_found_again(
    nats_server: NatsServer, bus: Bus
) -> None:
    """Subscriptions come back by themselves, before anything can be sent."""
    got: list[bytes] = []
    await bus.subscribe("a.*", lambda received: got.append(received.data))
    await nats_server.kill()
    await eventually(lambda: not bus.connected)
    await nats_server.start()
    await heard(bus)
    bus.publish("a.b", b"again")
    await eventually(lambda: got == [b"again"])


async def test_nothing_is_kept_to_be_sent_later(
    nats_server: NatsServer, bus: Bus, open_bus: OpenBus
) -> None:
    """An old assignment must not leave after its cancel (design D3)."""
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


async def test_what_was_not_sent_yet_goes_with_its_connection(
    nats_server: NatsServer, bus: Bus
) -> None:
    """Published in the very moment in which the connection ends: lost, not late."""
    got: list[bytes] = []
    await bus.subscribe("a", lambda received: got.append(received.data))
    bus.session._pending.append(b"PUB a  3\r\nold\r\n")
    await nats_server.restart()
    await heard(bus)
    bus.publish("a", b"new")
    await eventually(lambda: bool(got))
    assert got == [b"new"]


async def test_a_session_that_ended_takes_nothing(nats_server: NatsServer, bus: Bus) -> None:
    """Whoever still holds it learns so."""
    session = bus.session
    await nats_server.restart()
    await heard(bus)
    with pytest.raises(NotConnected):
        session.send(b"PUB a  0\r\n\r\n")


async def test_a_call_under_way_fails_when_the_connection_does(
    nats_server: NatsServer, bus: Bus
) -> None:
    """Not after its own time-out, as nats-py's."""
    await bus.subscribe("silent", lambda _: None)
    calling = asyncio.create_task(bus.call("silent", b"", NEVER))
    await bus.ping(PATIENCE)
    await nats_server.kill()
    with pytest.raises(NotConnected):
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
    await eventually(lambda: not bus.connected)
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
    await eventually(lambda: not bus.connected)
    nats_server.resume()
    await heard(bus)


async def test_memory_for_a_slow_server_is_limited(nats_server: NatsServer, bus: Bus) -> None:
    """Publishing is refused before memory runs out."""
    await nats_server.pause()

    def flood() -> None:
        for _ in range(1000):
            bus.publish("a", bytes(MAX_MESSAGE_BYTES))

    with pytest.raises(NotConnected, match="has not taken"):
        flood()


async def test_a_connection_that_ends_at_once_again_and_again_is_no_storm(
    open_bus: OpenBus, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken and dropped counts as a failed try: the pauses grow all the same."""
    monkeypatch.setattr(bus_connection, "STABLE_SECONDS", NEVER)
    opened = asyncio.Event()

    async def drop(peer: Peer) -> None:
        await peer.welcome()
        if peer.number == 1:
            serving = asyncio.create_task(peer.serve())
            await opened.wait()
            serving.cancel()

    async with scripted_nats(drop) as (url, _):
        await open_bus(url)
        opened.set()
        await eventually(lambda: len(pauses) >= 6)
    assert pauses[:6] == [0, 0.25, 0.5, 1, 2, 2]


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
        await bus.ping(PATIENCE)


@pytest.mark.parametrize(
    "error",
    ["User Authentication Expired", "Authorization Violation", "maximum connections exceeded"],
)
async def test_an_error_of_the_server_ends_one_connection_only(
    open_bus: OpenBus, error: str
) -> None:
    """nats-py alone would be closed for ever (#1019)."""
    opened = asyncio.Event()

    async def expire_once(peer: Peer) -> None:
        await peer.welcome()
        serving = asyncio.create_task(peer.serve())
        if peer.number == 1:
            await opened.wait()
            peer.say(f"-ERR '{error}'")
        await serving

    async with scripted_nats(expire_once) as (url, peers):
        bus = await open_bus(url)
        opened.set()
        await eventually(lambda: len(peers) == 2 and bus.connected)
        await bus.ping(PATIENCE)


@pytest.mark.usefixtures("no_pings")
async def test_a_loop_of_the_client_that_dies_ends_the_connection(
    open_bus: OpenBus, caplog: pytest.LogCaptureFixture
) -> None:
    """An INFO that is no JSON kills nats-py's reader; it would look connected (PR #914)."""
    opened = asyncio.Event()

    async def babble_once(peer: Peer) -> None:
        await peer.welcome()
        serving = asyncio.create_task(peer.serve())
        if peer.number == 1:
            await opened.wait()
            peer.say("INFO {nonsense")
        await serving

    async with scripted_nats(babble_once) as (url, peers):
        bus = await open_bus(url)
        opened.set()
        await eventually(lambda: len(peers) == 2)
        await heard(bus)
    assert "nats: encountered error" in caplog.text


async def test_a_slow_pong_kills_no_connection(nats_server: NatsServer, bus: Bus) -> None:
    """nats-py's own ``rtt`` breaks its reader when its answer comes after the time limit."""
    await nats_server.pause()
    with pytest.raises(TimedOut):
        await bus.ping(0.05)
    nats_server.resume()
    await bus.ping(PATIENCE)
    assert bus.connected


async def test_run_returns_after_close(nats_server: NatsServer) -> None:
    """An orderly end is no death of a job, and nothing is sent after it."""
    bus = await Bus.connect(BusSettings(servers=(nats_server.url,)))
    running = asyncio.create_task(bus.run())
    await bus.ping(PATIENCE)
    await bus.close()
    await running
    with pytest.raises(NotConnected, match="closed"):
        bus.publish("a", b"")


async def test_close_after_run_was_cancelled(nats_server: NatsServer) -> None:
    """The order in which a program ends: its jobs first, then what they stood on."""
    bus = await Bus.connect(BusSettings(servers=(nats_server.url,)))
    running = asyncio.create_task(bus.run())
    await bus.ping(PATIENCE)
    running.cancel()
    await asyncio.wait([running])
    await bus.close()
    assert not bus.connected


async def test_a_cancellation_is_heeded_whenever_it_comes(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the moment in which a try fails, when ``wait_for`` of Python 3.11 forgets it."""

    async def cancelled_as_it_fails(*_: object) -> None:
        loop, result = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        loop.call_soon(result.set_exception, ConnectionRefusedError())
        loop.call_soon(opening.cancel)
        await asyncio.wait_for(result, NEVER)

    monkeypatch.setattr(bus_session.Session, "_shake_hands", cancelled_as_it_fails)
    opening = asyncio.create_task(Bus.connect(BusSettings(servers=(nats_server.url,))))
    await asyncio.wait([opening], timeout=PATIENCE)
    assert opening.cancelled()


async def test_close_does_not_wait_for_a_server_that_is_away(nats_server: NatsServer) -> None:
    """A stop has a budget."""
    bus = await Bus.connect(BusSettings(servers=(nats_server.url,)))
    running = asyncio.create_task(bus.run())
    await nats_server.pause()
    await bus.close()
    await running


async def test_close_sends_what_was_published(nats_server: NatsServer, bus: Bus) -> None:
    """Last words are heard."""
    got: list[bytes] = []
    await bus.subscribe("a", lambda received: got.append(received.data))
    other = await Bus.connect(BusSettings(servers=(nats_server.url,)))
    for _ in range(1000):
        other.publish("a", b"last words")
    await other.close()
    await eventually(lambda: len(got) == 1000)


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
        await running
