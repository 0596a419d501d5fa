"""Everything that travels over NATS between coordinator and agents, as msgspec Structs.

JSON in camelCase. Decoding tolerates unknown fields, so that two neighbouring versions understand
one another. Times are absent on purpose: no agent's clock is ever used, only measured durations
(seconds) and the store's own time stamps.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from common.reasons import Reason
from common.subjects import ATTEMPTS, MAX_MESSAGE_BYTES, NODE_NAME_LIMIT, TASK_ID
from common.text import Code, MessageText, Params, Text, text_of

NOT_DECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises: neither a byte that is no UTF-8 inside of a string nor what is nested too
deep, unknown fields included, is a MsgspecError."""

MOST_BYTES = 2**62
"""What a number of bytes is taken for at most: more is no size of anything."""
MOST_IMAGES = 50
"""Images of one task."""
MOST_LOGINS = 10
"""Credentials that one task names."""
MOST_HOLDS = 1000
"""Attempts that one agent holds: its heartbeat, which names them all, fits into a message."""
MOST_PULLS = 100
"""Pulls that one agent has under way."""
MOST_OUTCOME_BYTES: Final = MAX_MESSAGE_BYTES - 1024
"""An encoded outcome has room in a request."""
MOST_ENTRIES: Final = 100
"""Entries of each kind in one message to those who follow: the longest ones fit into it."""
MOST_LABELS = 100
"""Labels that an agent can give its node."""
MOST_ABILITIES = 32

