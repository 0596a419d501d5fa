"""Everything that travels over NATS between coordinator and agents, as msgspec Structs.

JSON in camelCase. Decoding tolerates unknown fields, so that two neighbouring versions understand
one another. Times are absent on purpose: no agent's clock is ever used, only measured durations
(seconds) and the store's own time stamps.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from common.reasons import Reason
from common.subjects import ATTEMPTS, TASK_ID
from common.texts import Code, Params, Text, text_of

NOT_DECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises: of a byte that is no UTF-8 inside of a string, of ten thousand brackets."""

Count = Annotated[int, Meta(ge=0, le=2**62)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
Digest = Annotated[str, Meta(max_length=256)]
# What an agent says that it holds goes back to it in a command, so it has to fit into one.
TaskId = Annotated[str, Meta(pattern=rf"^{TASK_ID}\Z")]
AttemptNumber = Annotated[int, Meta(ge=1, le=ATTEMPTS)]


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
    seconds: float = 0.0
    """How long the instance has been at it."""


class ImageDisk(Message, frozen=True, kw_only=True):
    """The file system that holds the runtime's images, in bytes."""

    free_bytes: int
    total_bytes: int


class Heartbeat(Message, frozen=True, kw_only=True):
    """What an agent instance says of itself: at its start, every interval, and when asked.

    Subject: ``subjects.heartbeat(node, instance)``, which alone names node and instance.
    """

    agent_version: str
    driver: str
    labels: dict[str, str] = {}
    runtime: str = ""
    """Name and version, for example ``containerd 2.1.9``; empty while the runtime is away."""
    why_no_runtime: Annotated[str, Meta(max_length=WHY_LENGTH)] = ""
    """While the runtime is away: why, in one sentence without its end."""
    platform: str = ""
    """``os/arch`` in OCI terms, for example ``linux/amd64``."""
    image_disk: ImageDisk | None = None
    pulling: list[str] = []
    """References being pulled right now."""
    holds: list[Hold] = []
    interval: float = 10.0
    """Seconds until the next heartbeat is due."""
    leaving: bool = False
    """The last word of an instance that stops in order: it holds nothing any more."""


class ImageProgress(Message, frozen=True, kw_only=True):
    """How far one image of an attempt is. Bytes are compressed, as the registry sends them."""

    image: str
    state: ImageState
    bytes: int | None = None
    total_bytes: int | None = None
    bytes_per_second: int | None = None
    phase: PullPhase | None = None
    """Of an image that is pulling, where the runtime lets it be seen."""


class AttemptProgress(Message, frozen=True, kw_only=True):
    """How far one attempt is; only images about which something is known."""

    task: TaskId
    attempt: AttemptNumber
    images: list[ImageProgress]


class Progress(Message, frozen=True, kw_only=True):
    """One report on everything that an agent instance is pulling.

    Subject: ``subjects.progress(node, instance)``.
    """

    attempts: list[AttemptProgress]


class ImageOutcome(Message, frozen=True, kw_only=True):
    """How one image of an attempt ended: present, pulled, failed or cancelled."""

    image: str
    """The task's spelling, as in ``AssignedImage.name``."""
    state: ImageState
    digest: Digest | None = None
    bytes: Count | None = None
    """Compressed size of the image."""
    seconds: Seconds | None = None
    """Duration of the pull, waiting for a free place not counted."""
    reason: Reason | None = None
    message: str | None = None
    message_code: Code = ""
    """Which sentence ``message`` is (``common/texts.py``); empty for what others said."""
    message_params: Params = {}

    @property
    def text(self) -> Text | None:
        """The message with its code and parameters, where there is one."""
        return text_of(self.message, self.message_code, self.message_params)


class Outcome(Message, frozen=True, kw_only=True):
    """How one attempt on one node ended.

    Subject: ``subjects.result(task, node, attempt)``, which alone names these three. ``reason``
    is set where the fault is the node's rather than an image's (AgentLost, RuntimeUnavailable…).
    """

    images: list[ImageOutcome] = []
    seconds: Seconds = 0.0
    instance: str = ""
    """Who says so: an agent instance, or empty for a verdict of the leader."""
    reason: Reason | None = None
    message: str | None = None
    message_code: Code = ""
    """Which sentence ``message`` is (``common/texts.py``); empty for what others said."""
    message_params: Params = {}
    removed: bool = False
    """A verdict: the node ceased to exist and leaves the task."""

    @property
    def text(self) -> Text | None:
        """The message with its code and parameters, where there is one."""
        return text_of(self.message, self.message_code, self.message_params)


# ── coordinator → agent ──────────────────────────────────────────────────────────────────────


class AssignedImage(Message, frozen=True, kw_only=True):
    """One image to pull: the task's spelling, and the canonical reference for the runtime."""

    name: str
    reference: str


class Assign(Message, frozen=True, kw_only=True, tag_field="kind", tag="assign"):
    """Pull these images; answered by a ``Reply``. Repeating it is harmless."""

    epoch: int
    task: str
    attempt: int
    images: list[AssignedImage]
    always_pull: bool = False
    pull_timeout_seconds: int = 1800
    """For one image in this attempt."""
    progress_seconds: float = 1.0
    """Shortest time between two progress reports."""


class Cancel(Message, frozen=True, kw_only=True, tag_field="kind", tag="cancel"):
    """Stop pulling; answered by a ``Reply``.

    Without ``attempt`` the whole task is over and is remembered for an hour; with it only this
    attempt is dropped, and a later assignment of the task is welcome.
    """

    epoch: int
    task: str
    attempt: int | None = None


class Report(Message, frozen=True, kw_only=True, tag_field="kind", tag="report"):
    """Send a heartbeat now. Broadcast by a starting leader, so it has no reply."""

    epoch: int


Command = Assign | Cancel | Report


class Reply(Message, frozen=True, kw_only=True):
    """An agent's answer to a command."""

    accepted: bool
    refusal: str = ""
    """Why not, in words for a log."""
    epoch: int = 0
    """The highest epoch that the agent knows, so that a deposed leader learns of it."""
