from __future__ import annotations

import asyncio

import pytest

from common.bus import (
    BusRefused,
    BusSettings,
    CoreNats,
    NoJetStream,
)
from tests.fixtures.nats import NatsServer, OpenBus, StartNats, eventually

pytestmark = pytest.mark.nats


def one_line(error: BaseException) -> str:
    """Take the text of an error that a user is shown."""
    text = str(error)
    assert text
    assert "\n" not in text
    return text


async def test_a_server_that_is_not_there_yet_is_waited_for_and_told_of(
    nats_server: NatsServer, open_bus: OpenBus
) -> None:
    """Nobody listens: the state says so again and again; the server comes: connected."""
    await nats_server.kill()
    told: list[tuple[bool, str]] = []
    opening = asyncio.create_task(
        open_bus(nats_server, on_state=lambda connected, why: told.append((connected, why)))
    )
    await eventually(lambda: len(told) >= 3)
    assert all(
        told_once == (False, f"NATS at {nats_server.url} is not reachable: Connection refused")
        for told_once in told
    )
    await nats_server.start()
    bus = await opening
    assert told[-1] == (True, f"connected to {nats_server.url}")
    assert (bus.connected, bus.state_text) == told[-1]


async def test_pauses_between_tries_grow(
    nats_server: NatsServer, open_bus: OpenBus, pauses: list[float]
) -> None:
    """From none at all up to two seconds, each drawn from zero up."""
    await nats_server.kill()
    opening = asyncio.create_task(open_bus(nats_server))
    await eventually(lambda: len(pauses) >= 6)
    opening.cancel()
    assert pauses[:6] == [0, 0.25, 0.5, 1, 2, 2]


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_a_wrong_token_is_said_at_once(
    start_nats: StartNats, open_bus: OpenBus, token: str | None
) -> None:
    """No waiting for what cannot mend itself; the line names the settings to look at."""
    server = await start_nats(authorization={"token": "right"})
    with pytest.raises(BusRefused) as refused:
        await open_bus(server, token=token)
    line = one_line(refused.value)
    assert server.url in line
    assert "IPS_NATS_TOKEN" in line
    assert "wrong" not in line


async def test_a_server_without_jetstream_is_said_at_once(
    start_nats: StartNats, open_bus: OpenBus
) -> None:
    """A server that cannot store is no use, however long one waits."""
    server = await start_nats(jetstream=None)
    with pytest.raises(NoJetStream) as refused:
        await open_bus(server)
    assert "JetStream is off" in one_line(refused.value)


async def test_who_stores_nothing_needs_no_right_on_jetstream(start_nats: StartNats) -> None:
    """An agent asks coordinators alone: its connection says nothing to JetStream."""
    rights = {"publish": ["said"], "subscribe": ["_INBOX.>"]}
    user = {"user": "u", "password": "p", "permissions": rights}
    server = await start_nats(authorization={"users": [user]})
    settings = BusSettings(servers=(server.url.replace("//", "//u:p@"),))
    bus = await CoreNats.connect(settings)
    assert bus.connected
    await bus.close()
    assert "Violation" not in server.log


async def test_who_stores_nothing_is_told_that_nobody_can(start_nats: StartNats) -> None:
    """A server without JetStream is none that a coordinator uses; it says so by itself."""
    server = await start_nats(jetstream=None)
    with pytest.raises(NoJetStream, match="JetStream is off"):
        await CoreNats.connect(BusSettings(servers=(server.url,)))


async def test_an_account_without_jetstream_is_said_at_once(
    start_nats: StartNats, open_bus: OpenBus
) -> None:
    """The server can store, but not for us."""
    accounts = {"A": {"users": [{"user": "a", "password": "b"}]}}
    server = await start_nats(accounts=accounts)
    with pytest.raises(NoJetStream, match="not enabled for account"):
        await open_bus(server.url.replace("//", "//a:b@"))
