"""Tokens and logins of a real provider, and what was made of them by somebody else."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from coordinator.access.callers import UnknownCredentialError, Way
from coordinator.access.oidc import KEYS_AGAIN_SECONDS, KEYS_SECONDS, Issuer, OidcSettings
from coordinator.api.sessions import challenge
from tests.access.hand_clock import HandClock
from tests.oidc.conftest import REDIRECT
from tests.oidc.provider import (
    ALGORITHMS,
    CONFIDENTIAL,
    OTHERS,
    OURS,
    PAGE,
    SECRET,
    Provider,
    new_keys,
)

pytestmark = pytest.mark.oidc


@pytest.fixture
def clock() -> HandClock:
    """The clock of the one who asks."""
    return HandClock()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """How the provider is asked."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
def issuer(shared: Provider, http: aiohttp.ClientSession, clock: HandClock) -> Issuer:
    """Who asks the provider of all tests."""
    return issuer_of(shared, http, clock)


def issuer_of(
    provider: Provider,
    http: aiohttp.ClientSession,
    clock: HandClock,
    client: str = PAGE,
    secret: str | None = None,
) -> Issuer:
    """Who asks a provider, as one of its clients."""
    settings = OidcSettings(
        issuer=provider.url, audience=OURS, client_id=client, client_secret=secret
    )
    return Issuer(settings, http, clock)


async def test_a_programs_token_is_its_own(shared: Provider, issuer: Issuer) -> None:
    """By each kind of key that the provider signs with, found where it says that its keys are."""
    for algorithm in ALGORITHMS:
        token = await shared.token_of(algorithm)
        assert issuer.has_issued(token)
        caller = await issuer.identify(token)
        groups = ("ops", "night") if algorithm == "ES256" else ()
        assert (caller.user, caller.groups) == (f"robot-{algorithm}", groups)
        assert caller.way is Way.OIDC


async def test_a_token_for_another_service_is_nobodys(shared: Provider, issuer: Issuer) -> None:
    """The same provider gave it, to the same program."""
    assert await issuer.identify(await shared.token_of())
    with pytest.raises(UnknownCredentialError):
        await issuer.identify(await shared.token_of(audience=OTHERS))


async def test_a_token_that_is_over_is_nobodys(
    own: Provider, http: aiohttp.ClientSession, clock: HandClock
) -> None:
    """Ten minutes after it was given: by a provider whose clock is an hour slow."""
    await own.sign_with(new_keys("slow"), slow_seconds=3600)
    with pytest.raises(UnknownCredentialError):
        await issuer_of(own, http, clock).identify(await own.token_of())


async def test_a_token_without_its_signature_is_nobodys(shared: Provider, issuer: Issuer) -> None:
    """Neither one that says so of itself."""
    head, claims, signature = (await shared.token_of()).split(".")
    assert await issuer.identify(f"{head}.{claims}.{signature}")
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    for forged in (
        f"{head}.{claims}.",
        f"{unsigned}.{claims}.",
        f"{unsigned}.{claims}.{signature}",
    ):
        with pytest.raises(UnknownCredentialError):
            await issuer.identify(forged)


async def test_keys_are_rotated(
    own: Provider, http: aiohttp.ClientSession, clock: HandClock
) -> None:
    """As providers do it: the next one first, the former beside it, then the next one alone."""
    issuer, former, following = issuer_of(own, http, clock), new_keys("first"), new_keys("second")
    await own.sign_with(former)
    old = await own.token_of()
    assert await issuer.identify(old)
    await own.sign_with([*following, *former])
    new = await own.token_of()
    clock.now += KEYS_AGAIN_SECONDS
    assert await issuer.identify(new)
    assert await issuer.identify(old)
    await own.sign_with(following)
    clock.now += KEYS_SECONDS + 1
    assert await issuer.identify(new)
    with pytest.raises(UnknownCredentialError):
        await issuer.identify(old)


async def code_of(provider: Provider, issuer: Issuer, name: str) -> str:
    """What a browser brings back from a login."""
    address = await issuer.login_address(
        redirect=REDIRECT, state="s" * 43, nonce="n", challenge=challenge("v" * 43)
    )
    return await provider.log_in(address, name)


@pytest.mark.parametrize("client", [PAGE, CONFIDENTIAL])
async def test_a_login_brings_the_groups(
    shared: Provider, http: aiohttp.ClientSession, clock: HandClock, client: str
) -> None:
    """Which this provider does not put into its token, but tells whoever asks with the other one.

    A client with a secret proves it as the provider wants it: in a header.
    """
    secret = SECRET if client == CONFIDENTIAL else None
    issuer = issuer_of(shared, http, clock, client, secret)
    code = await code_of(shared, issuer, "ann")
    caller = await issuer.log_in(code=code, verifier="v" * 43, redirect=REDIRECT, nonce="n")
    assert (caller.user, caller.groups) == ("ann", ("ops",))


@pytest.mark.parametrize(
    ("verifier", "nonce", "redirect"),
    [
        ("w" * 43, "n", REDIRECT),
        ("v" * 43, "m", REDIRECT),
        ("v" * 43, "n", REDIRECT.replace("callback", "other")),
    ],
)
async def test_a_code_is_for_who_began_the_login(
    shared: Provider, issuer: Issuer, verifier: str, nonce: str, redirect: str
) -> None:
    """Nobody else has the verifier that the provider demands, nor the nonce that it repeats."""
    code = await code_of(shared, issuer, "ann")
    with pytest.raises(UnknownCredentialError):
        await issuer.log_in(code=code, verifier=verifier, redirect=redirect, nonce=nonce)
