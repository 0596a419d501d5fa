"""The form of a join token: what both programs know of it. Only a coordinator can tell a real one.

``ips-join.<kind>.<name>.<serial>.<mac>``, the name with ``_`` for ``.``, as on subjects.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from common.subjects import node_key, parse_node_key

PREFIX: Final = "ips-join."
_TOKEN: Final = re.compile(
    r"ips-join\.(node|events)\.([a-z0-9_-]{1,253})\.([0-9]{1,16})\.([A-Za-z0-9_-]{43})"
)
_SERVICE_ACCOUNT: Final = re.compile(r"eyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}")


class JoinKind(StrEnum):
    """Whom a join token is for."""

    NODE = "node"
    """The agent of one node."""
    EVENTS = "events"
    """A program that reads events, and does nothing else."""


class JoinToken(NamedTuple):
    """What a join token says. ``serial``: when it was made, in milliseconds since 1970."""

    kind: JoinKind
    name: str
    serial: int
    mac: str

    @property
    def signed(self) -> str:
        """What its ``mac`` is of: all that stands before it."""
        return f"{PREFIX}{self.kind}.{node_key(self.name)}.{self.serial}"

    def __str__(self) -> str:
        return f"{self.signed}.{self.mac}"


def parse_join_token(text: str) -> JoinToken | None:
    """Read a token, without a look at whether it is real; None for anything else."""
    found = _TOKEN.fullmatch(text)
    name = parse_node_key(found[2]) if found else None
    if found is None or name is None:
        return None
    return JoinToken(JoinKind(found[1]), name, int(found[3]), found[4])


def is_for_coordinators(token: str) -> bool:
    """Whether NATS itself does not know this token, and asks the coordinators about it."""
    return token.startswith(PREFIX) or _SERVICE_ACCOUNT.fullmatch(token) is not None
