"""Logging in and out, as a browser does: by a token, and at an issuer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from cryptography.fernet import Fernet
from prometheus_client import CollectorRegistry

from common.clock import elapsed
from coordinator.access.gatekeeper import Authorities
from coordinator.access.oidc import Issuer, OidcSettings
from coordinator.api.app import make_app
from coordinator.api.guard import Door, Entrance
from coordinator.event_feed import EventFeed
from tests.api.conftest import PACE, Client
from tests.api.entrances import GROUPS, KEY, ORIGIN, People, entrance, for_people, token_of
from tests.api.fake_engine import FakeEngine
from tests.fixtures.issuer import FakeIssuer, running_issuer

SESSION, TASKS = "/api/v1/session", "/api/v1/tasks"
Guarded = Callable[[Entrance], Awaitable[Client]]


@pytest.fixture
def guarded(
    engine: FakeEngine, feed: EventFeed, aiohttp_client: Callable[..., Awaitable[Client]]
) -> Guarded:
    """The application behind an entrance; its client keeps no cookies by itself."""

    async def make(behind: Entrance) -> Client:
        app = make_app(engine, feed, CollectorRegistry(), pace=PACE, entrance=behind)
        return await aiohttp_client(app, cookie_jar=aiohttp.DummyCookieJar())

    return make


def cookie(answer: Any, name: str) -> Morsel[str]:
    """A cookie that an answer sets."""
    cookies: SimpleCookie = answer.cookies
    return cookies[name]


def sent(*cookies: Morsel[str]) -> dict[str, str]:
    """What a browser sends of them."""
    return {"Cookie": "; ".join(f"{each.key}={each.value}" for each in cookies)}


# ── by a token ───────────────────────────────────────────────────────────────────────────────


async def test_a_token_makes_a_session(guarded: Guarded, tmp_path: Path) -> None:
    """A cookie that no script reads and no other site sends, and in which no token can be read."""
    people = People(tmp_path, ann="viewers")
    client = await guarded(for_people(people))
    answer = await client.post(SESSION, json={"token": token_of("ann")})
    assert answer.status == 200
    session = cookie(answer, "ips-session")
    assert (session["httponly"], session["samesite"], session["path"]) == (True, "Strict", "/")
    assert token_of("ann") not in session.value
    who = await answer.json()
    assert (who["identified"], who["user"], who["groups"]) == (True, "ann", ["viewers"])

    assert (await client.get(TASKS, headers=sent(session))).status == 200
    body = {"images": ["nginx"]}
    assert (await client.post(TASKS, json=body, headers=sent(session))).status == 403
    seen = await (await client.get(SESSION, headers=sent(session))).json()
    assert (seen["user"], seen["way"], "expiresAt" in seen) == ("ann", "tokens", True)

    people.remove("ann")
    over = await client.get(TASKS, headers=sent(session))
    assert (over.status, (await over.json())["messageCode"]) == (401, "access.sessionOver")
    assert over.headers["WWW-Authenticate"].startswith("Bearer ")


async def test_logging_out_takes_the_cookie_back(guarded: Guarded, tmp_path: Path) -> None:
    """Also of whoever has none."""
    client = await guarded(for_people(People(tmp_path, ann="viewers")))
    answer = await client.delete(SESSION)
    assert (answer.status, cookie(answer, "ips-session").value) == (200, "")
    assert not (await answer.json())["identified"]


async def test_over_tls_a_cookie_is_for_tls_alone(guarded: Guarded, tmp_path: Path) -> None:
    """And for this host alone: nobody beside it can plant one."""
    behind = for_people(People(tmp_path, ann="viewers"))
    safe = Entrance(behind.keeper, behind.seal, Door(origin="https://ips.example"))
    client = await guarded(safe)
    answer = await client.post(SESSION, json={"token": token_of("ann")})
    session = cookie(answer, "__Host-ips-session")
    assert session["secure"]
    assert (await client.get(TASKS, headers=sent(session))).status == 200
    planted = {"Cookie": f"ips-session={session.value}"}
    assert (await client.get(TASKS, headers=planted)).status == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"token": "x"}, 401),
        ({"token": ""}, 400),
        ({"token": 7}, 400),
        ({"token": "x" * 20_000}, 400),
        ({}, 400),
        ({"token": "x", "user": "root"}, 400),
        ([], 400),
    ],
)
async def test_what_is_no_token_makes_none(
    guarded: Guarded, tmp_path: Path, body: object, status: int
) -> None:
    """Neither a cookie nor a word of what was sent."""
    client = await guarded(for_people(People(tmp_path, ann="viewers")))
    answer = await client.post(SESSION, json=body)
    assert answer.status == status
    assert "Set-Cookie" not in answer.headers
    assert "xxx" not in await answer.text()


async def test_another_site_cannot_log_anybody_in(guarded: Guarded, tmp_path: Path) -> None:
    """Nor out."""
    client = await guarded(for_people(People(tmp_path, ann="viewers")))
    foreign = {"Sec-Fetch-Site": "cross-site"}
    answer = await client.post(SESSION, json={"token": token_of("ann")}, headers=foreign)
    assert answer.status == 403
    assert (await client.delete(SESSION, headers=foreign)).status == 403


async def test_without_keys_there_are_no_sessions(guarded: Guarded, tmp_path: Path) -> None:
    """Until they are read from the store; tokens are good meanwhile."""
    behind = for_people(People(tmp_path, ann="viewers"))
    unready = entrance(behind.keeper.authorities, keys=())
    client = await guarded(unready)
    answer = await client.post(SESSION, json={"token": token_of("ann")})
    assert (answer.status, (await answer.json())["messageCode"]) == (503, "access.noKeys")
    with_cookie = {"Cookie": "ips-session=x"}
    assert (await client.get(TASKS, headers=with_cookie)).status == 503
    token = {"Authorization": f"Bearer {token_of('ann')}"}
    assert (await client.get(TASKS, headers={**token, **with_cookie})).status == 200


async def test_where_nobody_is_asked_there_is_no_login(client: Client) -> None:
    """And nobody is told to wait for keys that never come."""
    answer = await client.post(SESSION, json={"token": "t"})
    assert (answer.status, (await answer.json())["messageCode"]) == (404, "access.noLogin")


async def test_who_asks_is_told_to_everybody(client: Client) -> None:
    """Where nobody is asked, and that this should be seen to where others reach it."""
    who = await (await client.get(SESSION)).json()
    assert who == {
        "identified": False,
        "required": False,
        "groups": [],
        "way": "none",
        "readsAudit": True,
        "logins": [],
    }
    assert (await client.get(f"{SESSION}/login")).status == 404
    assert (await client.get(f"{SESSION}/callback?code=x")).status == 404


# ── at an issuer ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def provider() -> AsyncIterator[FakeIssuer]:
    """An issuer."""
    async with running_issuer() as issuer:
        yield issuer


@pytest.fixture
async def replicas(guarded: Guarded, provider: FakeIssuer) -> AsyncIterator[tuple[Client, Client]]:
    """Two coordinators that share nothing but the keys."""
    settings = OidcSettings(issuer=provider.url, audience="ips", client_id="page")
    async with aiohttp.ClientSession() as http:

        async def replica() -> Client:
            issuer = Issuer(settings, http, elapsed)
            provider.groups = ["ops"]
            return await guarded(entrance(Authorities(issuer=issuer, groups=GROUPS), keys=(KEY,)))

        yield await replica(), await replica()


async def through_the_issuer(address: str) -> str:
    """Follow a browser to the issuer and back; path and query that it comes back with."""
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(address, allow_redirects=False) as answer,
    ):
        back = urlsplit(answer.headers["Location"])
    assert f"{back.scheme}://{back.netloc}" == ORIGIN
    return f"{back.path}?{back.query}"


async def test_a_login_begun_at_one_replica_ends_at_another(
    replicas: tuple[Client, Client],
) -> None:
    """What it needs travels in the browser, sealed."""
    here, there = replicas
    begun = await here.get(f"{SESSION}/login?place=%23/nodes", allow_redirects=False)
    assert begun.status == 303
    login = cookie(begun, "ips-login")
    assert (login["httponly"], login["samesite"], login["max-age"]) == (True, "Lax", "600")
    address = begun.headers["Location"]
    query = parse_qs(urlsplit(address).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == [f"{ORIGIN}{SESSION}/callback"]
    back = await through_the_issuer(address)
    done = await there.get(back, headers=sent(login), allow_redirects=False)
    assert (done.status, done.headers["Location"]) == (303, "/#/nodes")
    assert cookie(done, "ips-login").value == ""
    session = cookie(done, "ips-session")
    assert session["samesite"] == "Strict"
    who = await (await here.get(SESSION, headers=sent(session))).json()
    assert (who["user"], who["way"], who["logins"]) == ("ann", "oidc", ["token", "oidc"])
    body = {"images": ["nginx"]}
    assert (await here.post(TASKS, json=body, headers=sent(session))).status == 201


async def test_a_login_is_for_the_browser_that_began_it(replicas: tuple[Client, Client]) -> None:
    """Somebody else's code logs nobody in (login CSRF), nor does one that was used."""
    here, _ = replicas
    mine = await here.get(f"{SESSION}/login", allow_redirects=False)
    theirs = await here.get(f"{SESSION}/login", allow_redirects=False)
    back = await through_the_issuer(theirs.headers["Location"])
    for headers in ({}, sent(cookie(mine, "ips-login")), {"Cookie": "ips-login=x"}):
        answer = await here.get(back, headers=headers, allow_redirects=False)
        assert answer.status == 401
        assert "Set-Cookie" not in answer.headers
    right = sent(cookie(theirs, "ips-login"))
    assert (await here.get(back, headers=right, allow_redirects=False)).status == 303
    assert (await here.get(back, headers=right, allow_redirects=False)).status == 401


