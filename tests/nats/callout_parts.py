"""A real nats-server that asks about its clients, and a coordinator's part that answers it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from common import subjects
from common.bus import Bus, BusSettings, CoreNats, KeyValue
from common.clock import elapsed
from common.join_token import JoinKind
from coordinator.callout.callout import Callout
from coordinator.callout.identities import Identities
from coordinator.callout.join_tokens import new_join_token
from coordinator.callout.revocations import Revocations
from coordinator.callout.server_settings import USER, authorization
from coordinator.callout.signing_key import SigningKey, new_seed
from coordinator.streams import definitions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from coordinator.callout.identities import KnowsPods
    from tests.fixtures.nats import NatsServer, StartNats

TOKEN = "s3cret"


class AskingNats:
    """The server, the coordinator's bus on it, and what makes connections of others."""

    def __init__(self, server: NatsServer, key: SigningKey, opened: AsyncExitStack) -> None:
        self.server = server
        self.key = key
        self.bus: Any
        self.revoked = Revocations()
        self._opened = opened
        self._answering: list[asyncio.Task[Any]] = []

    def join_token(self, name: str, kind: JoinKind = JoinKind.NODE) -> str:
        """A token of this installation's."""
        return str(new_join_token(self.key, kind, name, time.time()))

    async def run(self, connection: CoreNats) -> None:
        """Keep a connection until the end of the test."""
        running = asyncio.create_task(connection.run())

        async def close() -> None:
            await connection.close()
            await running

        self._opened.push_async_callback(close)

    async def agent(self, node: str, **settings: Any) -> CoreNats:
        """Connect as a node's agent does."""
        given = {"token": self.join_token(node), "inbox": subjects.inboxes_of(node)} | settings
        connection = await CoreNats.connect(BusSettings(servers=(self.server.url,), **given))
        await self.run(connection)
        return connection

    async def answer(
        self,
        pods: KnowsPods | None = None,
        *,
        follow: bool = True,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        """Answer the server from now on, knowing what is revoked."""
        identities = Identities(
            key=self.key,
            own_token=lambda: TOKEN,
            revoked=self.revoked,
            pods=pods,
            clock=clock,
            wall=time.time,
        )
        callout = Callout(
            bus=self.bus, key=self.key, identities=identities, clock=clock, wall=time.time
        )
        self._answering = [asyncio.create_task(callout.run())]
        if follow:
            following = self.revoked.run(KeyValue(self.bus, subjects.KEYS_BUCKET))
            self._answering.append(asyncio.create_task(following))
        while not self.revoked.loaded:
            await asyncio.sleep(0.005)
        await self.bus.ping(5)

    async def silent(self) -> None:
        """Answer no more."""
        for task in self._answering:
            task.cancel()
        if self._answering:
            await asyncio.wait(self._answering)


@asynccontextmanager
async def asking_nats(
    start_nats: StartNats,
    *,
    tls: Mapping[str, str] | None = None,
    ca: Path | None = None,
    **authorized: Any,
) -> AsyncIterator[AskingNats]:
    """Start one, with all streams; nobody answers it yet. ``authorized``: settings of that.

    ``tls``: what it shows, and ``ca`` is whom clients trust.
    """
    key = SigningKey(new_seed())
    more = {} if tls is None else {"tls": tls}
    asks = authorization(key.issuer, TOKEN) | authorized
    server = await start_nats(authorization=asks, **more)
    async with AsyncExitStack() as opened:
        nats = AskingNats(server, key, opened)
        nats.bus = await Bus.connect(
            BusSettings(servers=(server.url,), user=USER, token=TOKEN, ca=ca)
        )
        await nats.run(nats.bus)
        for definition in definitions(replicas=1):
            await nats.bus.ensure_stream(definition)
        try:
            yield nats
        finally:
            await nats.silent()
