"""Looks after the certificates that NATS's servers show: whose ends soon reads its files anew.

A nats-server reads them at its start, and when it is told to. It takes new ones for clients and for
routes, and sends away whoever was let in by the coordinators, who come again at once (tried with
2.15.1): so it is told late, and one server after the other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import msgspec
from msgspec import Meta

from common.bus import BusError, BusSettings, CoreNats, NotConnected, Received, TimedOut
from common.logs import Log
from common.messages import NOT_DECODABLE
from coordinator.callout.rights import SERVERS, read_anew
from coordinator.callout.server_settings import SYSTEM_USER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOK_SECONDS: Final = 600.0
LEFT_SECONDS: Final = 25 * 86_400.0
"""Whoever renews certificates has done so by then, and the kubelet has brought them: ours are made
anew with thirty days left, as cert-manager's are by default."""
WARN_SECONDS: Final = 14 * 86_400.0
"""Whoever has less left has been told to read it anew some twenty times, and has found no other."""
AGAIN_SECONDS: Final = 12 * 3600.0
"""A server that had nothing new to read is told again so much later."""
ANSWER_SECONDS: Final = 2.0
CONNECT_SECONDS: Final = 10.0
MOST_SERVERS: Final = 1000

log = Log(__name__)

_ServerId = Annotated[str, Meta(pattern="^N[A-Z2-7]{55}$")]


class _Fault(msgspec.Struct):
    code: int = 0
    description: Annotated[str, Meta(max_length=4096)] = ""


class _Told(msgspec.Struct):
    error: _Fault | None = None


class _About(msgspec.Struct):
    id: _ServerId
    name: Annotated[str, Meta(max_length=256)] = ""


class _State(msgspec.Struct):
    tls_cert_not_after: datetime | None = None


class _Answer(msgspec.Struct):
    server: _About
    data: _State


_read_told = msgspec.json.Decoder(_Told).decode
_read_answer = msgspec.json.Decoder(_Answer).decode


class Certificates:
    """Keep ``run`` running."""

    def __init__(
        self,
        settings: BusSettings,
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``settings``: of the coordinators' own user; ``clock`` counts seconds."""
        self._settings = replace(settings, user=SYSTEM_USER, name="ips-certificates")
        self._clock = clock
        self._now = now
        self._told: dict[str, float] = {}

    async def run(self) -> NoReturn:
        """Look now and then, for ever; not all coordinators at once."""
        while True:
            await asyncio.sleep(LOOK_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
            try:
                await self.look()
            except (BusError, TimeoutError) as why:
                log.debug("NATS's servers cannot be asked for their certificates", why=str(why))

    async def look(self) -> None:
        """Tell one server whose certificate ends soon. Raises BusError, TimeoutError."""
        async with self._connected() as connection:
            late = await self._late(connection)
            for server, ends in late.items():
                if self._clock() - self._told.get(server, -AGAIN_SECONDS) < AGAIN_SECONDS:
                    continue
                self._told[server] = self._clock()
                await self._tell(connection, server, ends)
                return

    async def _tell(self, connection: CoreNats, server: str, ends: datetime) -> None:
        log.info("a server of NATS reads its certificate anew", server=server, ends=ends)
        if (ends - self._now()).total_seconds() < WARN_SECONDS:
            log.warning(
                "the certificate of a server of NATS ends soon, and it has found no other; see its "
                "files, and the Secret that they are of",
                server=server,
                ends=ends,
            )
        with suppress(NotConnected, TimedOut):  # by the server itself, where it is ours
            answer = await connection.call(read_anew(server), b"{}", ANSWER_SECONDS)
            if why := _refusal(answer):
                log.warning("a server of NATS cannot read its files anew", server=server, why=why)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[CoreNats]:
        connection = CoreNats(self._settings)
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.establish()
        try:
            yield connection
        finally:
            await connection.close()

    async def _late(self, connection: CoreNats) -> Mapping[str, datetime]:
        """When whose certificate ends, of those that end soon, the first first."""
        found: dict[str, datetime] = {}

        def take(received: Received) -> None:
            try:
                answer = _read_answer(received.data)
            except NOT_DECODABLE:
                return  # of another version of NATS, maybe
            if answer.data.tls_cert_not_after is not None and len(found) < MOST_SERVERS:
                found[answer.server.id] = answer.data.tls_cert_not_after

        inbox = f"{connection.inbox}.servers"
        subscription = await connection.subscribe(inbox, take)
        connection.publish(SERVERS, b"{}", inbox)
        await asyncio.sleep(ANSWER_SECONDS)  # nobody says how many servers there are
        subscription.close()
        ends = sorted(found.items(), key=lambda each: each[1])
        now = self._now()
        return {server: end for server, end in ends if (end - now).total_seconds() < LEFT_SECONDS}


def _refusal(answer: bytes) -> str:
    """Why a server has not done as it was told; empty where it has."""
    try:
        error = _read_told(answer).error
    except NOT_DECODABLE:
        return "its answer cannot be understood"
    return "" if error is None else f"{error.code} {error.description}"