@pytest.mark.parametrize(
    "place", ["https://evil.example", "//evil.example", "#/x\r\nSet-Cookie: a=b", "#/" + "x" * 999]
)
async def test_a_login_leads_to_this_page_alone(
    replicas: tuple[Client, Client], place: str
) -> None:
    """Whatever place is asked for."""
    here, _ = replicas
    begun = await here.get(f"{SESSION}/login", params={"place": place}, allow_redirects=False)
    back = await through_the_issuer(begun.headers["Location"])
    done = await here.get(back, headers=sent(cookie(begun, "ips-login")), allow_redirects=False)
    assert done.headers["Location"] == "/"


async def test_a_refusal_at_the_issuer_is_told(replicas: tuple[Client, Client]) -> None:
    """In its own words, cut and without anything else of it."""
    here, _ = replicas
    begun = await here.get(f"{SESSION}/login", allow_redirects=False)
    login = cookie(begun, "ips-login")
    state = parse_qs(urlsplit(begun.headers["Location"]).query)["state"][0]
    answer = await here.get(
        f"{SESSION}/callback",
        params={"error": "access_denied", "state": state},
        headers=sent(login),
    )
    assert answer.status == 401
    assert (await answer.json())["messageParams"] == {"why": "access_denied"}


async def test_a_forged_session_is_nobodys(replicas: tuple[Client, Client]) -> None:
    """Sealed with another key, or a login in its place."""
    here, _ = replicas
    begun = await here.get(f"{SESSION}/login", allow_redirects=False)
    for value in (cookie(begun, "ips-login").value, Fernet(Fernet.generate_key()).encrypt(b"{}")):
        text = value if isinstance(value, str) else value.decode()
        answer = await here.get(TASKS, headers={"Cookie": f"ips-session={text}"})
        assert answer.status == 401
