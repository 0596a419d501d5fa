"""Routes of the page's sessions: who am I, log in by a token or at the OIDC issuer, log out."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from aiohttp import hdrs, web
from msgspec import UNSET, inspect

from common import texts
from common.text import Text
from coordinator import caller_documents
from coordinator.access.callers import (
    ANYBODY,
    TOKEN_CHARACTERS,
    AuthorityAwayError,
    Caller,
    UnknownCredentialError,
)
from coordinator.access.gatekeeper import Credential
from coordinator.access.oidc import Issuer
from coordinator.access.sealing import LOGIN_SECONDS, Login, NoKeysError, TooLargeError
from coordinator.api.answers import json_answer
from coordinator.api.bodies import read_json
from coordinator.api.faults import faults, rule
from coordinator.api.guard import CALLER, SESSION_COOKIE, Entrance, Guard
from coordinator.api.permissions import READ_AUDIT, SESSION
from coordinator.api.problems import Refusal, bad_request, unavailable
from coordinator.views.texts import shown
from coordinator.views.times import milliseconds

LOGIN_COOKIE: Final = "ips-login"
LOGIN: Final = f"{SESSION}/login"
CALLBACK: Final = f"{SESSION}/callback"
_RANDOM_BYTES: Final = 32
_PLACE: Final = re.compile(r"#/[A-Za-z0-9_\-/?=&.%+,]{0,500}")
"""A place of the page; whatever else is asked for leads to its beginning."""
_PARAMETER_CHARACTERS: Final = 4096


def _demand_token(value: Any) -> Text:
    """As for any text, but what is one is not repeated."""
    length = len(value) if isinstance(value, str) else 0
    return texts.VALUE_LENGTH(least=1, most=TOKEN_CHARACTERS, length=length)


class OpenSession(msgspec.Struct, forbid_unknown_fields=True):
    """Who wants a session, by a token."""

    token: Annotated[
        str,
        rule(
            min_length=1,
            max_length=TOKEN_CHARACTERS,
            demand=_demand_token,
            description="As in `Authorization: Bearer …`. It is sealed into a cookie, and stored "
            "nowhere here.",
        ),
    ]


_SHAPE: Final = inspect.type_info(OpenSession)


class Sessions:
    """The routes."""

    def __init__(self, guard: Guard, entrance: Entrance) -> None:
        self._guard = guard
        self._seal = entrance.seal
        self._wall = entrance.wall
        self._warning = entrance.warning

    # ── by a token ──

    async def get(self, request: web.Request) -> web.Response:
        """``GET /api/v1/session``: who asks. Nobody is refused: the page asks how to log in."""
        try:
            caller = await self._guard.caller(self._guard.credential(request), request.remote)
        except Refusal as refusal:
            if refusal.status is not HTTPStatus.UNAUTHORIZED:
                raise
            caller = ANYBODY
        return json_answer(await self._document(caller))

    async def open(self, request: web.Request) -> web.Response:
        """``POST /api/v1/session``."""
        token = await read_json(request, _read_token)
        if self._guard.keeper.authorities.is_open:
            raise Refusal(HTTPStatus.NOT_FOUND, texts.ACCESS_NO_LOGIN())
        await self._guard.caller(Credential(token), request.remote)
        try:
            caller, sealed = await self._guard.keeper.session_of(token)
        except TooLargeError:
            raise _too_large() from None
        except NoKeysError:
            raise unavailable(texts.ACCESS_NO_KEYS()) from None
        request[CALLER] = caller
        response = json_answer(await self._document(caller))
        self._set_session(request, response, sealed)
        return response

    async def close(self, request: web.Request) -> web.Response:
        """``DELETE /api/v1/session``."""
        with suppress(Refusal):  # whoever is not known any more logs out, too
            credential = self._guard.credential(request)
            request[CALLER] = await self._guard.caller(credential, request.remote)
        response = json_answer(await self._document(ANYBODY))
        self._drop(request, response, SESSION_COOKIE)
        return response

    # ── at the issuer ──

    async def log_in(self, request: web.Request) -> web.Response:
        """``GET /api/v1/session/login``: to the issuer, with what is to come back in a cookie."""
        issuer, redirect = self._issuer()
        place = request.query.get("place", "")
        login = Login(
            state=secrets.token_urlsafe(_RANDOM_BYTES),
            nonce=secrets.token_urlsafe(_RANDOM_BYTES),
            verifier=secrets.token_urlsafe(_RANDOM_BYTES),
            place=place if _PLACE.fullmatch(place) else "",
            until=self._wall() + LOGIN_SECONDS,
        )
        try:
            address = await issuer.login_address(
                redirect=redirect,
                state=login.state,
                nonce=login.nonce,
                challenge=challenge(login.verifier),
            )
            sealed = self._seal.seal(login)
        except AuthorityAwayError as away:
            raise unavailable(away.text) from away
        except NoKeysError:
            raise unavailable(texts.ACCESS_NO_KEYS()) from None
        response = _to(address)
        # Lax: the issuer's page leads back here, and a stricter cookie would stay behind.
        response.set_cookie(
            self._guard.door.cookie(LOGIN_COOKIE, request),
            sealed,
            max_age=int(LOGIN_SECONDS),
            path="/",
            secure=self._guard.door.is_secure(request),
            httponly=True,
            samesite="Lax",
        )
        return response

    async def callback(self, request: web.Request) -> web.Response:
        """``GET /api/v1/session/callback``: back from the issuer, at whichever replica."""
        issuer, redirect = self._issuer()
        login = self._login(request)
        code = request.query.get("code", "")
        if not code or len(code) > _PARAMETER_CHARACTERS:
            why = request.query.get("error", "the issuer has sent no code")
            raise _failed(HTTPStatus.UNAUTHORIZED, why)
        try:
            caller = await issuer.log_in(
                code=code, verifier=login.verifier, redirect=redirect, nonce=login.nonce
            )
            sealed = self._guard.keeper.session_for(caller)
        except UnknownCredentialError:
            why = "the issuer's answer is not for this login"
            raise _failed(HTTPStatus.UNAUTHORIZED, why) from None
        except AuthorityAwayError as away:
            raise unavailable(away.text) from away
        except TooLargeError:
            raise _too_large() from None
        request[CALLER] = caller
        response = _to(f"/{login.place}")
        self._set_session(request, response, sealed)
        self._drop(request, response, LOGIN_COOKIE)
        return response

    def _issuer(self) -> tuple[Issuer, str]:
        issuer, origin = self._guard.keeper.authorities.issuer, self._guard.door.origin
        if issuer is None or origin is None:
            raise Refusal(HTTPStatus.NOT_FOUND, texts.ACCESS_NO_LOGIN())
        return issuer, f"{origin}{CALLBACK}"

    def _login(self, request: web.Request) -> Login:
        """The login that this browser has begun."""
        sealed = request.cookies.get(self._guard.door.cookie(LOGIN_COOKIE, request), "")
        try:
            login = self._seal.open(sealed, Login)
        except NoKeysError:
            raise unavailable(texts.ACCESS_NO_KEYS()) from None
        state = request.query.get("state", "").encode(errors="replace")
        if login is None or not secrets.compare_digest(login.state.encode(), state):
            why = "this browser has begun none, or more than ten minutes ago"
            raise _failed(HTTPStatus.UNAUTHORIZED, why)
        return login

    # ── what is answered ──

    async def _document(self, caller: Caller) -> caller_documents.Session:
        said = shown(self._warning)
        reads_audit = False
        with suppress(AuthorityAwayError):
            reads_audit = await self._guard.keeper.may(caller, READ_AUDIT)
        return caller_documents.Session(
            identified=caller.is_known,
            required=not self._guard.keeper.authorities.is_open,
            user=caller.user or UNSET,
            groups=list(caller.groups),
            way=caller.way,
            expires_at=UNSET if caller.until is None else milliseconds(int(caller.until * 1000)),
            reads_audit=reads_audit,
            logins=self._logins(),
            message=said.message,
            message_code=said.code,
            message_params=said.params,
        )

    def _logins(self) -> list[str]:
        authorities = self._guard.keeper.authorities
        if authorities.is_open:
            return []
        has_oidc = authorities.issuer is not None and self._guard.door.origin is not None
        return ["token", "oidc"] if has_oidc else ["token"]

    def _set_session(self, request: web.Request, response: web.Response, sealed: str) -> None:
        door = self._guard.door
        response.set_cookie(
            door.cookie(SESSION_COOKIE, request),
            sealed,
            path="/",
            secure=door.is_secure(request),
            httponly=True,
            samesite="Strict",
        )

    def _drop(self, request: web.Request, response: web.Response, name: str) -> None:
        door = self._guard.door
        response.del_cookie(
            door.cookie(name, request), path="/", secure=door.is_secure(request), httponly=True
        )


def challenge(verifier: str) -> str:
    """What a PKCE verifier is known by beforehand (RFC 7636, S256)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _to(address: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={hdrs.LOCATION: address})


def _read_token(body: Any) -> str:
    if found := list(faults(_SHAPE, body)):
        raise bad_request(found)
    return msgspec.convert(body, OpenSession).token


def _failed(status: HTTPStatus, why: str) -> Refusal:
    return Refusal(status, texts.ACCESS_LOGIN_FAILED(why=why))


def _too_large() -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, texts.ACCESS_SESSION_TOO_LARGE())
