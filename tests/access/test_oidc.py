"""Tokens and logins of an issuer of the tests' own, with real keys over loopback."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from coordinator.access.callers import AuthorityAwayError, Caller, UnknownCredentialError, Way
from coordinator.access.oidc import (
    ANSWER_BYTES,
    KEYS_AGAIN_SECONDS,
    KEYS_SECONDS,
    Issuer,
    OidcSettings,
    is_safe_address,
)
from coordinator.api.sessions import challenge
from tests.access.hand_clock import HandClock
from tests.fixtures.issuer import FakeIssuer, running_issuer

REDIRECT = "http://localhost:1/api/v1/session/callback"


@pytest.fixture
async def provider() -> AsyncIterator[FakeIssuer]:
    """An issuer."""
    async with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> HandClock:
    """The clock of the one who asks."""
    return HandClock()


@pytest.fixture
async def issuer(provider: FakeIssuer, clock: HandClock) -> AsyncIterator[Issuer]:
    """Who asks it."""
    settings = OidcSettings(issuer=provider.url, audience="ips", client_id="page")
    async with aiohttp.ClientSession() as http:
        yield Issuer(settings, http, clock)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_a_token_is_its_users(provider: FakeIssuer, issuer: Issuer, algorithm: str) -> None:
    """By every kind of key that there is."""
    provider.add_key("k", algorithm)
    token = provider.token("k", exp=int(time.time()) + 60)
    assert issuer.has_issued(token)
    caller = await issuer.identify(token)
    assert (caller.user, caller.groups, caller.way) == ("ann", ("ips-edit",), Way.OIDC)
    assert caller.until == pytest.approx(time.time() + 60, abs=5)
    assert (await issuer.identify(provider.token("k", aud=["x", "page"]))).user == "ann"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e300},
        {"nbf": 4_000_000_000},
        {"aud": "other"},
        {"aud": None},
        {"iss": "https://issuer.example"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "a" * 300},
        {"sub": 7},
    ],
)
async def test_a_token_for_others_is_nobodys(
    provider: FakeIssuer, issuer: Issuer, claims: dict[str, Any]
) -> None:
    """Over, not yet, for another audience, of another issuer, or without a name."""
    with pytest.raises(UnknownCredentialError):
        await issuer.identify(provider.token(**claims))


async def test_groups_may_be_anything(provider: FakeIssuer, issuer: Issuer) -> None:
    """What is no name is left out."""
    for groups, known in (
        ("one", ("one",)),
        (["a", 1, "", "b\x00", "c" * 300, "d"], ("a", "d")),
        ({"a": 1}, ()),
        (None, ()),
    ):
        assert (await issuer.identify(provider.token(groups=groups))).groups == known


def forged_by_nobody(provider: FakeIssuer) -> str:
    """Unsigned."""
    return jwt.encode({"iss": provider.url, "aud": "ips", "sub": "eve", "exp": 4e9}, "", "none")


def forged_by_the_public_key(provider: FakeIssuer) -> str:
    """Signed by HMAC with what everybody knows."""
    public = provider.keys["one"][1].public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    claims = {"iss": provider.url, "aud": "ips", "sub": "eve", "exp": 4_000_000_000}
    return jwt.encode(claims, raw, "HS256", headers={"kid": "one"})


def forged_by_another_key(provider: FakeIssuer) -> str:
    """Signed by somebody else under a known name."""
    other = FakeIssuer()
    other.url = provider.url
    return other.token()


def forged_by_its_own_key(provider: FakeIssuer) -> str:
    """Signed by a key that comes along in the header."""
    other = FakeIssuer()
    other.url = provider.url
    [own] = other.jwks()["keys"]
    claims = {"iss": provider.url, "aud": "ips", "sub": "eve", "exp": 4_000_000_000}
    _, private = other.keys["one"]
    return jwt.encode(claims, private, "EdDSA", headers={"kid": "other", "jwk": own})


def forged_by_a_change(provider: FakeIssuer) -> str:
    """A good token with another name in it."""
    head, body, signature = provider.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "==")) | {"sub": "eve"}
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{changed}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [
        forged_by_nobody,
        forged_by_the_public_key,
        forged_by_another_key,
        forged_by_its_own_key,
        forged_by_a_change,
        lambda _: "x.y.z",
        lambda _: "e30.e30.",
        lambda _: "a" * 20_000,
        lambda _: "\udcff.\udcff.\udcff",
    ],
)
async def test_a_forged_token_is_nobodys(
    provider: FakeIssuer, issuer: Issuer, forge: Callable[[FakeIssuer], str]
) -> None:
    """However it is forged."""
    await issuer.identify(provider.token())
    issuer.has_issued(forge(provider))
    with pytest.raises(UnknownCredentialError):
        await issuer.identify(forge(provider))


async def test_keys_are_rotated(provider: FakeIssuer, issuer: Issuer, clock: HandClock) -> None:
    """A new key is asked for when it is named, and not at every stranger's word."""
    await issuer.identify(provider.token())
    provider.add_key("two", "ES256")
    with pytest.raises(UnknownCredentialError):
        await issuer.identify(provider.token("two"))  # asked a moment ago
    for _ in range(5):
        clock.now += KEYS_AGAIN_SECONDS
        assert (await issuer.identify(provider.token("two"))).user == "ann"
    assert provider.asked == 2
    old = provider.token("one")
    del provider.keys["one"]
    assert (await issuer.identify(old)).user == "ann"
    clock.now += KEYS_SECONDS + 1
    with pytest.raises(UnknownCredentialError):
        await issuer.identify(old)


