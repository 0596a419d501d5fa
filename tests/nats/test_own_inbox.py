"""Inboxes of a caller's choice, several on one connection."""

from __future__ import annotations

import asyncio

import pytest

from common.bus import NoResponders, NotConnected, TimedOut
from tests.fixtures.memory import AnyBus, AnyServer
from tests.fixtures.nats import OpenBus, eventually, heard

BOTH = True


async def test_an_answer_comes_to_the_inbox_of_its_caller(bus: AnyBus) -> None:
    """And to no other one of the same connection."""
    replies: list[str] = []

    def echo(received: object) -> None:
        replies.append(received.reply)  # type: ignore[attr-defined]
        bus.publish(received.reply, received.data)  # type: ignore[attr-defined]

    await bus.subscribe("echo", echo)
    first, second = bus.open_inbox("_INBOX.agent.a.1"), bus.open_inbox("_INBOX.agent.b.1")
    answers = await asyncio.gather(
        first.call("echo", b"1", 5), second.call("echo", b"2", 5), bus.call("echo", b"3", 5)
    )
    assert list(answers) == [b"1", b"2", b"3"]
    assert [reply.rpartition(".")[0] for reply in replies[:2]] == [
        "_INBOX.agent.a.1",
        "_INBOX.agent.b.1",
    ]


async def test_nobody_there_is_known_at_once(bus: AnyBus) -> None:
    """As on the connection's own inbox."""
    with pytest.raises(NoResponders):
        await bus.open_inbox("_INBOX.mine").call("nobody", b"", 30)


async def test_a_closed_inbox_hears_nothing(bus: AnyBus) -> None:
    """Its number is nobody's from then on."""
    await bus.subscribe("echo", lambda received: bus.publish(received.reply, b""))
    inbox = bus.open_inbox("_INBOX.mine")
    assert await inbox.call("echo", b"", 5) == b""
    inbox.close()
    with pytest.raises(TimedOut):
        await inbox.call("echo", b"", 0.05)


async def test_an_inbox_survives_a_restart_of_the_server(
    nats_server: AnyServer, open_bus: OpenBus
) -> None:
    """Who waits at that moment is told; whoever calls later is answered."""
    bus = await open_bus(nats_server)
    inbox = bus.open_inbox("_INBOX.mine")
    await bus.subscribe("silent", lambda _: None)
    await bus.subscribe("echo", lambda received: bus.publish(received.reply, b"yes"))
    waiting = asyncio.ensure_future(inbox.call("silent", b"", 60))
    await bus.ping(5)
    await nats_server.restart()
    with pytest.raises(NotConnected):
        await waiting
    await heard(bus)
    assert await inbox.call("echo", b"", 5) == b"yes"


async def test_an_inbox_that_is_opened_without_a_connection_works_with_the_next(
    nats_server: AnyServer, open_bus: OpenBus
) -> None:
    """Nothing can be called meanwhile."""
    bus = await open_bus(nats_server)
    await bus.subscribe("echo", lambda received: bus.publish(received.reply, b"yes"))
    await nats_server.kill()
    await eventually(lambda: not bus.connected)
    inbox = bus.open_inbox("_INBOX.mine")
    with pytest.raises(NotConnected):
        await inbox.call("echo", b"", 5)
    await nats_server.start()
    await heard(bus)
    assert await inbox.call("echo", b"", 5) == b"yes"
