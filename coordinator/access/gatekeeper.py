"""Who a credential belongs to, and what they may do: asks whoever is to be asked, and remembers.

A token goes to one authority alone: the file of tokens where it is known there, the OIDC issuer
where it names that, else Kubernetes. What Kubernetes answers is good for ``POSITIVE_SECONDS``.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from coordinator.access.callers import (
    ANYBODY,
    TOKEN_CHARACTERS,
    AuthorityAwayError,
    Caller,
    Permission,
    Right,
    UnknownCredentialError,
    Way,
)
from coordinator.access.known_answers import KnownAnswers
from coordinator.access.oidc import Issuer
from coordinator.access.roles import Groups, may
from coordinator.access.sealing import CallerSession, NoKeysError, Seal, SealedSession, TokenSession
from coordinator.access.token_file import TokenFile

POSITIVE_SECONDS: Final = 30.0
NEGATIVE_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 10.0
"""Between two looks whether a credential in use still holds."""


class Reviews(Protocol):
    """An authority that knows tokens and permissions (Kubernetes)."""

    async def identify(self, token: str) -> Caller:
        """Whose token this is. Raises UnknownCredentialError, AuthorityAwayError."""

    async def may(self, caller: Caller, right: Right) -> bool:
        """Whether a caller may do something. Raises AuthorityAwayError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """Who is asked. With none of them nobody is asked who they are."""

    tokens: TokenFile | None = None
    issuer: Issuer | None = None
    kubernetes: Reviews | None = None
    groups: Groups = field(default_factory=dict)
    """The roles of groups, for callers that are not Kubernetes' own."""

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked."""
        return self.tokens is None and self.issuer is None and self.kubernetes is None


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request proves its caller with: a token, or a sealed session."""

    value: str = field(repr=False)
    is_session: bool = False


class Gatekeeper:
    """Identifies callers, and says what they may do."""

    def __init__(
        self,
        authorities: Authorities,
        seal: Seal,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        session_seconds: float = 8 * 3600.0,
    ) -> None:
        """``clock`` counts seconds and never jumps; ``wall``: seconds since 1970."""
        self.authorities = authorities
        self._seal = seal
        self._wall = wall
        self._session_seconds = session_seconds
        self._callers: KnownAnswers[Caller | None] = KnownAnswers(_good_for, clock)
        self._allowed: KnownAnswers[bool] = KnownAnswers(_good_for, clock)

    # ── who ──

    async def identify(self, credential: Credential | None) -> Caller:
        """Whose credential this is.

        Raises UnknownCredentialError, AuthorityAwayError, and NoKeysError for a session.
        """
        if self.authorities.is_open:
            return ANYBODY
        if credential is None:
            raise UnknownCredentialError
        caller = (
            await self._of_session(credential.value)
            if credential.is_session
            else await self._of_token(credential.value)
        )
        if caller.until is not None and caller.until <= self._wall():
            raise UnknownCredentialError
        return caller

    async def _of_session(self, sealed: str) -> Caller:
        match self._seal.open(sealed, (TokenSession, CallerSession)):
            case TokenSession(token=token, until=until):
                caller = await self._of_token(token)
                ends = until if caller.until is None else min(until, caller.until)
                return replace(caller, until=ends)
            case CallerSession(user=user, groups=groups, way=way, until=until):
                if way is not Way.OIDC or self.authorities.issuer is None:
                    raise UnknownCredentialError  # the way was taken out of the settings since
                return Caller(user=user, groups=groups, way=way, until=until)
            case _:
                raise UnknownCredentialError

    async def _of_token(self, token: str) -> Caller:
        asked = self.authorities
        if not token or len(token) > TOKEN_CHARACTERS:
            raise UnknownCredentialError
        if asked.tokens is not None:
            try:
                return asked.tokens.identify(token)
            except UnknownCredentialError:
                if asked.issuer is None and asked.kubernetes is None:
                    raise
        if asked.issuer is not None and asked.issuer.has_issued(token):
            return await asked.issuer.identify(token)
        if asked.kubernetes is None:
            raise UnknownCredentialError
        return await self._of_kubernetes(asked.kubernetes, token)

    async def _of_kubernetes(self, kubernetes: Reviews, token: str) -> Caller:
        async def ask() -> Caller | None:
            try:
                return await kubernetes.identify(token)
            except UnknownCredentialError:
                return None

        caller = await self._callers.get(_hash(token), ask)
        if caller is None:
            raise UnknownCredentialError
        return caller

    def is_at_hand(self, credential: Credential | None) -> bool:
        """Whether nobody else has to be asked about a credential: whoever is known goes on."""
        asked = self.authorities
        if asked.is_open or credential is None or credential.is_session:
            return True
        if asked.tokens is not None and asked.tokens.knows(credential.value):
            return True
        known = self._callers.at_hand(_hash(credential.value))
        return known is not None

    # ── what ──

    async def may(self, caller: Caller, right: Right) -> bool:
        """Whether a caller may do something. Raises AuthorityAwayError."""
        kubernetes = self.authorities.kubernetes
        if self.authorities.is_open:
            return True
        if not caller.is_known:
            return False
        if caller.way is not Way.KUBERNETES or kubernetes is None:
            return may(caller, right, self.authorities.groups)
        return await self._allowed.get((caller, right), lambda: kubernetes.may(caller, right))

    async def may_still(self, caller: Caller, right: Right) -> bool:
        """Whether somebody who has asked before may do something now. Raises AuthorityAwayError.

        A user of the file of tokens is who they are there by now, and nobody once they are gone.
        """
        asked, way = self.authorities, caller.way
        if asked.is_open:
            return await self.may(caller, right)
        if way is not Way.TOKENS:
            authority = asked.issuer if way is Way.OIDC else asked.kubernetes
            return authority is not None and await self.may(caller, right)
        tokens = asked.tokens
        return tokens is not None and any(
            [await self.may(each, right) for each in tokens.callers(caller.user)]
        )

    # ── sessions ──

    async def session_of(self, token: str) -> tuple[Caller, str]:
        """A session for whoever holds a token. Raises as ``identify``, and TooLargeError."""
        caller = await self.identify(Credential(token))
        session = TokenSession(token=token, until=self._wall() + self._session_seconds)
        return caller, self._seal.seal(session)

    def session_for(self, caller: Caller) -> str:
        """A session for somebody who has just logged in. Raises NoKeysError, TooLargeError."""
        session: SealedSession = CallerSession(
            user=caller.user,
            groups=caller.groups,
            way=caller.way,
            until=self._wall() + self._session_seconds,
        )
        return self._seal.seal(session)

    # ── as long as it holds ──

    async def until_it_ends(self, credential: Credential | None, permission: Permission) -> None:
        """Return once a credential in use is no longer good, or no longer good enough.

        Who cannot be asked has not refused: the next look tells.
        """
        while True:
            left = LOOK_SECONDS
            try:
                caller = await self.identify(credential)
                if not await self.may(caller, permission):
                    return
                if caller.until is not None:
                    left = min(left, caller.until - self._wall())
            except UnknownCredentialError:
                return
            except (AuthorityAwayError, NoKeysError):
                pass
            await asyncio.sleep(max(left, 0.0))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _good_for(answer: object) -> float:
    return POSITIVE_SECONDS if answer else NEGATIVE_SECONDS
