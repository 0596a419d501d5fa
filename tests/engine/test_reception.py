"""What agents say, and whether it can be heard at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from common import subjects
from common.bus import NotConnected, Received, TimedOut
from coordinator.core.events import AgentHeard, BusFellSilent, BusHeard, Event
from coordinator.core.scheduler import Core, Limits
from coordinator.engine.reception import PING_ANSWER_SECONDS, PING_SECONDS, Reception, watch_bus
from sandbox.virtual.time import virtual
from tests.engine.following import connected

INSTANCE = "0123456789abcdef"
HEARTBEAT = subjects.heartbeat("n1", INSTANCE)
PROGRESS = subjects.progress("n1", INSTANCE)


@virtual
async def test_heartbeats_and_progress_come_to_their_handlers_until_the_end() -> None:
    """Each to its own."""
    async with connected() as bus:
        heard: list[tuple[str, bytes]] = []
        poison: list[str] = []
        with ExitStack() as subscriptions:
            await Reception(bus, poison.append).open(
                lambda received: heard.append(("heartbeat", received.data)),
                lambda received: heard.append(("progress", received.data)),
                subscriptions,
            )
            bus.publish(HEARTBEAT, b"1")
            bus.publish(PROGRESS, b"2")
            bus.publish(subjects.command("n1", INSTANCE), b"3")
            await asyncio.sleep(1.0)
        bus.publish(HEARTBEAT, b"4")
        await asyncio.sleep(1.0)
        assert heard == [("heartbeat", b"1"), ("progress", b"2")]
        assert poison == []


def too_deep(_: Received) -> None:
    """What a decoder says of a hundred thousand brackets."""
    raise RecursionError


def no_text(_: Received) -> None:
    """What a decoder says of bytes that are no UTF-8."""
    b"\xff".decode()


def no_message(_: Received) -> None:
    """What a handler says of a strange subject."""
    raise ValueError("no heartbeat")


@pytest.mark.parametrize("handle", [too_deep, no_text, no_message])
def test_what_cannot_be_understood_is_counted_and_ends_nothing(
    handle: Callable[[Received], None],
) -> None:
    """What comes after it is heard."""

    @virtual
    async def run() -> None:
        async with connected() as bus:
            poison: list[str] = []
            heard: list[bytes] = []
            with ExitStack() as subscriptions:
                await Reception(bus, poison.append).open(
                    handle, lambda received: heard.append(received.data), subscriptions
                )
                bus.publish(HEARTBEAT, b"")
                bus.publish(PROGRESS, b"well")
                bus.publish(HEARTBEAT, b"")
                await asyncio.sleep(1.0)
            assert poison == ["heartbeat"] * 2
            assert heard == [b"well"]
            assert bus.handler_faults == 0

    run()


class Pings:
    """A bus that answers pings, or does not."""

    def __init__(self) -> None:
        self.deaf = False
        self.connected = True
        self.at: list[float] = []

    async def ping(self, within: float) -> float:
        """As ``Bus.ping``."""
        self.at.append(asyncio.get_running_loop().time())
        if not self.connected:
            raise NotConnected("not connected")
        if self.deaf:
            await asyncio.sleep(within)
            raise TimedOut("no answer")
        return 0.0


class Listening:
    """A core that hears an agent, and is told by its bus whether it can."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.core = Core(Limits(), 0.0)
        self.fed: list[Event] = []
        self.pings = Pings()
        self.clock = loop.time
        self.job = asyncio.create_task(watch_bus(self.pings, self.core, self.feed, self.clock))

    def feed(self, event: Event) -> None:
        """Let the core know."""
        self.fed.append(event)
        self.core.handle(event, self.clock())


@virtual
async def test_a_bus_that_answers_is_pinged_once_a_second_and_nobody_is_told() -> None:
    """Only a change is news."""
    listening = Listening()
    await asyncio.sleep(5.5)
    assert listening.pings.at == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert listening.fed == []
    listening.job.cancel()


@virtual
async def test_while_the_bus_is_deaf_nobody_falls_silent() -> None:
    """Silence is measured from the last ping that was answered, and goes on with the next."""
    listening = Listening()
    listening.feed(AgentHeard("n1", INSTANCE, interval=10.0))
    await asyncio.sleep(5.5)
    listening.pings.deaf = True
    await asyncio.sleep(600.0)
    silent = [event for event in listening.fed if isinstance(event, BusFellSilent)]
    assert {event.since for event in silent} == {5.0}
    assert len(silent) == pytest.approx(600 / max(PING_SECONDS, PING_ANSWER_SECONDS), abs=2)
    assert listening.core.fleet.clock.stands
    assert listening.core.fleet.connected("n1", listening.clock())
    listening.pings.deaf = False
    await asyncio.sleep(3.0)
    assert [event for event in listening.fed[1:] if event not in silent] == [BusHeard()]
    assert listening.core.fleet.connected("n1", listening.clock())
    await asyncio.sleep(40.0)
    assert not listening.core.fleet.connected("n1", listening.clock())
    listening.job.cancel()


@virtual
async def test_a_bus_that_refuses_at_once_is_asked_no_more_often() -> None:
    """Without a connection a ping fails without waiting."""
    listening = Listening()

    listening.pings.connected = False
    await asyncio.sleep(5.5)
    assert listening.pings.at == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert listening.fed == [BusFellSilent(0.0)] * 6
    listening.job.cancel()
