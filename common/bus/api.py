"""JetStream's API as it is spoken over the bus: answers, error codes, and who raises what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from common.bus.errors import BusError, Conflict, Electing, StoreRefused

WRONG_LAST_SEQUENCE = 10071
WRONG_LAST_SEQUENCE_CONSTANT = 10164
DUPLICATE_IN_BATCH = 10201
NO_MESSAGE = 10037
STREAM_NAME_IN_USE = 10058
OFF_FOR_ACCOUNT = 10039
OFF_FOR_SERVER = 10076

_CONFLICTS = frozenset({WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT, DUPLICATE_IN_BATCH})
_PASSING = frozenset(
    {
        10008,  # JetStream system temporarily unavailable
        10009,  # not the leader
        10167,  # too many requests
        10176,  # atomic batch is incomplete: the leader changed between its messages
    }
)


class ApiError(msgspec.Struct, frozen=True):
    """An error as the API words it."""

    err_code: int = 0
    description: str = ""

    def as_error(self, what: str) -> BusError:
        """Turn it into what a caller can act upon."""
        if self.err_code in _CONFLICTS:
            return Conflict(self.description, about=what)
        if self.err_code in _PASSING:
            return Electing(self.description, about=what)
        cause = f"{self.description} ({self.err_code})"
        return StoreRefused(cause, about=what, code=self.err_code)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer of the API may be: an error instead of the thing asked for."""

    error: ApiError | None = None


class Stored(Answer, frozen=True):
    """The acknowledgement of a publish."""

    seq: int = 0


class Purged(Answer, frozen=True):
    """How many messages a purge removed."""

    purged: int = 0


class StoredMessage(msgspec.Struct, frozen=True):
    """A message read by a request. Base64 on the wire; the block of headers is not parsed yet."""

    subject: str
    seq: int
    time: datetime
    data: bytes = b""
    hdrs: bytes = b""


class MessageRead(Answer, frozen=True):
    """One message, when there is no error."""

    message: StoredMessage | None = None


class StateInfo(msgspec.Struct, frozen=True):
    """The part of a stream's information that changes."""

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    subjects: dict[str, int] = {}


class StreamInfo(Answer, frozen=True):
    """A stream's settings and state; ``total`` counts subjects over all pages."""

    config: dict[str, Any] = {}
    state: StateInfo = StateInfo()
    total: int = 0


class ConsumerCreated(Answer, frozen=True):
    """A fresh consumer and how many records wait for it."""

    num_pending: int = 0
