"""What each kind of client may do on the bus, by subjects."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from common import subjects

ANSWERS: Final = 1
ANSWER_SECONDS: Final = 60
"""An agent may answer a command once, within this time."""

ACCOUNT: Final = "$G"
"""Where every stream lies that was made without accounts; a server with an ``accounts`` block
shows none of them (tried)."""
SYSTEM_ACCOUNT: Final = "$SYS"
"""Where the servers themselves are spoken with."""
SERVERS: Final = "$SYS.REQ.SERVER.PING.VARZ"
"""What each server answers with its state."""


def read_anew(server: str) -> str:
    """Where a server is told to read its configuration and its files anew, by its id."""
    return f"$SYS.REQ.SERVER.{server}.RELOAD"


class Rights(msgspec.Struct, frozen=True):
    """Subjects that a client may publish and subscribe to, wildcards allowed; empty is none."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False
    """Whether it may publish to the reply subject of a message that it was sent."""
    account: str = ACCOUNT


def of_agent(node: str) -> Rights:
    """An agent is its node and nothing else. Raises ValueError for no node's name."""
    return Rights(subjects.said_by(node), subjects.heard_by(node), answers=True)


OF_SUBSCRIBER: Final = Rights((), (subjects.ALL_EVENTS,))
"""Reads events as they are published; no store, for that would answer anywhere it is told to."""
OF_COORDINATOR: Final = Rights((">",), (">",))
OF_SYSTEM: Final = Rights((SERVERS, read_anew("*")), ("_INBOX.>",), account=SYSTEM_ACCOUNT)
"""For a coordinator that looks after the servers' certificates."""


def claims(rights: Rights) -> dict[str, Any]:
    """The same as NATS has it in the JWT of a user (github.com/nats-io/jwt, ``Permissions``)."""
    said: dict[str, Any] = {
        "pub": _subjects(rights.publish),
        "sub": _subjects(rights.subscribe),
    }
    if rights.answers:
        said["resp"] = {"max": ANSWERS, "ttl": ANSWER_SECONDS * 1_000_000_000}
    return said


def _subjects(allowed: tuple[str, ...]) -> dict[str, list[str]]:
    """To NATS an empty list of what is allowed is everything."""
    return {"allow": list(allowed)} if allowed else {"deny": [">"]}
