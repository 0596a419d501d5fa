"""An OpenID Connect issuer: its keys, the tokens that it has signed, and its login.

OpenID Connect Core 1.0 and Discovery 1.0; the cryptography is PyJWT's. Everything that the issuer
answers is bounded and checked like any other stranger's word.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import jwt
import msgspec
from msgspec import Meta

from common import texts
from common.logs import Log
from common.messages import NOT_DECODABLE
from coordinator.access.callers import (
    MOST_GROUPS,
    TOKEN_CHARACTERS,
    AuthorityAwayError,
    Caller,
    UnknownCredentialError,
    Way,
    is_name,
)

ALGORITHMS: Final = ("EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512")
"""Signatures by a key pair only: never a shared secret, and never none."""
LATEST_SECONDS: Final = 253_402_300_799.0
"""The end of the year 9999; no token is good for longer."""
KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})
LEEWAY_SECONDS: Final = 30.0
"""By which clocks may differ."""
ANSWER_SECONDS: Final = 10.0
ANSWER_BYTES: Final = 256 * 1024
KEYS_SECONDS: Final = 3600.0
"""How long keys are good before they are asked for again."""
KEYS_AGAIN_SECONDS: Final = 10.0
"""A key that is not among them leads to one question in so long: strangers name any."""
MOST_KEYS: Final = 100
NO_HEADERS: Final[Mapping[str, str]] = {}

T = TypeVar("T")
_Address = Annotated[str, Meta(max_length=2048)]

log = Log(__name__)


class Discovered(msgspec.Struct):
    """What an issuer says of itself at ``/.well-known/openid-configuration``."""

    issuer: _Address
    jwks_uri: _Address
    authorization_endpoint: _Address = ""
    token_endpoint: _Address = ""
    userinfo_endpoint: _Address = ""
    token_endpoint_auth_methods_supported: list[str] = []
    """How a client proves its secret; ``client_secret_basic`` where nothing is said."""


class _KeySet(msgspec.Struct):
    keys: Annotated[list[dict[str, Any]], Meta(max_length=MOST_KEYS)]


class _Tokens(msgspec.Struct):
    id_token: Annotated[str, Meta(max_length=TOKEN_CHARACTERS)]
    access_token: Annotated[str, Meta(max_length=TOKEN_CHARACTERS)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """What an issuer is asked for."""

    issuer: str
    audience: str
    client_id: str
    """Of the page's login."""
    client_secret: str | None = field(default=None, repr=False)
    user_claim: str = "sub"
    groups_claim: str = "groups"
    scopes: str = "openid profile email groups"


