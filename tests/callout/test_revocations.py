"""A join token of which not enough is known lets nobody in, and every connection has an end."""

from __future__ import annotations

import pytest

from common.bus import Entry
from common.join_token import JoinKind, JoinToken
from coordinator.callout import revocations
from coordinator.callout.identities import CONNECTION_SECONDS, AgentPod, Identities
from coordinator.callout.join_tokens import revocation_key
from coordinator.callout.revocations import Revocations
from coordinator.callout.signing_key import SigningKey, new_seed

NOW = 1_000_000.0


def entry(name: str, value: bytes | None = b"5") -> Entry:
    """That all of a node's tokens up to a serial are revoked."""
    return Entry(revocation_key(JoinKind.NODE, name), value, 1, 0.0)


def token(name: str, serial: int = 9) -> JoinToken:
    """A node's, made later than what is revoked."""
    return JoinToken(JoinKind.NODE, name, serial, "")


def test_past_what_is_kept_no_other_name_is_let_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One of them may be revoked; names that are kept go on, and an error says so once."""
    monkeypatch.setattr(revocations, "MOST", 2)
    revoked = Revocations()
    revoked._take([entry("a"), entry("b"), entry("a", b"6")])
    assert not revoked.has(token("c"))
    assert caplog.records == []
    revoked._take([entry("c"), entry("d"), entry("b", b"9")])
    kept = [token("a"), token("a", 6), token("b"), token("b", 10)]
    assert [revoked.has(each) for each in kept] == [False, True, True, False]
    assert [revoked.has(token(name)) for name in ("c", "d", "e")] == [True] * 3
    assert [logged.levelname for logged in caplog.records] == ["ERROR"]
    revoked._take([entry("a", None)])
    assert revoked.has(token("c"))


@pytest.mark.parametrize(("left", "lasts"), [(60.0, 60.0), (1e9, CONNECTION_SECONDS)])
async def test_a_pods_connection_ends_with_its_token_or_within_an_hour(
    left: float, lasts: float
) -> None:
    """A token may name an end years ahead, and its pod be gone long before."""

    class Pods:
        async def identify(self, token: str) -> AgentPod:
            assert token == "eyJh.e30.c2ln"
            return AgentPod("node-1", NOW + left)

    identities = Identities(
        key=SigningKey(new_seed()),
        own_token=lambda: None,
        revoked=Revocations(),
        pods=Pods(),
        clock=lambda: 0.0,
        wall=lambda: NOW,
    )
    assert (await identities.identify("eyJh.e30.c2ln", "h")).until == NOW + lasts
