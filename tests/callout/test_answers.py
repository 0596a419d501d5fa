"""What a server is answered when whoever knows does not know, or not in time."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING

import pytest

from common import texts
from common.bus import Received
from common.logs import RateLimitedLog
from coordinator.access.callers import AuthorityAwayError
from coordinator.callout import callout
from coordinator.callout.identities import Identity, KeptOutError, WhyKeptOut
from coordinator.callout.protocol import INBOX, SUBJECT
from coordinator.callout.rights import of_agent
from coordinator.callout.signing_key import SigningKey, new_seed
from tests.access.hand_clock import HandClock
from tests.callout.test_protocol import ASKED, body_of, question

if TYPE_CHECKING:
    from common.bus import Handler, Subscription

REPLY = f"{INBOX}a.b"


class World:
    """A bus that remembers what is said, and somebody who knows clients by their tokens."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []
        self.asked: list[tuple[str, str]] = []
        self.clock = HandClock()
        self.callout = callout.Callout(
            bus=self,
            key=SigningKey(new_seed()),
            identities=self,
            clock=self.clock,
            wall=lambda: 1000.0,
        )

    def publish(self, subject: str, payload: bytes) -> None:
        """Remember it."""
        self.said.append((subject, payload))

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Nothing comes by itself."""
        raise NotImplementedError

    async def identify(self, token: str, host: str) -> Identity:
        """Do as the token says."""
        self.asked.append((token, host))
        match token:
            case "slow":
                await asyncio.Event().wait()
            case "away":
                raise AuthorityAwayError(texts.ACCESS_AUTHORITY_AWAY(authority="It", why="w"))
            case "nobody":
                raise KeptOutError(WhyKeptOut.NOBODYS, f"nobody's: {host}")
        return Identity("node a", of_agent("a"), 2000.0)

    async def answer(self, token: str, host: str = "h", reply: str = REPLY) -> dict[str, str]:
        """What a server hears about a client: a ``jwt``, or an ``error``."""
        opts = {"connect_opts": {"auth_token": token}, "client_info": {"host": host}}
        self.callout._on_question(Received(SUBJECT, question({**ASKED, **opts}), reply))
        await asyncio.wait(self.callout._in_work)
        subject, said = self.said.pop()
        assert subject == reply
        told = body_of(said)["nats"]
        return {key: told[key] for key in ("jwt", "error") if key in told}


@pytest.mark.parametrize(
    ("token", "why"),
    [("nobody", "nobody's"), ("away", "It"), ("slow", "does not answer in time")],
)
async def test_who_is_not_known_is_kept_out(
    monkeypatch: pytest.MonkeyPatch, token: str, why: str
) -> None:
    """With words for the server's log, and before the server gives up."""
    monkeypatch.setattr(callout, "ANSWER_SECONDS", 0.01)
    answer = await World().answer(token)
    assert why in answer["error"]
    assert "jwt" not in answer


@pytest.mark.parametrize("reply", ["", "ips.v1.command.a.x", "_INBOX.x.1", "$SYS.REQ.x"])
async def test_nobody_but_a_server_is_answered(reply: str) -> None:
    """An answer anywhere else would be somebody's weapon."""
    world = World()
    with pytest.raises(ValueError, match="server"):
        world.callout._on_question(Received(SUBJECT, question(ASKED), reply))
    assert (world.said, world.asked) == ([], [])


async def test_a_kind_of_refusal_is_logged_once_whatever_it_names(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first at once, with its words; kinds are remembered, and never what was received."""
    monkeypatch.setattr(callout, "kept_out", RateLimitedLog(callout.log))
    world = World()
    for number in range(100):
        await world.answer("nobody", f"host-{number}")
    (logged,) = caplog.records
    assert vars(logged)["fields"] == {
        "kind": WhyKeptOut.NOBODYS,
        "host": "host-0",
        "name": "",
        "why": "nobody's: host-0",
    }


def test_a_question_is_as_nats_has_it() -> None:
    """What the tests above say is read as what a server says."""
    asked = json.loads(base64.urlsafe_b64decode(question(ASKED).split(b".")[1] + b"=="))
    assert asked["aud"] == "nats-authorization-request"