class Issuer:
    """One issuer, asked over HTTP."""

    def __init__(
        self, settings: OidcSettings, http: aiohttp.ClientSession, clock: Callable[[], float]
    ) -> None:
        """``clock`` counts seconds and never jumps."""
        self._settings = settings
        self._http = http
        self._clock = clock
        self._discovered: Discovered | None = None
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()

    # ── tokens ──

    def has_issued(self, token: str) -> bool:
        """Whether a token says that it is of this issuer; nothing is proven by that."""
        return _claims_unproven(token).get("iss") == self._settings.issuer

    async def identify(self, token: str) -> Caller:
        """Whose token this is. Raises UnknownCredentialError, AuthorityAwayError."""
        claims = await self._proven(token, (self._settings.audience, self._settings.client_id))
        return self._caller(claims)

    async def _proven(self, token: str, audiences: Sequence[str]) -> Mapping[str, Any]:
        if len(token) > TOKEN_CHARACTERS:
            raise UnknownCredentialError
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise UnknownCredentialError from None
        key = await self._key(header.get("kid"), header.get("alg"))
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key=key,
                algorithms=[key.algorithm_name],
                audience=list(audiences),
                issuer=self._settings.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as why:
            log.debug("a token was not taken", why=type(why).__name__)
            raise UnknownCredentialError from None
        return claims

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        user, groups = (
            claims.get(self._settings.user_claim),
            claims.get(self._settings.groups_claim),
        )
        until = float(claims["exp"])
        if not isinstance(user, str) or not is_name(user) or until > LATEST_SECONDS:
            raise UnknownCredentialError
        listed = [groups] if isinstance(groups, str) else groups
        names = listed if isinstance(listed, list) else []
        return Caller(
            user=user,
            groups=tuple(n for n in names[:MOST_GROUPS] if isinstance(n, str) and is_name(n)),
            way=Way.OIDC,
            until=until,
        )

    # ── keys ──

    async def _key(self, key_id: object, algorithm: object) -> jwt.PyJWK:
        """The key that a token names. Raises UnknownCredentialError, AuthorityAwayError."""
        found = self._choose(key_id, algorithm)
        if found is None or self._age() > KEYS_SECONDS:
            await self._ask_keys(had=found is not None)
            found = self._choose(key_id, algorithm)
        if found is None:
            raise UnknownCredentialError
        return found

    def _choose(self, key_id: object, algorithm: object) -> jwt.PyJWK | None:
        if isinstance(key_id, str):
            key = self._keys.get(key_id)
            return key if key is not None and key.algorithm_name == algorithm else None
        # Without a name there may be but one of the kind (OpenID Connect Core 1.0, 10.1).
        fitting = [key for key in self._keys.values() if key.algorithm_name == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _age(self) -> float:
        return float("inf") if self._asked_at is None else self._clock() - self._asked_at

    async def _ask_keys(self, *, had: bool) -> None:
        async with self._asking:
            if self._age() < KEYS_AGAIN_SECONDS:
                return
            try:
                discovered = await self.discover()
                found = await self._get(discovered.jwks_uri, _KeySet)
            except AuthorityAwayError as why:
                if not had:
                    raise
                log.warning("the issuer's keys cannot be renewed; the old ones stay", why=str(why))
            else:
                self._keys = dict(_usable(found.keys))
            self._asked_at = self._clock()

    async def discover(self) -> Discovered:
        """What the issuer says of itself. Raises AuthorityAwayError."""
        if self._discovered is None:
            address = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await self._get(address, Discovered)
            if found.issuer != self._settings.issuer:
                raise _away("it calls itself by another name")
            for endpoint in (
                found.jwks_uri,
                found.authorization_endpoint,
                found.token_endpoint,
                found.userinfo_endpoint,
            ):
                if endpoint and not is_safe_address(endpoint):
                    raise _away("it names an address without TLS")
            self._discovered = found
        return self._discovered

    # ── the login of a browser ──

    async def login_address(self, *, redirect: str, state: str, nonce: str, challenge: str) -> str:
        """Where a browser logs in (authorization code, PKCE S256). Raises AuthorityAwayError."""
        discovered = await self.discover()
        if not discovered.authorization_endpoint or not discovered.token_endpoint:
            raise _away("it has no login")
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._settings.client_id,
                "redirect_uri": redirect,
                "scope": self._settings.scopes,
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        begin = discovered.authorization_endpoint
        return f"{begin}{'&' if '?' in begin else '?'}{query}"

    async def log_in(self, *, code: str, verifier: str, redirect: str, nonce: str) -> Caller:
        """Who has logged in, for a code. Raises UnknownCredentialError, AuthorityAwayError."""
        discovered = await self.discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
            "client_id": self._settings.client_id,
        }
        proof: dict[str, str] = {}
        if self._settings.client_secret is not None:
            if "client_secret_post" in discovered.token_endpoint_auth_methods_supported:
                form["client_secret"] = self._settings.client_secret
            else:
                proof = _basic(self._settings.client_id, self._settings.client_secret)
        tokens = await self._post(discovered.token_endpoint, form, proof)
        claims = await self._proven(tokens.id_token, (self._settings.client_id,))
        if claims.get("nonce") != nonce:
            raise UnknownCredentialError
        return self._caller({**await self._told_apart(claims, tokens.access_token), **claims})

    async def _told_apart(self, claims: Mapping[str, Any], token: str) -> Mapping[str, Any]:
        """What the token leaves to be asked for: claims of scopes need not be in it (Core, 5.4)."""
        asked = (await self.discover()).userinfo_endpoint
        wanted = {self._settings.user_claim, self._settings.groups_claim}
        if wanted <= claims.keys() or not asked or not token:
            return {}
        said = await self._get(asked, dict[str, Any], {"Authorization": f"Bearer {token}"})
        if not isinstance(said.get("sub"), str) or said["sub"] != claims.get("sub"):
            raise UnknownCredentialError  # of somebody else (Core, 5.3.2)
        return said

    # ── HTTP ──

    async def _get(self, address: str, shape: type[T], head: Mapping[str, str] = NO_HEADERS) -> T:
        try:
            async with self._http.get(address, headers=head, allow_redirects=False) as answer:
                if answer.status != HTTPStatus.OK:
                    raise _away(f"status {answer.status}")
                return msgspec.json.decode(await _bounded(answer), type=shape)
        except (aiohttp.ClientError, TimeoutError, *NOT_DECODABLE) as why:
            raise _away(type(why).__name__) from why

    async def _post(
        self, address: str, form: Mapping[str, str], head: Mapping[str, str]
    ) -> _Tokens:
        try:
            async with self._http.post(
                address, data=form, headers=head, allow_redirects=False
            ) as answer:
                body = await _bounded(answer)
                if answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}:
                    raise UnknownCredentialError
                if answer.status != HTTPStatus.OK:
                    raise _away(f"status {answer.status}")
                return msgspec.json.decode(body, type=_Tokens)
        except (aiohttp.ClientError, TimeoutError, *NOT_DECODABLE) as why:
            raise _away(type(why).__name__) from why


def is_safe_address(address: str) -> bool:
    """Whether an issuer's address is https, or http on this very host."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "https" or (
        parts.scheme == "http" and host in {"localhost", "127.0.0.1", "::1"}
    )


def read_secret(path: Path) -> str:
    """A client's secret from a file. Raises OSError, ValueError."""
    return path.read_text(encoding="utf-8").strip()


def _basic(user: str, secret: str) -> dict[str, str]:
    """A client's proof in a header, both halves encoded as in a form (RFC 6749, 2.3.1)."""
    proof = base64.b64encode(f"{quote_plus(user)}:{quote_plus(secret)}".encode())
    return {"Authorization": f"Basic {proof.decode()}"}


def _claims_unproven(token: str) -> Mapping[str, Any]:
    try:
        claims: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        return {}
    return claims


def _usable(keys: Sequence[Mapping[str, Any]]) -> list[tuple[str, jwt.PyJWK]]:
    """Keys that sign, by their names; what is none, or none of ours, is left out."""
    usable = []
    for number, key in enumerate(keys):
        if key.get("kty") not in KEY_TYPES or key.get("use", "sig") != "sig":
            continue
        try:
            made = jwt.PyJWK.from_dict(dict(key))
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        if made.algorithm_name in ALGORITHMS:
            usable.append((made.key_id or f"#{number}", made))
    return usable


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = await answer.content.read(ANSWER_BYTES + 1)
    while len(body) <= ANSWER_BYTES and (more := await answer.content.read(ANSWER_BYTES + 1)):
        body += more
    if len(body) > ANSWER_BYTES:
        raise _away("its answer is too long")
    return body


def _away(why: str) -> AuthorityAwayError:
    return AuthorityAwayError(texts.ACCESS_AUTHORITY_AWAY(authority="the OIDC issuer", why=why))
