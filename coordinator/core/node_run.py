"""One node of one task: its phase, and what its stored outcomes say of its attempts and images.

What is known of an attempt in flight beyond the phase is kept in ``in_flight.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from common.text import Text
from common.texts import OUTCOME_INCOMPLETE
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


AT_REST = frozenset({NodePhase.WAITING, NodePhase.RETRYING})
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
_ENDS = OVER | {NodePhase.RETRYING}
NEXT_PHASES: Final[Mapping[NodePhase, frozenset[NodePhase]]] = MappingProxyType(
    {
        # An outcome may be read of a node that is waiting here: another leader had begun it.
        NodePhase.WAITING: _ENDS | {NodePhase.ASSIGNED},
        NodePhase.ASSIGNED: _ENDS | {NodePhase.PULLING},
        NodePhase.PULLING: _ENDS | {NodePhase.ASSIGNED},
        NodePhase.RETRYING: _ENDS | {NodePhase.ASSIGNED},
        NodePhase.SUCCEEDED: frozenset(),
        NodePhase.FAILED: frozenset(),
        NodePhase.CANCELLED: frozenset(),
        NodePhase.REMOVED: frozenset(),
    }
)
"""The legal moves of a node, by its phase; docs/architecture.md draws them."""
ARRIVED = frozenset({ImageState.PRESENT, ImageState.PULLED})


class IllegalMoveError(Exception):
    """A node was to be moved as no node may move: an error of this program."""


class StoredOutcome(NamedTuple):
    """A stored outcome: its place in the store, and the store's time in seconds."""

    outcome: Outcome
    seq: int
    stored_at: float


class NodeRun:
    """One node of one task. Times are milliseconds since 1970, ``retry_at`` is in seconds."""

    __slots__ = (
        "attempt",
        "batch",
        "early",
        "finished_at",
        "images",
        "index",
        "name",
        "next_attempt",
        "phase",
        "reason",
        "retry_at",
        "started_at",
        "text",
    )

    def __init__(self, name: str, index: int, batch: int) -> None:
        self.name = name
        self.index = index
        self.batch = batch
        self.phase = NodePhase.WAITING
        self.attempt = 0
        """The attempt in progress or the last one; 0 before the first."""
        self.next_attempt = 1
        """The number of the attempt in progress, or of the next one."""
        self.images: dict[str, ImageOutcome] = {}
        """The newest outcome of each image, by its name in the task."""
        self.reason: Reason | None = None
        """Why the last attempt failed, where the fault was the node's rather than an image's."""
        self.text: Text | None = None
        """What the last attempt said of that reason."""
        self.started_at: int | None = None
        self.finished_at: int | None = None
        self.retry_at: float | None = None
        self.early: dict[int, StoredOutcome] = {}
        """Outcomes of attempts whose predecessors are undecided: first writers all the same."""

    @property
    def failures(self) -> int:
        """Attempts that have failed."""
        return self.next_attempt - 1

    def arrived(self, image: str) -> bool:
        """Whether an image is on the node."""
        outcome = self.images.get(image)
        return outcome is not None and outcome.state in ARRIVED

    def not_arrived(self, work: Sequence[TaskImage]) -> list[TaskImage]:
        """Images that are not on the node."""
        return [image for image in work if not self.arrived(image.name)]

    def wanted(self, work: Sequence[TaskImage]) -> list[TaskImage]:
        """Images that another attempt should try: neither there nor beyond hope."""
        return [image for image in self.not_arrived(work) if self._hope(image.name)]

    def _hope(self, image: str) -> bool:
        outcome = self.images.get(image)
        return outcome is None or outcome.reason is None or outcome.reason.retry_makes_sense

    def failed_images(self) -> Iterator[ImageOutcome]:
        """The newest outcomes that are failures."""
        return (i for i in self.images.values() if i.state not in ARRIVED)

    def failed_details(self) -> int:
        """Entries that this node has in ``failedNodeDetails`` once it is given up."""
        return sum(1 for _ in self.failed_images()) + (self.reason is not None)

    def absorb(
        self, outcome: Outcome, work: Sequence[TaskImage]
    ) -> tuple[list[ImageOutcome], bool]:
        """Take in the images of an outcome; what arrived earlier stays arrived.

        The images that have arrived with it, and whether by now all are there.
        """
        names = {image.name for image in work}
        arrived = []
        for image in outcome.images:
            if image.image in names and not self.arrived(image.image):
                self.images[image.image] = image
                if image.state in ARRIVED:
                    arrived.append(image)
        is_complete = not self.not_arrived(work)
        if is_complete:
            self.reason = self.text = None
        elif outcome.reason is None and any(i.name not in self.images for i in work):
            self.reason, self.text = Reason.UNKNOWN, OUTCOME_INCOMPLETE()
        else:
            self.reason, self.text = outcome.reason, outcome.text
        return arrived, is_complete
