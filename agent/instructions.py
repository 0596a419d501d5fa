"""What the ledger has its agent do."""

from __future__ import annotations

from dataclasses import dataclass

from common.messages import Outcome, Reply
from common.reasons import Reason
from common.subjects import AttemptKey


@dataclass(frozen=True, slots=True)
class SendReply:
    """Tell the leader whether its command is accepted."""

    to: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Announce:
    """Send a heartbeat now."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Sealed credentials for one piece of work, and what it must have been sealed for."""

    key: str
    """Equal for the same credentials."""
    sealed: str
    task: str
    attempt: int
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartPull:
    """Have an image on the node: DownloadBegan and BytesArrived on the way, PullEnded at last.

    ``always`` asks the registry even if the image is there. ``keep_seconds`` is how long what an
    interrupted pull may be resumed from is worth keeping.
    """

    reference: str
    always: bool
    keep_seconds: float
    grant: Grant | None = None
    """What the registry is shown before anything that the node itself has."""


@dataclass(frozen=True, slots=True)
class StopPull:
    """Stop the download now, without dropping what it could be resumed from: PullEnded.

    ``reason``: Timeout, Stalled, or Cancelled where nobody wants the image any more.
    """

    reference: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop what an interrupted pull could be resumed from: Forgotten."""

    reference: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Keep the outcome until it is stored: OutcomeSettled, or never after a ``Discard``."""

    key: AttemptKey
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Discard:
    """Nobody wants this outcome any more: stop delivering it."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Emit TimePassed at this time, on the ledger's clock; replaces an earlier WakeAt."""

    time: float


Instruction = SendReply | Announce | StartPull | StopPull | Forget | Deliver | Discard | WakeAt