async def test_keys_that_cannot_be_renewed_stay(
    provider: FakeIssuer, issuer: Issuer, clock: HandClock
) -> None:
    """An issuer that is away for a while makes nobody unknown."""
    await issuer.identify(provider.token())
    provider.answers["/jwks"] = web.Response(status=HTTPStatus.BAD_GATEWAY)
    clock.now += KEYS_SECONDS + 1
    assert (await issuer.identify(provider.token())).user == "ann"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", web.Response(status=500)),
        ("/.well-known/openid-configuration", web.Response(body=b"<html>")),
        ("/.well-known/openid-configuration", {"issuer": "https://other", "jwks_uri": "https://a"}),
        ("/jwks", web.Response(body=b"x" * (ANSWER_BYTES + 1))),
        ("/jwks", {"keys": [{}] * 200}),
        ("/jwks", web.Response(status=302, headers={"Location": "/elsewhere"})),
    ],
)
async def test_an_issuer_that_does_not_answer_as_one_is_away(
    provider: FakeIssuer, issuer: Issuer, path: str, answer: object
) -> None:
    """Nobody is known by it, and nobody is unknown."""
    provider.answers[path] = answer
    with pytest.raises(AuthorityAwayError):
        await issuer.identify(provider.token())


async def test_keys_of_no_use_are_left_out(provider: FakeIssuer, issuer: Issuer) -> None:
    """Shared secrets above all; the good one among them counts."""
    secret = base64.urlsafe_b64encode(b"x" * 32).decode()
    bad = [
        {"kty": "oct", "k": secret, "kid": "shared", "alg": "HS256"},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256", "x": "?", "y": "?"},
        {"kid": 1},
    ]
    provider.answers["/jwks"] = {"keys": bad + provider.jwks()["keys"]}
    assert (await issuer.identify(provider.token())).user == "ann"
    claims = {"iss": provider.url, "aud": "ips", "sub": "eve", "exp": 4_000_000_000}
    shared = jwt.encode(claims, b"x" * 32, "HS256", headers={"kid": "shared"})
    with pytest.raises(UnknownCredentialError):
        await issuer.identify(shared)


# ── the login ────────────────────────────────────────────────────────────────────────────────


async def code_for(issuer: Issuer, nonce: str = "n", verifier: str = "v") -> str:
    """Log in as a browser does; the code that it brings back."""
    address = await issuer.login_address(
        redirect=REDIRECT, state="s", nonce=nonce, challenge=challenge(verifier)
    )
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(address, allow_redirects=False) as answer,
    ):
        back = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert back["state"] == ["s"]
    return back["code"][0]


async def test_a_login_is_its_users(provider: FakeIssuer, issuer: Issuer) -> None:
    """Once: a code that was used is nobody's."""
    provider.user = "bob"
    code = await code_for(issuer)
    caller = await issuer.log_in(code=code, verifier="v", redirect=REDIRECT, nonce="n")
    assert isinstance(caller, Caller)
    assert caller.user == "bob"
    with pytest.raises(UnknownCredentialError):
        await issuer.log_in(code=code, verifier="v", redirect=REDIRECT, nonce="n")


@pytest.mark.parametrize(("verifier", "nonce"), [("other", "n"), ("v", "other")])
async def test_a_code_is_for_the_browser_that_asked(
    issuer: Issuer, verifier: str, nonce: str
) -> None:
    """Whoever has stolen it has neither verifier nor nonce."""
    code = await code_for(issuer)
    with pytest.raises(UnknownCredentialError):
        await issuer.log_in(code=code, verifier=verifier, redirect=REDIRECT, nonce=nonce)


async def logged_in(issuer: Issuer) -> Caller:
    """Who a login is of."""
    code = await code_for(issuer)
    return await issuer.log_in(code=code, verifier="v", redirect=REDIRECT, nonce="n")


async def test_groups_may_be_told_beside_the_token(provider: FakeIssuer, issuer: Issuer) -> None:
    """Of the same user alone, who stays who the token says."""
    provider.told_apart = {"sub": "ann", "groups": ["ops"], "exp": 1, "aud": "other"}
    caller = await logged_in(issuer)
    assert (caller.user, caller.groups) == ("ann", ("ops",))
    for told in ({"sub": "eve", "groups": ["ops"]}, {"groups": ["ops"]}, {"sub": None}):
        provider.told_apart = told
        with pytest.raises(UnknownCredentialError):
            await logged_in(issuer)


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500),
        web.Response(status=401),
        web.Response(body=b"[]"),
        web.Response(status=302, headers={"Location": "/elsewhere"}),
    ],
)
async def test_who_does_not_tell_the_groups_is_away(
    provider: FakeIssuer, issuer: Issuer, answer: web.Response
) -> None:
    """Nobody gets in without theirs: they might lack a role that they have."""
    provider.told_apart, provider.answers["/userinfo"] = {}, answer
    with pytest.raises(AuthorityAwayError):
        await logged_in(issuer)


async def test_a_userinfo_without_tls_is_not_asked(provider: FakeIssuer, issuer: Issuer) -> None:
    """A token would travel in plain sight."""
    provider.answers["/.well-known/openid-configuration"] = {
        "issuer": provider.url,
        "jwks_uri": f"{provider.url}/jwks",
        "userinfo_endpoint": "http://issuer.example/userinfo",
    }
    with pytest.raises(AuthorityAwayError):
        await issuer.identify(provider.token())


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("https://issuer.example", True),
        ("http://127.0.0.1:5556/dex", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("http://issuer.example", False),
        ("http://localhost.example", False),
        ("ftp://a", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_an_issuer_is_asked_over_tls(address: str, safe: bool) -> None:
    """But on this machine."""
    assert is_safe_address(address) is safe
