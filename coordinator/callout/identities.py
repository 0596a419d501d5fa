"""Whose token it is that a client of NATS shows, and what that client may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from common import texts
from common.join_token import PREFIX, JoinKind, JoinToken, is_for_coordinators
from coordinator.access.callers import AuthorityAwayError, UnknownCredentialError
from coordinator.access.known_answers import KnownAnswers
from coordinator.access.rate_limit import RateLimit
from coordinator.callout.join_tokens import real_join_token
from coordinator.callout.rights import OF_COORDINATOR, OF_SUBSCRIBER, Rights, of_agent
from coordinator.callout.signing_key import SigningKey

CONNECTION_SECONDS: Final = 3600.0
"""How long a connection lasts: by then at the latest it is out whose token was revoked meanwhile,
or whose pod is gone, whatever end the token itself names."""
KNOWN_SECONDS: Final = 30.0
UNKNOWN_SECONDS: Final = 5.0
FAILURES_PER_MINUTE: Final = 60
"""Of one address, and as many at once: tokens that somebody is asked about and are no agent's."""


class WhyKeptOut(StrEnum):
    """The kinds of refusal, each of which is logged now and then."""

    NO_TOKEN = "no token"  # noqa: S105 -- no password
    NOBODYS = "a token that is nobody's"
    FORGED = "a join token of another key"
    REVOKED = "a revoked join token"
    NO_AGENT = "a token of no agent's ServiceAccount"
    TOO_MANY_FAILURES = "too many tokens of one address"
    TOO_OFTEN = "too many connections of one identity"
    AUTHORITY_AWAY = "nobody who would know"


class KeptOutError(Exception):
    """Why a client may not connect; in words for the log, without its token."""

    def __init__(self, kind: WhyKeptOut, words: str) -> None:
        super().__init__(words)
        self.kind = kind


class Identity(msgspec.Struct, frozen=True):
    """Who a client is, for lists; what it may do; until when, in seconds since 1970."""

    name: str
    rights: Rights
    until: float | None = None


class AgentPod(msgspec.Struct, frozen=True):
    """Where an agent's pod runs, and until when its token is good, in seconds since 1970."""

    node: str
    until: float


class KnowsRevoked(Protocol):
    """Which join tokens are revoked."""

    loaded: bool

    def has(self, token: JoinToken) -> bool:
        """Whether a token is revoked."""


class KnowsPods(Protocol):
    """Who knows agents in pods."""

    async def identify(self, token: str) -> AgentPod:
        """Whose token this is. Raises UnknownCredentialError, AuthorityAwayError."""


class Identities:
    """Tells clients by their tokens."""

    def __init__(
        self,
        *,
        key: SigningKey,
        own_token: Callable[[], str | None],
        revoked: KnowsRevoked,
        pods: KnowsPods | None,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """``own_token``: that of the coordinators and of whoever administrates NATS."""
        self._key = key
        self._own_token = own_token
        self._revoked = revoked
        self._pods = pods
        self._wall = wall
        self._known: KnownAnswers[AgentPod | None] = KnownAnswers(
            lambda pod: UNKNOWN_SECONDS if pod is None else KNOWN_SECONDS, clock
        )
        self._failures = RateLimit(FAILURES_PER_MINUTE, clock)

    async def identify(self, token: str, host: str) -> Identity:
        """Who shows this token, from which address. Raises KeptOutError, AuthorityAwayError."""
        if not token:
            raise KeptOutError(WhyKeptOut.NO_TOKEN, "it shows no token")
        if token.startswith(PREFIX):
            return self._joined(token)
        own = self._own_token()
        if own and hmac.compare_digest(own.encode(), token.encode(errors="replace")):
            return Identity("administrator", OF_COORDINATOR)
        if self._pods is not None and is_for_coordinators(token):
            return await self._in_pod(self._pods, token, host)
        raise KeptOutError(WhyKeptOut.NOBODYS, "its token is nobody's")

    def _joined(self, text: str) -> Identity:
        token = real_join_token(self._key, text)
        if token is None:
            words = "its join token was not made with this installation's key"
            raise KeptOutError(WhyKeptOut.FORGED, words)
        if not self._revoked.loaded:
            why = "which join tokens are revoked is not known yet"
            raise AuthorityAwayError(texts.ACCESS_AUTHORITY_AWAY(authority="the store", why=why))
        if self._revoked.has(token):
            raise KeptOutError(WhyKeptOut.REVOKED, f"the join token of {token.name} is revoked")
        until = self._wall() + CONNECTION_SECONDS
        if token.kind is JoinKind.EVENTS:
            return Identity(f"events {token.name}", OF_SUBSCRIBER, until)
        return Identity(f"node {token.name}", of_agent(token.name), until)

    async def _in_pod(self, pods: KnowsPods, token: str, host: str) -> Identity:
        async def ask() -> AgentPod | None:
            # Taken before and given back only by an agent: what is not answered counts, too, or
            # a flood that is never answered would cost its address nothing.
            if self._failures.take(host):
                words = "too many tokens from its address were nobody's, or not answered"
                raise KeptOutError(WhyKeptOut.TOO_MANY_FAILURES, words)
            try:
                pod = await pods.identify(token)
            except UnknownCredentialError:
                return None
            self._failures.give_back(host)
            return pod

        pod = await self._known.get(hashlib.sha256(token.encode()).digest(), ask)
        now = self._wall()
        if pod is None or pod.until <= now:
            words = "its token is of no agent's ServiceAccount here"
            raise KeptOutError(WhyKeptOut.NO_AGENT, words)
        until = min(pod.until, now + CONNECTION_SECONDS)
        return Identity(f"node {pod.node}", of_agent(pod.node), until)
