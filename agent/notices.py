"""What happens to an agent beside the events of its ledger: of no effect, logged and counted only.

Inbox, outbox and heartbeats say these; nothing is decided by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.events import Event
from agent.instructions import Instruction
from common.messages import ImageDisk
from common.subjects import AttemptKey


@dataclass(frozen=True, slots=True)
class MessageRejected:
    """A message could not be understood. ``kind``: ``command``, ``broadcast`` or ``question``."""

    kind: str
    subject: str
    why: str


@dataclass(frozen=True, slots=True)
class ReplyDropped:
    """The answer to a command was not sent: there was no connection."""

    subject: str


@dataclass(frozen=True, slots=True)
class SpoolUnreadable:
    """The outcomes of a former run could not be read from the disk."""

    why: str


@dataclass(frozen=True, slots=True)
class SpoolRefused:
    """The disk did not take, or not remove, an outcome, which is in memory only from now on."""

    key: AttemptKey
    why: str


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """A try to store an outcome has failed; there will be another."""

    key: AttemptKey
    why: str


@dataclass(frozen=True, slots=True)
class OutcomeCut:
    """An outcome was too large for a message: words were left out of it, no state of an image."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class OutcomeSetAside:
    """An outcome cannot be sent, whatever happens, and is dropped: its attempt is made again."""

    key: AttemptKey
    why: str


@dataclass(frozen=True, slots=True)
class OutcomeRefused:
    """A coordinator refuses an outcome for good, and it is dropped."""

    key: AttemptKey
    why: str


@dataclass(frozen=True, slots=True)
class OutcomeUnreadable:
    """A file of the spool is no outcome; it is set aside. ``file``: its name."""

    file: str
    why: str


@dataclass(frozen=True, slots=True)
class AlreadyDecided:
    """The attempt, its node or its task is decided already; ours is dropped."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class RuntimeConnected:
    """The container runtime answers, and did not before. ``runtime``: its name and version."""

    runtime: str


@dataclass(frozen=True, slots=True)
class RuntimeDisconnected:
    """The container runtime does not answer, or no longer for the same reason."""

    why: str


@dataclass(frozen=True, slots=True)
class DiskMeasured:
    """How full the disk of the images is; with every heartbeat for which the runtime says it."""

    disk: ImageDisk


@dataclass(frozen=True, slots=True)
class SweepPostponed:
    """What a former run left half pulled could not be dropped yet."""

    why: str


Notice = (
    MessageRejected
    | ReplyDropped
    | SpoolUnreadable
    | SpoolRefused
    | StoreFailed
    | OutcomeCut
    | OutcomeSetAside
    | OutcomeRefused
    | OutcomeUnreadable
    | AlreadyDecided
    | RuntimeConnected
    | RuntimeDisconnected
    | DiskMeasured
    | SweepPostponed
)


class Observer(Protocol):
    """Sees all that an agent does; changes nothing of it."""

    def handled(self, event: Event, instructions: Sequence[Instruction]) -> None:
        """Take in an event of the ledger and the instructions that came of it."""

    def noticed(self, notice: Notice) -> None:
        """Take in what happened beside the ledger."""
