"""One node of one task: its phase, and what is known of its attempts and images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from coordinator.core.task import TaskImage


class NodePhase(StrEnum):
    """Where a node of a task is. The values are public, except ``removed``, which leaves it."""

    WAITING = "waiting"
    ASSIGNED = "assigned"
    PULLING = "pulling"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REMOVED = "removed"


IN_FLIGHT = frozenset({NodePhase.ASSIGNED, NodePhase.PULLING})
UNSETTLED = frozenset({NodePhase.WAITING, NodePhase.ASSIGNED, NodePhase.PULLING})
OVER = frozenset(
    {
        NodePhase.SUCCEEDED,
        NodePhase.FAILED,
        NodePhase.CANCELLED,
        NodePhase.REMOVED,
    }
)
_ARRIVED = frozenset({ImageState.PRESENT, ImageState.PULLED})


class Decision(NamedTuple):
    """A stored outcome: its place in the store, and the store's time in seconds."""

    outcome: Outcome
    seq: int
    stored_at: float


class NodeRun:
    """One node of one task. Times are milliseconds since 1970, ``retry_at`` is in seconds."""

    __slots__ = (
        "accepted_by",
        "alive_at",
        "attempt",
        "batch",
        "deciding",
        "early",
        "failures",
        "finished_at",
        "gone",
        "images",
        "index",
        "lost_by",
        "message",
        "name",
        "phase",
        "reason",
        "resend_at",
        "retry_at",
        "sent_to",
        "started_at",
    )

    def __init__(self, name: str, index: int, batch: int) -> None:
        self.name = name
        self.index = index
        self.batch = batch
        self.phase = NodePhase.WAITING
        self.attempt = 0
        """The attempt in progress or the last one; 0 before the first."""
        self.failures = 0
        self.images: dict[str, ImageOutcome] = {}
        """The newest outcome of each image, by its name in the task."""
        self.reason: Reason | None = None
        """Why the last attempt failed, where the fault was the node's rather than an image's."""
        self.message: str | None = None
        self.started_at: int | None = None
        self.finished_at: int | None = None
        self.retry_at: float | None = None
        self.early: dict[int, Decision] = {}
        """Outcomes of attempts whose predecessors are undecided: first writers all the same."""
        # What the leader knows beyond that; nothing of it is stored.
        self.gone = False
        """Whether the node has ceased to exist, so that it is to leave the task."""
        self.deciding = False
        """Whether a verdict of the leader's own is on its way into the store."""
        self.clear_flight()

    def clear_flight(self) -> None:
        """Forget what the leader knew of the attempt in flight."""
        self.sent_to: str | None = None
        """The instance whose answer is awaited, or that has accepted."""
        self.accepted_by: str | None = None
        self.resend_at: float | None = None
        """When to ask again (seconds), where the agent refused or did not answer."""
        self.alive_at = 0.0
        """The last sign of life, or the placing, on the clock of silence."""
        self.lost_by: frozenset[str] = frozenset()
        """Instances that ended while they were at this attempt."""
        self.deciding = False

    @property
    def next_attempt(self) -> int:
        """The number of the attempt in progress, or of the next one."""
        return self.failures + 1

    def arrived(self, image: str) -> bool:
        """Whether an image is on the node."""
        outcome = self.images.get(image)
        return outcome is not None and outcome.state in _ARRIVED

    def wanted(self, work: Sequence[TaskImage]) -> list[TaskImage]:
        """Images that another attempt should try: neither there nor beyond hope."""
        return [image for image in work if not self.arrived(image.name) and self._hope(image.name)]

    def _hope(self, image: str) -> bool:
        outcome = self.images.get(image)
        return outcome is None or outcome.reason is None or outcome.reason.retry_makes_sense

    def failed_images(self) -> Iterator[ImageOutcome]:
        """The newest outcomes that are failures."""
        return (i for i in self.images.values() if i.state not in _ARRIVED)

    def failed_details(self) -> int:
        """Entries that this node has in ``failedNodeDetails`` once it is given up."""
        return sum(1 for _ in self.failed_images()) + (self.reason is not None)

    def absorb(self, outcome: Outcome, work: Sequence[TaskImage]) -> list[ImageOutcome]:
        """Take in the images of an outcome; what arrived earlier stays arrived.

        The images that have arrived with it.
        """
        names = {image.name for image in work}
        arrived = []
        for image in outcome.images:
            if image.image in names and not self.arrived(image.image):
                self.images[image.image] = image
                if image.state in _ARRIVED:
                    arrived.append(image)
        self.reason, self.message = outcome.reason, outcome.message
        if outcome.reason is None and any(i.name not in self.images for i in work):
            self.reason, self.message = Reason.UNKNOWN, "The outcome does not name every image."
        return arrived
