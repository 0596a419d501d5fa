"""What the streams hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from common.bus.errors import BusError

OnStored = Callable[[int | BusError], None]
"""Told the sequence of what was stored, or why it was not, or may not have been."""


class Record(msgspec.Struct, frozen=True):
    """One stored message."""

    subject: str
    data: bytes
    seq: int
    """Its place in the stream, from 1; in a bucket, the revision."""
    time: float
    """When it was stored, by the store's clock: seconds since 1970."""
    headers: Mapping[str, str] = {}
    pending: int = 0
    """How many more records matched when this one was delivered (0 where unknown)."""


class Draft(NamedTuple):
    """One message of an atomic batch."""

    subject: str
    payload: bytes
    headers: Mapping[str, str] | None = None
    expect_last: int | None = None
    """As in ``Bus.store``."""


class StreamState(msgspec.Struct, frozen=True):
    """How full a stream is. Empty: ``first_seq == last_seq + 1``; never written to: both 0."""

    first_seq: int
    last_seq: int
    messages: int
    bytes: int


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a stream that this service cares about, named as in NATS's own API.

    ``max_age`` is in nanoseconds; 0 and -1 mean no limit.
    """

    name: str
    subjects: tuple[str, ...]
    num_replicas: int = 1
    max_age: int = 0
    max_bytes: int = -1
    max_msgs_per_subject: int = -1
    discard: str = "old"
    allow_direct: bool = False
    allow_atomic: bool = False
    allow_msg_ttl: bool = False
    allow_rollup_hdrs: bool = False
    deny_delete: bool = False
    first_seq: int = 0
    """The sequence of its first record, where the stream is made; 0 begins at 1."""
