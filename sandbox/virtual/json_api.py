"""JetStream as who speaks its API in JSON sees it: as much as an administrator's tools ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sandbox.virtual.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.virtual.jetstream import JetStream

_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_TTL = "Nats-TTL"


def answer(jetstream: JetStream, subject: str, payload: bytes) -> bytes | None:
    """Answer a request; None for one that nobody answers."""
    match subject.removeprefix("$JS.API.").split("."):
        case ["INFO"]:
            return _encoded({})
        case ["STREAM", "INFO", stream]:
            return _tried(lambda: {"config": jetstream.stream(stream).settings})
        case ["STREAM", "UPDATE", _]:
            return _tried(lambda: jetstream.update(msgspec.json.decode(payload)))
        case ["CONSUMER", "NAMES", stream]:
            return _tried(lambda: {"consumers": jetstream.consumers(stream)})
        case ["CONSUMER", "DELETE", stream, consumer]:
            removed = jetstream.end_reading(stream, consumer, "status 409 Consumer Deleted")
            return _encoded({"success": removed})
    return None


def publish(
    jetstream: JetStream, subject: str, payload: bytes, headers: Mapping[str, str]
) -> bytes | None:
    """Store what was published like any other message; its answer, None if no stream has it."""
    stream = jetstream.takes(subject)
    if stream is None or stream.leaderless:
        return None
    expected, ttl = headers.get(_EXPECTED), headers.get(_TTL)

    def store() -> dict[str, Any]:
        seq = jetstream.store(
            subject,
            payload,
            None if expected is None else int(expected),
            None if ttl is None else int(ttl.removesuffix("s")),
            headers,
        )
        return {"stream": stream.name, "seq": seq}

    return _tried(store)


def _tried(operation: Any) -> bytes:
    try:
        return _encoded(operation() or {})
    except Refused as refusal:
        return _encoded({"error": refusal.fault})


def _encoded(answer: dict[str, Any]) -> bytes:
    return msgspec.json.encode(answer)
