"""Asks of the API server: bounded in number and in time, whoever floods them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from coordinator.access.api_server_asks import AT_ONCE, MOST_WAITING, ApiServerAsks
from coordinator.access.callers import AuthorityAwayError, UnknownCredentialError
from coordinator.nodes.api_server import ApiServerError
from sandbox.virtual.time import virtual

SECONDS = 2.0


class Server:
    """Connections to an API server, counted."""

    def __init__(self) -> None:
        self.open = 0
        self.opened = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[int]:
        """One more."""
        self.open += 1
        self.opened += 1
        try:
            yield self.opened
        finally:
            self.open -= 1


async def never(asks: ApiServerAsks[int]) -> None:
    """An ask that nobody answers."""
    async with asks.ask():
        await asyncio.Event().wait()


@virtual
async def test_an_ask_ends_in_time_though_all_places_are_taken() -> None:
    """And nothing of it is left: who comes afterwards is asked for at once."""
    server = Server()
    asks = ApiServerAsks(server.connect, SECONDS)
    flood = [asyncio.create_task(never(asks)) for _ in range(3 * AT_ONCE)]
    await asyncio.sleep(SECONDS / 2)
    assert server.open == AT_ONCE
    began = asyncio.get_running_loop().time()
    with pytest.raises(AuthorityAwayError):
        await never(asks)
    assert asyncio.get_running_loop().time() - began == SECONDS
    ended = await asyncio.gather(*flood, return_exceptions=True)
    assert {type(each) for each in ended} == {AuthorityAwayError}
    assert server.open == 0
    async with asks.ask() as number:
        assert number == server.opened


@virtual
async def test_more_than_may_wait_are_sent_away_at_once() -> None:
    """So that what waits is bounded."""
    server = Server()
    asks = ApiServerAsks(server.connect, SECONDS)
    flood = [asyncio.create_task(never(asks)) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    with pytest.raises(AuthorityAwayError, match="at once"):
        await never(asks)
    assert asyncio.get_running_loop().time() == began
    await asyncio.gather(*flood, return_exceptions=True)
    assert server.opened < MOST_WAITING


@virtual
async def test_what_is_wrong_in_the_block_is_the_authority_s_or_the_credential_s() -> None:
    """A fault of the API server is an authority that is away; what was found out is not."""
    asks = ApiServerAsks(Server().connect, SECONDS)
    with pytest.raises(AuthorityAwayError, match="gone"):
        async with asks.ask():
            raise ApiServerError("gone")
    with pytest.raises(UnknownCredentialError):
        async with asks.ask():
            raise UnknownCredentialError
