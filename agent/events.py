"""What can happen, as the ledger gets it. Commands may come late, twice, or out of order.

Every instruction that is carried out elsewhere is answered by one of these, failure included.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.runtime.protocol import Bytes
from common.messages import Command, ImageOutcome
from common.subjects import AttemptKey


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command has come. ``reply``: the subject for its answer; empty where none is wanted."""

    command: Command
    reply: str = ""


@dataclass(frozen=True, slots=True)
class DownloadBegan:
    """The image is not there and the runtime is asked for it. ``sees_bytes``: it tells how far."""

    reference: str
    sees_bytes: bool


@dataclass(frozen=True, slots=True)
class BytesArrived:
    """How far the runtime says that a pull is."""

    reference: str
    bytes: Bytes


@dataclass(frozen=True, slots=True)
class PullEnded:
    """A pull is over: the answer to ``StartPull``, also where it was stopped.

    ``outcome.image`` is the canonical reference; stopped is ``ImageState.CANCELLED``.
    """

    outcome: ImageOutcome


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What an interrupted pull could be resumed from is gone: the answer to ``Forget``."""

    reference: str


@dataclass(frozen=True, slots=True)
class OutcomeFound:
    """A former run of this agent left an outcome that is not known to be stored."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class OutcomeSettled:
    """The attempt is decided, by our outcome or by another: the answer to ``Deliver``."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The time that ``WakeAt`` named has come."""


@dataclass(frozen=True, slots=True)
class ShutdownRequested:
    """The program is to end."""


Event = (
    CommandReceived
    | DownloadBegan
    | BytesArrived
    | PullEnded
    | Forgotten
    | OutcomeFound
    | OutcomeSettled
    | TimePassed
    | ShutdownRequested
)
