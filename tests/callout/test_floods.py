"""Who shows made-up tokens keeps out nobody else. In virtual time, with a pretended API server."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from common.bus import Entry, Received
from common.join_token import JoinKind
from coordinator.access.api_server_asks import MOST_WAITING, TOKEN_REVIEWS
from coordinator.access.callers import AuthorityAwayError
from coordinator.callout.callout import Callout
from coordinator.callout.identities import FAILURES_PER_MINUTE, Identities
from coordinator.callout.join_tokens import new_join_token, revocation_key
from coordinator.callout.protocol import INBOX, SUBJECT
from coordinator.callout.revocations import Revocations
from coordinator.callout.service_accounts import (
    NODE_NAME,
    REVIEW_SECONDS,
    ServiceAccounts,
)
from coordinator.callout.signing_key import SigningKey, new_seed
from sandbox.virtual.time import virtual
from tests.callout.test_protocol import ASKED, body_of, question

if TYPE_CHECKING:
    from common.bus import Handler, Subscription


def pod_token(name: object) -> str:
    """A token as a ServiceAccount's looks."""
    body = json.dumps({"exp": 4e9, "name": name}).encode()
    return f"eyJh.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}.c2ln"


GOOD = pod_token("good")


class Coordinator:
    """What answers NATS, with an API server that knows ``agents`` and takes its time."""

    def __init__(self, seconds: float = 0.0) -> None:
        """``seconds`` that the API server takes for each answer."""
        clock = asyncio.get_running_loop().time
        self.key = SigningKey(new_seed())
        self.revoked = Revocations()
        self.agents = {GOOD}
        self.asked: list[str] = []
        self._seconds = seconds
        self._said: dict[str, bytes] = {}
        self.identities = Identities(
            key=self.key,
            own_token=lambda: "own",
            revoked=self.revoked,
            pods=ServiceAccounts(self._connected, "n", "a"),
            clock=clock,
            wall=time.time,
        )
        self._callout = Callout(
            bus=self, key=self.key, identities=self.identities, clock=clock, wall=time.time
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Coordinator]:
        yield self

    async def get(self, path: str) -> bytes:
        """No pod is asked for."""
        raise NotImplementedError

    async def post(self, path: str, body: Mapping[str, Any], silence: float = 0) -> bytes:
        """Review a token."""
        assert (path, silence) == (TOKEN_REVIEWS, REVIEW_SECONDS)
        token = body["spec"]["token"]
        self.asked.append(token)
        await asyncio.sleep(self._seconds)
        user = {"username": "system:serviceaccount:n:a", "extra": {NODE_NAME: ["node-1"]}}
        status = {"authenticated": token in self.agents, "audiences": ["ips-nats"], "user": user}
        return json.dumps({"status": status}).encode()

    def publish(self, subject: str, payload: bytes) -> None:
        """Remember what a server is answered."""
        self._said[subject] = payload

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Nothing comes by itself."""
        raise NotImplementedError

    def ask(self, token: str, host: str) -> str:
        """A server asks about a client; where it is answered."""
        reply = f"{INBOX}{host}.{len(self._said)}.{len(self._callout._in_work)}"
        opts = {"connect_opts": {"auth_token": token}, "client_info": {"host": host}}
        self._callout._on_question(Received(SUBJECT, question({**ASKED, **opts}), reply))
        return reply

    async def answer(self, token: str, host: str) -> str:
        """Why a client is kept out; empty where it is let in."""
        reply = self.ask(token, host)
        while reply not in self._said:
            await asyncio.wait(self._callout._in_work, return_when=asyncio.FIRST_COMPLETED)
        said = body_of(self._said[reply])["nats"]
        return "" if "jwt" in said else said["error"]


@virtual
async def test_of_an_address_that_guesses_nobody_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    """For a while; other addresses go on, so does whoever is known, and no token is in the log."""
    coordinator = Coordinator()
    assert await coordinator.answer(GOOD, "h") == ""
    for number in range(FAILURES_PER_MINUTE):
        assert "of no agent" in await coordinator.answer(pod_token(number), "h")
    assert await coordinator.answer(GOOD, "h") == ""
    await asyncio.sleep(0.5)
    coordinator.asked.clear()
    assert "too many" in await coordinator.answer(pod_token("one more"), "h")
    assert coordinator.asked == []
    assert "of no agent" in await coordinator.answer(pod_token("one more"), "another")
    await asyncio.sleep(60)
    assert await coordinator.answer(GOOD, "h") == ""
    assert "connect_opts" not in caplog.text
    assert "eyJh" not in caplog.text


@virtual
async def test_agents_behind_one_address_take_nothing_of_its_failures() -> None:
    """However many they are."""
    coordinator = Coordinator()
    for number in range(FAILURES_PER_MINUTE - 1):
        await coordinator.answer(pod_token(number), "h")
    coordinator.agents = {pod_token(f"good {number}") for number in range(FAILURES_PER_MINUTE)}
    for agent in coordinator.agents:
        assert await coordinator.answer(agent, "h") == ""


@virtual
async def test_revoked_nodes_keep_out_no_other_behind_their_address() -> None:
    """A join token is known by the coordinator alone, so there is nobody to be spared."""
    coordinator = Coordinator()
    coordinator.revoked.loaded = True
    key = revocation_key(JoinKind.NODE, "old")
    coordinator.revoked._take([Entry(key, b"9999999999999", 1, 0.0)])
    old = str(new_join_token(coordinator.key, JoinKind.NODE, "old", time.time()))
    for _ in range(2 * FAILURES_PER_MINUTE):
        assert "is revoked" in await coordinator.answer(old, "h")
        assert "not made with" in await coordinator.answer(f"{old[:-1]}_", "h")
    new = str(new_join_token(coordinator.key, JoinKind.NODE, "new", time.time()))
    assert await coordinator.answer(new, "h") == ""
    assert await coordinator.answer(GOOD, "h") == ""


@virtual
async def test_before_it_is_known_what_is_revoked_the_store_is_away() -> None:
    """Which is nobody's failure: whoever comes again is let in as soon as it is known."""
    coordinator = Coordinator()
    token = str(new_join_token(coordinator.key, JoinKind.NODE, "a", time.time()))
    with pytest.raises(AuthorityAwayError, match="not known yet"):
        await coordinator.identities.identify(token, "h")
    for _ in range(2 * FAILURES_PER_MINUTE):
        assert "not known yet" in await coordinator.answer(token, "h")
    coordinator.revoked.loaded = True
    assert await coordinator.answer(token, "h") == ""


@pytest.mark.parametrize("seconds", [1.0, 10.0])
def test_a_flood_from_one_address_keeps_out_no_other(seconds: float) -> None:
    """Also where the API server takes longer than is waited for: what is not answered counts."""

    @virtual
    async def run() -> None:
        coordinator = Coordinator(seconds)
        for number in range(1000):
            coordinator.ask(pod_token(number), "bad")
            await asyncio.sleep(0.01)
        assert len(coordinator.asked) <= FAILURES_PER_MINUTE + 10
        coordinator._seconds = 1.0
        assert await coordinator.answer(GOOD, "good") == ""

    run()


@virtual
async def test_a_flood_from_many_addresses_is_over_when_it_ends() -> None:
    """Nobody is asked any more about tokens whose clients were sent away."""
    coordinator = Coordinator(seconds=1.0)
    for number in range(2 * MOST_WAITING):
        coordinator.ask(pod_token(number), f"bad-{number}")
    assert "at once" in await coordinator.answer(GOOD, "good")
    await asyncio.sleep(REVIEW_SECONDS)
    asked = len(coordinator.asked)
    assert await coordinator.answer(GOOD, "good") == ""
    assert len(coordinator.asked) == asked + 1
