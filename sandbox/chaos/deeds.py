"""What an agent did: the lines of its own journal, kept over its death."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec


class DeedKind(StrEnum):
    """What an agent says of an attempt."""

    ACCEPTED = "accepted"
    DONE = "done"
    """Every image is there."""
    FAILED = "failed"
    SETTLED = "settled"
    """A coordinator took its outcome, or did not want it any more."""


class Deed(msgspec.Struct, frozen=True):
    """One line."""

    node: str
    kind: DeedKind
    task: str
    attempt: int


_decode = msgspec.json.Decoder(Deed).decode


def read_deeds(journal: Path) -> Iterator[Deed]:
    """The lines of ``sandbox.chaos.agents``; one that a death has cut short is none."""
    if journal.exists():
        for line in journal.read_bytes().split(b"\n"):
            if line.endswith(b"}"):
                yield _decode(line)


def deeds_in_log(node: str, log: str) -> Iterator[Deed]:
    """The same from the log of the agent program, one JSON object a line."""
    for line in log.splitlines():
        if not (line.startswith("{") and line.endswith("}")):
            continue
        said = json.loads(line)
        match said.get("message"):
            case "assignment accepted":
                yield Deed(node, DeedKind.ACCEPTED, said["task"], int(said["attempt"]))
            case "attempt over":
                kind = DeedKind.FAILED if said["failed"] else DeedKind.DONE
                yield Deed(node, kind, said["task"], int(said["attempt"]))
