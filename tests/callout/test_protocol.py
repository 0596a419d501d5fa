"""Whatever comes as a question or a token is read or refused, and nothing else."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.join_token import JoinKind, is_for_coordinators, parse_join_token
from coordinator.callout import rights
from coordinator.callout.join_tokens import new_join_token, real_join_token
from coordinator.callout.protocol import admission, read_question, refusal
from coordinator.callout.signing_key import SigningKey, kept_key, new_seed

KEY = SigningKey(new_seed())
USER_KEY, SERVER_KEY = "U" + "A" * 55, "N" + "A" * 55
ASKED: dict[str, Any] = {
    "server_id": {"id": SERVER_KEY},
    "user_nkey": USER_KEY,
    "client_info": {"host": "10.0.0.1"},
    "connect_opts": {"auth_token": "t", "name": "x" * 1000},
}


def question(asked: object, aud: str = "nats-authorization-request") -> bytes:
    """A request as a server makes it, but for its signature."""
    body = base64.urlsafe_b64encode(json.dumps({"aud": aud, "nats": asked}).encode())
    return b"h." + body.rstrip(b"=") + b".s"


def body_of(token: bytes | str) -> Any:
    """What a JWT says."""
    part = (token if isinstance(token, str) else token.decode()).split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@given(st.binary() | st.binary().map(lambda data: b"a." + base64.urlsafe_b64encode(data) + b".c"))
def test_any_bytes_are_a_question_or_refused(data: bytes) -> None:
    """Nothing but ValueError."""
    with pytest.raises(ValueError, match=r"."):
        read_question(data)


@pytest.mark.parametrize(
    "wrong",
    [
        question(ASKED, aud="another"),
        question({**ASKED, "user_nkey": "UA"}),
        question({**ASKED, "server_id": {"id": "x"}}),
        question({**ASKED, "connect_opts": {"auth_token": "t" * 20_000}}),
        question({**ASKED, "connect_opts": {"name": "x" * 200_000}}),
        question([]),
    ],
)
def test_what_is_no_question_is_refused(wrong: bytes) -> None:
    """For somebody else, of nobody, or too long."""
    with pytest.raises(ValueError, match=r"."):
        read_question(wrong)


def test_answers_name_who_asked_and_for_whom() -> None:
    """The user's token is for the account in which everything is stored, and ends."""
    asked = read_question(question(ASKED))
    assert len(asked.name) == 200
    said = body_of(admission(KEY, asked, "node a", rights.of_agent("a.b"), 10.5, 20.9))
    assert (said["iss"], said["sub"], said["aud"]) == (KEY.issuer, USER_KEY, SERVER_KEY)
    user = body_of(said["nats"]["jwt"])
    assert (user["aud"], user["sub"], user["exp"]) == ("$G", USER_KEY, 20)
    kinds = ("heartbeat", "progress", "outcome", "inventory")
    assert user["nats"]["pub"] == {"allow": [f"ips.v1.{kind}.a_b.*" for kind in kinds]}
    assert user["nats"]["resp"] == {"max": 1, "ttl": 60_000_000_000}
    assert body_of(refusal(KEY, asked, 1, "why"))["nats"]["error"] == "why"
    nothing = body_of(admission(KEY, asked, "e", rights.OF_SUBSCRIBER, 1, None))
    subscriber = body_of(nothing["nats"]["jwt"])
    assert subscriber["nats"]["pub"] == {"deny": [">"]}
    assert "exp" not in subscriber
    assert "resp" not in subscriber["nats"]


def test_no_agent_hears_what_it_says() -> None:
    """Who may answer what it hears could answer itself anywhere."""
    mine = rights.of_agent("a.b")
    kinds = [{subject.split(".")[2] for subject in part} for part in (mine.publish, mine.subscribe)]
    assert not any(subject.startswith("_INBOX") for subject in mine.publish)
    assert kinds[0].isdisjoint(kinds[1])


@given(st.from_regex(r"[a-z]([a-z-]{0,8}[a-z])?(\.[a-z0-9]{1,5})?", fullmatch=True))
def test_a_join_token_is_known_again(name: str) -> None:
    """Whatever the node's name; another one's key knows it not."""
    for kind in JoinKind:
        token = new_join_token(KEY, kind, name, 1_700_000_000.5)
        assert is_for_coordinators(str(token))
        assert real_join_token(KEY, str(token)) == token
        assert (token.kind, token.name, token.serial) == (kind, name, 1_700_000_000_500)
        assert real_join_token(SigningKey(new_seed()), str(token)) is None


@given(st.text())
def test_any_text_is_no_join_token(text: str) -> None:
    """With or without its beginning."""
    assert parse_join_token(text) is None
    assert real_join_token(KEY, f"ips-join.node.a.1.{text}") is None


@pytest.mark.parametrize("text", ["", "SA", "SU" + "A" * 56, "x" * 58, "SAü"])
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    """It may be one with a letter mistyped."""
    with pytest.raises(ValueError, match="no seed") as refused:
        SigningKey(text)
    assert len(text) < 3 or text not in str(refused.value)


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Any) -> None:
    """Beside the store, in a folder that is made with it."""
    file = tmp_path / "nats" / "callout-key"
    issuer = kept_key(file).issuer
    assert kept_key(file).issuer == issuer
    assert issuer.startswith("A")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["callout-key"]
