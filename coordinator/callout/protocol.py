"""What NATS asks about a client, and what it is answered: JWTs as ADR-26 has them.

https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-26.md
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from coordinator.access.callers import TOKEN_CHARACTERS
from coordinator.callout.rights import Rights, claims
from coordinator.callout.signing_key import SigningKey

SUBJECT: Final = "$SYS.REQ.USER.AUTH"
INBOX: Final = "$SYS._INBOX."
"""What the reply subject of a server begins with."""
AUDIENCE: Final = "nats-authorization-request"
_PARTS: Final = 3
_MOST_BYTES: Final = 128 * 1024

_Short = Annotated[str, Meta(max_length=256)]
_UserKey = Annotated[str, Meta(pattern="^U[A-Z2-7]{55}$")]
_Token = Annotated[str, Meta(max_length=TOKEN_CHARACTERS)]
_ServerKey = Annotated[str, Meta(pattern="^N[A-Z2-7]{55}$")]


class _ServerId(msgspec.Struct):
    id: _ServerKey


class _ClientInfo(msgspec.Struct, frozen=True):
    host: _Short = ""


class _ConnectOptions(msgspec.Struct, frozen=True):
    auth_token: _Token = ""
    name: str = ""
    user: _Short = ""
    password: _Token = msgspec.field(default="", name="pass")


class _Asked(msgspec.Struct):
    server_id: _ServerId
    user_nkey: _UserKey
    client_info: _ClientInfo = _ClientInfo()
    connect_opts: _ConnectOptions = _ConnectOptions()


class _Request(msgspec.Struct):
    aud: str
    nats: _Asked


_decode = msgspec.json.Decoder(_Request).decode


class Question(msgspec.Struct, frozen=True):
    """Whether a client may connect: from where, with which token, and how it calls itself."""

    server: str
    user_key: str
    host: str
    token: str
    name: str
    user: str = ""
    """What it says to be beside its token; nothing but a wish."""


def read_question(data: bytes) -> Question:
    """Read a server's request. Raises ValueError.

    Its signature is not looked at: NATS lets nobody but its servers ask (tried), and the answer is
    worth something to the server alone that made ``user_key``.
    """
    parts = data.split(b".")
    if len(parts) != _PARTS or len(data) > _MOST_BYTES:
        raise ValueError("no token of three parts")
    try:
        body = parts[1]
        request = _decode(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as why:
        raise ValueError(str(why)) from None
    if request.aud != AUDIENCE:
        raise ValueError("not a request for authorization")
    asked = request.nats
    return Question(
        asked.server_id.id,
        asked.user_nkey,
        asked.client_info.host,
        asked.connect_opts.auth_token or asked.connect_opts.password,
        asked.connect_opts.name[:200],
        asked.connect_opts.user,
    )


def admission(
    key: SigningKey,
    question: Question,
    name: str,
    rights: Rights,
    now: float,
    until: float | None,
) -> bytes:
    """Let a client in, under a name for the server's own lists; ``until``: seconds since 1970."""
    user: dict[str, Any] = {
        "iss": key.issuer,
        "sub": question.user_key,
        "aud": rights.account,
        "name": name,
        "iat": int(now),
        "nats": {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
        | claims(rights),
    }
    if until is not None:
        user["exp"] = int(until)
    return _answer(key, question, now, {"jwt": _signed(key, user).decode()})


def refusal(key: SigningKey, question: Question, now: float, why: str) -> bytes:
    """Keep a client out. The client is told no reason; the server's log has it."""
    return _answer(key, question, now, {"error": why})


def _answer(key: SigningKey, question: Question, now: float, said: Mapping[str, str]) -> bytes:
    response = {
        "iss": key.issuer,
        "sub": question.user_key,
        "aud": question.server,
        "iat": int(now),
        "nats": {"type": "authorization_response", "version": 2, **said},
    }
    return _signed(key, response)


def _signed(key: SigningKey, body: Mapping[str, Any]) -> bytes:
    signed = b".".join((_HEAD, _base64(msgspec.json.encode(body))))
    return signed + b"." + _base64(key.sign(signed))


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_HEAD: Final = _base64(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
