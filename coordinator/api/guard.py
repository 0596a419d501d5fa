"""Stands before every route: where a request comes from, who asks, and whether they may."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, Self

from aiohttp import hdrs, web

from common import texts
from common.clock import elapsed
from common.text import Text
from coordinator.access.callers import (
    ANYBODY,
    AuthorityAwayError,
    Caller,
    Permission,
    UnknownCredentialError,
)
from coordinator.access.gatekeeper import Authorities, Credential, Gatekeeper
from coordinator.access.origins import is_foreign, is_stranger
from coordinator.access.rate_limit import RateLimit
from coordinator.access.receivers import Receivers
from coordinator.access.sealing import NoKeysError, Seal
from coordinator.api.admission import CurrentPolicy
from coordinator.api.audit import Auditor
from coordinator.api.observation import UNMATCHED, endpoint
from coordinator.api.permissions import (
    LIVE_NODES,
    METRICS,
    PURGE,
    SESSION,
    SET_EVENTS,
    permission_of,
)
from coordinator.api.problems import Refusal, RouteHandler, unavailable
from coordinator.audit import AuditTrail

SAFE: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
CHALLENGE: Final = 'Bearer realm="image-prewarm-service"'
SESSION_COOKIE: Final = "ips-session"
SECURE_PREFIX: Final = "__Host-"
"""Of a cookie that a browser takes over TLS alone, and for this host alone (RFC 6265bis)."""


@dataclass(frozen=True, slots=True)
class Door:
    """How the service is reached, and what of it is behind the door."""

    origin: str | None = None
    """Scheme and authority of ``IPS_PUBLIC_URL``."""
    metrics: bool = False
    """Whether ``/metrics`` asks who asks."""

    def is_secure(self, request: web.Request) -> bool:
        """Whether a browser reaches the service by TLS."""
        return request.secure or (self.origin or "").startswith("https://")

    def cookie(self, name: str, request: web.Request) -> str:
        """The full name of a cookie."""
        return SECURE_PREFIX + name if self.is_secure(request) else name


@dataclass(frozen=True, slots=True)
class Entrance:
    """All that stands between a request and the routes."""

    keeper: Gatekeeper
    seal: Seal
    door: Door = Door()
    wall: Callable[[], float] = time.time
    """Seconds since 1970."""
    warning: Text | None = None
    """Told to everybody who looks at the page."""
    policy: CurrentPolicy | None = None
    """What callers may warm; without one whoever may create may create anything."""
    receivers: Receivers | None = None
    """Which addresses webhooks may reach; without it they are not looked at here."""
    requests: RateLimit = field(default_factory=lambda: RateLimit(0, elapsed))
    """Of one caller."""
    failures: RateLimit = field(default_factory=lambda: RateLimit(0, elapsed))
    """Tokens from one address that are not known."""
    audit: AuditTrail = field(default_factory=AuditTrail)

    @classmethod
    def wide_open(cls) -> Self:
        """Nobody is asked who they are."""
        seal = Seal(list, time.time)
        return cls(Gatekeeper(Authorities(), seal, clock=elapsed, wall=time.time), seal)


class Held:
    """The credential of a request that goes on for long."""

    def __init__(
        self, keeper: Gatekeeper, credential: Credential | None, permission: Permission
    ) -> None:
        self._keeper = keeper
        self._credential = credential
        self._permission = permission

    async def ends(self) -> None:
        """Return once it is no longer good, or no longer good enough."""
        await self._keeper.until_it_ends(self._credential, self._permission)


CALLER: Final = web.RequestKey("caller", Caller)
HELD: Final = web.RequestKey("held", Held)


class Guard:
    """The middleware, and what routes ask of it."""

    def __init__(self, entrance: Entrance) -> None:
        self.keeper = entrance.keeper
        self.door = entrance.door
        self._auditor = Auditor(entrance.audit, entrance.wall)
        self._requests = entrance.requests
        self._failures = entrance.failures

    @web.middleware
    async def check(self, request: web.Request, handler: RouteHandler) -> web.StreamResponse:
        """Refuse, or let the request on with its caller; what is changed or refused is noted."""
        pattern = endpoint(request)
        permission = None if pattern == UNMATCHED else permission_of(request.method, pattern)
        try:
            response = await self._check(request, handler, permission)
        except Refusal as refusal:
            self._auditor.refused(request, refusal, request.get(CALLER, ANYBODY), permission)
            raise
        if request.method not in SAFE or pattern == f"{SESSION}/callback":
            self._auditor.answered(request, response, request.get(CALLER, ANYBODY), permission)
        return response

    async def _check(
        self, request: web.Request, handler: RouteHandler, permission: Permission | None
    ) -> web.StreamResponse:
        self._check_origin(request)
        pattern = endpoint(request)
        if permission is None or (pattern == METRICS and not self.door.metrics):
            return await handler(request)
        credential = self.credential(request)
        caller = await self.caller(credential, request.remote)
        request[CALLER] = caller
        self._count(caller)
        await self.demand(caller, permission)
        if request.query.get("live") == "true" and "{id}" not in pattern:
            await self.demand(caller, LIVE_NODES)
        if request.query.get("sets") == "true":
            await self.demand(caller, SET_EVENTS)
        if request.query.get("purge") == "true":
            await self.demand(caller, PURGE)
        request[HELD] = Held(self.keeper, credential, permission)
        return await handler(request)

    def _check_origin(self, request: web.Request) -> None:
        headers, origin = request.headers, self.door.origin
        host = headers.get(hdrs.HOST)
        if _is_on_loopback(request) and is_stranger(host, origin):
            text = texts.ACCESS_STRANGE_HOST(host=host or "")
            raise Refusal(HTTPStatus.MISDIRECTED_REQUEST, text)
        if request.method in SAFE:
            return
        if is_foreign(headers.get("Sec-Fetch-Site"), headers.get(hdrs.ORIGIN), host, origin):
            raise Refusal(HTTPStatus.FORBIDDEN, texts.ACCESS_FOREIGN())

    def credential(self, request: web.Request) -> Credential | None:
        """What the request proves its caller with. A token goes before a cookie."""
        given = request.headers.get(hdrs.AUTHORIZATION)
        if given is not None:
            scheme, _, token = given.partition(" ")
            return Credential(token.strip() if scheme.lower() == "bearer" else "")
        sealed = request.cookies.get(self.door.cookie(SESSION_COOKIE, request))
        return Credential(sealed, is_session=True) if sealed else None

    async def caller(self, credential: Credential | None, address: str | None) -> Caller:
        """Who asks, from where. Raises the Refusal to answer where that is not known."""
        wait = self._failures.wait(address)
        if wait and not self.keeper.is_at_hand(credential):
            raise _too_often(texts.LOGINS_TOO_MANY(seconds=_whole(wait)), wait)
        try:
            return await self.keeper.identify(credential)
        except UnknownCredentialError:
            if credential is not None and not credential.is_session:
                self._failures.take(address)
            raise _unidentified(credential) from None
        except AuthorityAwayError as away:
            raise unavailable(away.text) from away
        except NoKeysError:
            raise unavailable(texts.ACCESS_NO_KEYS()) from None

    def _count(self, caller: Caller) -> None:
        """Raise the Refusal to answer where somebody asks too often."""
        if not caller.is_known:
            return
        wait = self._requests.take((caller.way, caller.user))
        if wait:
            text = texts.REQUESTS_TOO_MANY(user=caller.user, seconds=_whole(wait))
            raise _too_often(text, wait)

    async def demand(self, caller: Caller, permission: Permission) -> None:
        """Raise the Refusal to answer where a caller may not do something."""
        try:
            allowed = await self.keeper.may(caller, permission)
        except AuthorityAwayError as away:
            raise unavailable(away.text) from away
        if not allowed:
            raise Refusal(HTTPStatus.FORBIDDEN, _forbidden(caller, permission))


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))


def _too_often(text: Text, wait: float) -> Refusal:
    headers = {"Retry-After": str(_whole(wait))}
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, text, headers=headers)


def _unidentified(credential: Credential | None) -> Refusal:
    challenge, text = CHALLENGE, texts.ACCESS_UNIDENTIFIED()
    if credential is not None:
        text = texts.ACCESS_SESSION_OVER() if credential.is_session else texts.ACCESS_UNKNOWN()
        if not credential.is_session:
            challenge += ', error="invalid_token"'
    headers = {str(hdrs.WWW_AUTHENTICATE): challenge}
    return Refusal(HTTPStatus.UNAUTHORIZED, text, headers=headers)


def _forbidden(caller: Caller, permission: Permission) -> Text:
    return texts.ACCESS_FORBIDDEN(
        user=caller.user, verb=permission.verb, resource=permission.resource
    )


def _is_on_loopback(request: web.Request) -> bool:
    """Whether a request came to this machine's own address for itself."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    if not isinstance(name, tuple):
        return False
    address = ip_address(str(name[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
