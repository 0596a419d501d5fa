"""Answers NATS's servers about their clients: any coordinator, while it is connected.

A server that is not answered within five seconds sends the client away, which comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn, Protocol

from common.bus import Handler, NotConnected, Received, Subscription
from common.logs import Log, RateLimitedLog
from common.subjects import COORDINATORS
from coordinator.access.callers import AuthorityAwayError
from coordinator.access.rate_limit import RateLimit
from coordinator.callout import protocol
from coordinator.callout.identities import Identity, KeptOutError, WhyKeptOut
from coordinator.callout.protocol import Question
from coordinator.callout.rights import OF_COORDINATOR, OF_SYSTEM, Rights
from coordinator.callout.server_settings import SYSTEM_USER
from coordinator.callout.signing_key import SigningKey

ANSWER_SECONDS: Final = 1.5
"""A server pings a client that it has not admitted yet after two, which some clients misread."""
MOST_AT_ONCE: Final = 4096
CONNECTIONS_PER_MINUTE: Final = 60
"""Of one identity, and as many at once: a stolen token is not to fill a server with connections."""

log = Log(__name__)
kept_out = RateLimitedLog(log)


class CalloutBus(Protocol):
    """What is needed of the bus."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected."""

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Have each message on a subject handled, by one of all who name the same queue."""


class Identifies(Protocol):
    """Who tells clients by their tokens."""

    async def identify(self, token: str, host: str) -> Identity:
        """Who shows this token, from which address. Raises KeptOutError, AuthorityAwayError."""


class Callout:
    """Keep ``run`` running while connected."""

    def __init__(
        self,
        *,
        bus: CalloutBus,
        key: SigningKey,
        identities: Identifies,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """``clock`` counts seconds and never jumps; ``wall`` is the time since 1970."""
        self._bus = bus
        self._key = key
        self._identities = identities
        self._wall = wall
        self._connections = RateLimit(CONNECTIONS_PER_MINUTE, clock)
        self._in_work: set[asyncio.Task[None]] = set()

    async def run(self) -> NoReturn:
        """Answer, for ever."""
        subscription = await self._bus.subscribe(protocol.SUBJECT, self._on_question, COORDINATORS)
        try:
            await asyncio.Event().wait()
        finally:
            subscription.close()
            for task in self._in_work:
                task.cancel()
        raise AssertionError

    def _on_question(self, received: Received) -> None:
        """Take a message in. What raises is logged by the bus."""
        if not received.reply.startswith(protocol.INBOX):
            raise ValueError("its answer would not go to a server")
        question = protocol.read_question(received.data)
        if len(self._in_work) >= MOST_AT_ONCE:
            return
        task = asyncio.create_task(self._answer(question, received.reply))
        self._in_work.add(task)
        task.add_done_callback(self._in_work.discard)

    async def _answer(self, question: Question, reply: str) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                admit = await self._admission(question)
        except KeptOutError as why:
            answer = self._refusal(question, why.kind, str(why))
        except (AuthorityAwayError, TimeoutError) as why:
            said = str(why) or "who would know it does not answer in time"
            answer = self._refusal(question, WhyKeptOut.AUTHORITY_AWAY, said)
        else:
            answer = admit()
        try:
            self._bus.publish(reply, answer)
        except NotConnected:
            log.debug("not connected: a server of NATS is not answered, and its client comes again")

    def _refusal(self, question: Question, kind: WhyKeptOut, why: str) -> bytes:
        kept_out.warning(
            kind,
            "a client of NATS is kept out",
            host=question.host,
            name=question.name,
            why=why,
        )
        return protocol.refusal(self._key, question, self._wall(), why)

    async def _admission(self, question: Question) -> Callable[[], bytes]:
        """Whoever may connect, let in. Raises as ``Identifies``."""
        who = await self._identities.identify(question.token, question.host)
        if who.until is not None and self._connections.take(who.name):
            raise KeptOutError(WhyKeptOut.TOO_OFTEN, f"{who.name} connects too often")
        return partial(
            protocol.admission,
            self._key,
            question,
            who.name,
            _rights(who, question),
            self._wall(),
            who.until,
        )


def _rights(who: Identity, question: Question) -> Rights:
    """Those of an identity; whoever has all may ask for those at the servers themselves instead."""
    is_for_servers = question.user == SYSTEM_USER and who.rights is OF_COORDINATOR
    return OF_SYSTEM if is_for_servers else who.rights