Count = Annotated[int, Meta(ge=0, le=MOST_BYTES)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
Epoch = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Digest = Annotated[str, Meta(max_length=256)]
NAME_LIMIT = 256
Name = Annotated[str, Meta(max_length=NAME_LIMIT)]
"""What something calls itself: a program, a version, a platform."""
LabelText = Annotated[str, Meta(max_length=317)]
"""A label's key (a DNS name of 253, a slash and 63) or its value."""
ImageName = Annotated[str, Meta(max_length=1024)]
"""The task's spelling of an image."""
Reference = Annotated[str, Meta(max_length=1280)]
"""A canonical reference: a spelling with registry, path and tag completed."""
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
"""The beginning of a SHA-256."""
# What an agent says that it holds goes back to it in a command, so it has to fit into one.
TaskId = Annotated[str, Meta(pattern=rf"^{TASK_ID}\Z")]
AttemptNumber = Annotated[int, Meta(ge=1, le=ATTEMPTS)]


def total_bytes(numbers: Iterable[int]) -> int:
    """The sum of numbers of bytes, which is no greater than any single one may be."""
    return min(sum(numbers), MOST_BYTES)


def within_bytes(number: int | None) -> int | None:
    """A number of bytes as messages can carry it; None for what is no size of anything."""
    return number if number is not None and 0 <= number <= MOST_BYTES else None


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A wire message: immutable, named in camelCase, defaults left out."""


class ImageState(StrEnum):
    """State of one image on one node. The values are public."""

    WAITING = "waiting"
    PULLING = "pulling"
    PRESENT = "present"
    PULLED = "pulled"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PullPhase(StrEnum):
    """What an image that is ``pulling`` waits for. The values are public."""

    QUEUED = "queued"
    """The runtime has not begun to fetch it, or waits for a place to fetch the rest."""
    DOWNLOADING = "downloading"
    """The runtime has a download of it open."""
    UNPACKING = "unpacking"
    """All that has to come is here; it is verified, unpacked and committed."""


# ── agent → coordinator ──────────────────────────────────────────────────────────────────────


WHY_LENGTH: Final = 300
"""Characters of a reason that an agent gives."""


class Hold(Message, frozen=True, kw_only=True):
    """One attempt that an agent instance has accepted and whose outcome is not stored yet."""

    task: TaskId
    attempt: AttemptNumber
    seconds: Seconds = 0.0
    """How long the instance has been at it."""


class ImageDisk(Message, frozen=True, kw_only=True):
    """The file system that holds the runtime's images, in bytes."""

    free_bytes: Count
    total_bytes: Count


class InventoryState(Message, frozen=True, kw_only=True):
    """What an agent has last said of the images on its node (``common/inventory.py``)."""

    generation: Hash | None = None
    """Of the references that it was told to look for; None where it was told of none."""
    number: Annotated[int, Meta(ge=0, le=2**53)] = 0
    hash: Hash | None = None
    """None where it has not looked yet."""
    pins: Hash | None = None
    """Of the references that it was told to pin; None where it was told of none."""


class Heartbeat(Message, frozen=True, kw_only=True):
    """What an agent instance says of itself: at its start, every interval, and when asked.

    Subject: ``subjects.heartbeat(node, instance)``, which alone names node and instance.
    """

    agent_version: Name
    driver: Name
    labels: Annotated[dict[LabelText, LabelText], Meta(max_length=MOST_LABELS)] = {}
    runtime: Name = ""
    """Name and version, for example ``containerd 2.1.9``; empty while the runtime is away."""
    why_no_runtime: Annotated[str, Meta(max_length=WHY_LENGTH)] = ""
    """While the runtime is away: why, in one sentence without its end."""
    platform: Name = ""
    """``os/arch`` in OCI terms, for example ``linux/amd64``."""
    image_disk: ImageDisk | None = None
    pulling: Annotated[list[Reference], Meta(max_length=MOST_PULLS)] = []
    """References being pulled right now."""
    holds: Annotated[list[Hold], Meta(max_length=MOST_HOLDS)] = []
    interval: Seconds = 10.0
    """Seconds until the next heartbeat is due."""
    leaving: bool = False
    """The last word of an instance that stops in order: it holds nothing any more."""
    public_key: Annotated[str, Meta(max_length=64)] = ""
    """To which credentials are sealed (X25519, base64); empty where none can be given."""
    credential_changes: Count = 0
    """How often since the agent's start its file of registry credentials was another one."""
    inventory: InventoryState | None = None
    """None from agents that do not look for images by themselves."""
    abilities: Annotated[list[Name], Meta(max_length=MOST_ABILITIES)] = []
    """What the agent can be asked beside that; words that are not known mean nothing."""


class ImageProgress(Message, frozen=True, kw_only=True):
    """How far one image of an attempt is. Bytes are compressed, as the registry sends them."""

    image: ImageName
    state: ImageState
    bytes: Count | None = None
    total_bytes: Count | None = None
    bytes_per_second: Count | None = None
    phase: PullPhase | None = None
    """Of an image that is pulling, where the runtime lets it be seen."""


class AttemptProgress(Message, frozen=True, kw_only=True):
    """How far one attempt is; only images about which something is known."""

    task: TaskId
    attempt: AttemptNumber
    images: Annotated[list[ImageProgress], Meta(max_length=MOST_IMAGES)]


class Progress(Message, frozen=True, kw_only=True):
    """One report on everything that an agent instance is pulling.

    Subject: ``subjects.progress(node, instance)``.
    """

    attempts: Annotated[list[AttemptProgress], Meta(max_length=MOST_HOLDS)]


class ImageOutcome(Message, frozen=True, kw_only=True):
    """How one image of an attempt ended: present, pulled, failed or cancelled."""

    image: ImageName
    """The task's spelling, as in ``AssignedImage.name``."""
    state: ImageState
    digest: Digest | None = None
    bytes: Count | None = None
    """Compressed size of the image."""
    seconds: Seconds | None = None
    """Duration of the pull, waiting for a free place not counted."""
    reason: Reason | None = None
    message: MessageText | None = None
    message_code: Code = ""
    """Which sentence ``message`` is (``common/texts.py``); empty for what others said."""
    message_params: Params = {}

    @property
    def text(self) -> Text | None:
        """The message with its code and parameters, where there is one."""
        return text_of(self.message, self.message_code, self.message_params)


class Outcome(Message, frozen=True, kw_only=True):
    """How one attempt on one node ended.

    Stored under ``subjects.result(task, node, attempt)``, which alone names these three. ``reason``
    is set where the fault is the node's rather than an image's (AgentLost, RuntimeUnavailable…).
    """

    images: Annotated[list[ImageOutcome], Meta(max_length=MOST_IMAGES)] = []
    seconds: Seconds = 0.0
    instance: Name = ""
    """Who says so: an agent instance, or empty for a verdict of the leader."""
    reason: Reason | None = None
    message: MessageText | None = None
    message_code: Code = ""
    """Which sentence ``message`` is (``common/texts.py``); empty for what others said."""
    message_params: Params = {}
    removed: bool = False
    """A verdict: the node ceased to exist and leaves the task."""

    @property
    def text(self) -> Text | None:
        """The message with its code and parameters, where there is one."""
        return text_of(self.message, self.message_code, self.message_params)


class OutcomeRequest(Message, frozen=True, kw_only=True):
    """Store this; answered by an ``OutcomeAnswer``. Repeating it is harmless.

    Subject: ``subjects.outcome(node, instance)``; the node's name is there alone.
    """

    task: TaskId
    attempt: AttemptNumber
    outcome: Outcome


# ── coordinator → agent ──────────────────────────────────────────────────────────────────────


class AssignedImage(Message, frozen=True, kw_only=True):
    """One image to pull: the task's spelling, and the canonical reference for the runtime."""

    name: ImageName
    reference: Reference
    credentials: Annotated[str, Meta(max_length=64)] = ""
    """Which of what is sealed its registry is shown: equal for the same; empty for nothing."""


class Assign(Message, frozen=True, kw_only=True, tag_field="kind", tag="assign"):
    """Pull these images; answered by a ``Reply``. Repeating it is harmless."""

    epoch: Epoch
    task: TaskId
    attempt: AttemptNumber
    images: Annotated[list[AssignedImage], Meta(min_length=1, max_length=MOST_IMAGES)]
    always_pull: bool = False
    pull_timeout_seconds: Annotated[int, Meta(ge=1, le=10**6)] = 1800
    """For one image in this attempt."""
    progress_seconds: Annotated[float, Meta(ge=0.0, le=3600.0)] = 1.0
    """Shortest time between two progress reports."""
    sealed: Annotated[str, Meta(max_length=MAX_MESSAGE_BYTES)] = ""
    """Credentials for this agent instance alone (``common/sealed_logins.py``)."""


class Cancel(Message, frozen=True, kw_only=True, tag_field="kind", tag="cancel"):
    """Stop pulling; answered by a ``Reply``.

    Without ``attempt`` the whole task is over and is remembered for an hour; with it only this
    attempt is dropped, and a later assignment of the task is welcome.
    """

    epoch: Epoch
    task: TaskId
    attempt: AttemptNumber | None = None


class Report(Message, frozen=True, kw_only=True, tag_field="kind", tag="report"):
    """Send a heartbeat now. Broadcast by a starting leader, so it has no reply."""

    epoch: Epoch


Command = Assign | Cancel | Report


class Reply(Message, frozen=True, kw_only=True):
    """An agent's answer to a command."""

    accepted: bool
    refusal: MessageText = ""
    """Why not, in words for a log."""
    epoch: Epoch = 0
    """The highest epoch that the agent knows, so that a deposed leader learns of it."""


# ── coordinator → agent, who asked ───────────────────────────────────────────────────────────


class OutcomeResult(StrEnum):
    """What became of an outcome."""

    STORED = "stored"
    DECIDED = "decided"
    """Another one was first, or the node or the task is over."""
    REFUSED = "refused"


class OutcomeAnswer(Message, frozen=True, kw_only=True):
    """A coordinator's answer to an ``OutcomeRequest``."""

    result: OutcomeResult
    again: bool = False
    """Of a refusal: what is in the way may pass, so that the agent is to ask again."""
    message: MessageText = ""
    """Of a refusal: why."""
    message_code: Code = ""
    message_params: Params = {}


# ── leader → coordinators that follow ────────────────────────────────────────────────────────


class Flight(Message, frozen=True, kw_only=True):
    """One attempt in flight."""

    task: TaskId
    node: Annotated[str, Meta(max_length=NODE_NAME_LIMIT)]
    attempt: AttemptNumber
    started_at: Annotated[int, Meta(ge=0, le=2**53)] = 0
    """Milliseconds since 1970."""
    instance: Annotated[str, Meta(max_length=NAME_LIMIT)] = ""
    """Who was asked, or has accepted; empty while an agent is waited for."""
    accepted: bool = False


class Waiting(Message, frozen=True, kw_only=True):
    """Why a task does not go on; without a message it does."""

    task: TaskId
    message: MessageText = ""
    message_code: Code = ""
    message_params: Params = {}


class Briefing(Message, frozen=True, kw_only=True):
    """One message of a leader; its subject is ``subjects.BRIEFING``."""

    epoch: Epoch
    number: Annotated[int, Meta(ge=1, le=2**53)]
    """Counts from 1 within the epoch."""
    flights: Annotated[list[Flight], Meta(max_length=MOST_ENTRIES)] = []
    waiting: Annotated[list[Waiting], Meta(max_length=MOST_ENTRIES)] = []
    since: Annotated[int, Meta(ge=0, le=2**53)] = 0
    """The messages from this number to this one say everything; 0: they need not."""
    last: Epoch = 0
    """The leader gives its lease up, which has this revision, and says nothing any more."""
