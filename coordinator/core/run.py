"""One task in the making: its nodes, folded from stored outcomes, and who may begin next.

The same fold serves a running task and one that was over long ago; placing nodes is used only
while it runs. A node's state is nothing but the fold over its attempts, so that a restart derives
it again; phases ``assigned`` and ``pulling`` are what the leader knows beyond it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from enum import Enum, StrEnum

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.backoff import retry_delay
from coordinator.core.task import Rollout, TaskCounts, TaskHead, TaskImage, TaskSpec, TaskStatus


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


class Step(Enum):
    """What an outcome did to its node; the value is the type of the event that tells of it."""

    SUCCEEDED = "node.succeeded"
    RETRYING = "node.retrying"
    FAILED = "node.failed"
    REMOVED = "node.removed"


UNDECODABLE = Outcome(reason=Reason.UNKNOWN, message="The stored outcome cannot be decoded.")


class NodeRun:
    """One node of one task. Times are milliseconds since 1970, ``retry_at`` is in seconds."""

    __slots__ = (
        "accepted_by",
        "asked_at",
        "attempt",
        "batch",
        "deciding",
        "failures",
        "finished_at",
        "images",
        "index",
        "lost_by",
        "message",
        "name",
        "phase",
        "reason",
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
        # What the leader knows of an attempt in flight; nothing of it is stored.
        self.sent_to: str | None = None
        self.accepted_by: str | None = None
        self.asked_at = 0.0
        self.lost_by: set[str] = set()
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

    def absorb(self, outcome: Outcome, work: Sequence[TaskImage]) -> int | None:
        """Take in the images of an outcome; what arrived earlier stays arrived.

        The bytes that have arrived with it, None where no size is known.
        """
        names = {image.name for image in work}
        sizes = []
        for image in outcome.images:
            if image.image in names and not self.arrived(image.image):
                self.images[image.image] = image
                if image.state in _ARRIVED and image.bytes is not None:
                    sizes.append(image.bytes)
        self.reason, self.message = outcome.reason, outcome.message
        if outcome.reason is None and any(i.name not in self.images for i in work):
            self.reason, self.message = Reason.UNKNOWN, "The outcome does not name every image."
        return sum(sizes) if sizes else None

    def clear_flight(self) -> None:
        """Forget what the leader knew of the attempt in flight."""
        self.sent_to = self.accepted_by = None
        self.lost_by = set()
        self.deciding = False


class TaskRun:
    """All nodes of one started task."""

    def __init__(self, head: TaskHead, names: Sequence[str]) -> None:
        self.head = head
        size = head.spec.batch_size
        self.nodes = [NodeRun(name, i, i // size + 1) for i, name in enumerate(names)]
        self.by_name = {node.name: node for node in self.nodes}
        self.in_phase = dict.fromkeys(NodePhase, 0)
        self.in_phase[NodePhase.WAITING] = len(self.nodes)
        self.total_batches = -(-len(self.nodes) // size)
        self.current_batch = 0
        self.retry_count = 0
        self.failed_details = 0
        self.results_seq = 0
        """The highest store sequence among the outcomes that were taken in."""
        self.batch_began: dict[int, float] = {}
        """When a batch was begun (seconds), until all its nodes are settled once."""
        self.touched: set[str] = set()
        """Nodes whose phase has changed since somebody last looked and cleared this."""
        self.arrived_bytes: int | None = None
        """Compressed bytes of all images that have arrived; None while none is known."""
        self.finishing = False
        self.woken_for: float | None = None
        """The retry for which the core has set its alarm."""
        self._unsettled = [0] * (self.total_batches + 1)
        for node in self.nodes:
            self._unsettled[node.batch] += 1
        self._retries: list[tuple[float, int]] = []
        self._cursor = 0

    # ── what is so ──

    @property
    def spec(self) -> TaskSpec:
        """What the user asked for."""
        return self.head.spec

    @property
    def total(self) -> int:
        """Nodes that belong to the task."""
        return len(self.nodes) - self.in_phase[NodePhase.REMOVED]

    @property
    def in_flight(self) -> int:
        """Nodes that hold a place: assigned or pulling."""
        return self.in_phase[NodePhase.ASSIGNED] + self.in_phase[NodePhase.PULLING]

    @property
    def is_over(self) -> bool:
        """Whether no node has anything left to do."""
        return sum(self.in_phase[phase] for phase in OVER) == len(self.nodes)

    def counts(self) -> TaskCounts:
        """The nodes by what became of them; whatever is not over counts as cancelled."""
        completed = self.in_phase[NodePhase.SUCCEEDED]
        failed = self.in_phase[NodePhase.FAILED]
        return TaskCounts(
            total=self.total,
            completed=completed,
            failed=failed,
            cancelled=self.total - completed - failed,
            removed=self.in_phase[NodePhase.REMOVED],
            failed_details=self.failed_details,
            current_batch=self.current_batch,
            retry_count=self.retry_count,
            bytes=self.arrived_bytes,
        )

    def allowed_failures(self) -> int:
        """How many nodes may fail without failing the task; a percentage is rounded down."""
        allowed = self.spec.max_failed_nodes
        if isinstance(allowed, int):
            return allowed
        return int(allowed.removesuffix("%")) * self.total // 100

    def verdict(self) -> TaskStatus:
        """How the task ends, once it is over."""
        if not self.nodes:
            return TaskStatus.FAILED
        too_many = self.in_phase[NodePhase.FAILED] > self.allowed_failures()
        return TaskStatus.FAILED if too_many else TaskStatus.COMPLETED

    # ── the fold ──

    def take_in(
        self, key: AttemptKey, outcome: Outcome, *, seq: int, stored_at: float, now: float
    ) -> Step | None:
        """Apply one stored outcome; None where it says nothing new (double, late, unknown).

        ``stored_at`` is the store's clock and ``now`` the leader's, both in seconds: the retry is
        due one delay after the store's time, but never later than one delay from now.
        """
        node = self.by_name.get(key.node)
        if node is None or node.phase in OVER:
            return None
        if key.attempt != node.next_attempt:
            return None
        self.results_seq = max(self.results_seq, seq)
        node.attempt = key.attempt
        node.clear_flight()
        node.finished_at = int(stored_at * 1000)
        node.started_at = node.finished_at - int(outcome.seconds * 1000)
        if outcome.removed:
            self.move(node, NodePhase.REMOVED)
            return Step.REMOVED
        self.current_batch = max(self.current_batch, node.batch)
        arrived = node.absorb(outcome, self.spec.work)
        if arrived is not None:
            self.arrived_bytes = (self.arrived_bytes or 0) + arrived
        self.retry_count = max(self.retry_count, key.attempt - 1)
        if all(node.arrived(image.name) for image in self.spec.work):
            node.reason = node.message = None
            self.move(node, NodePhase.SUCCEEDED)
            return Step.SUCCEEDED
        return self._fail(node, stored_at, now)

    def _fail(self, node: NodeRun, stored_at: float, now: float) -> Step:
        node.failures += 1
        hopeless = node.reason is not None and not node.reason.retry_makes_sense
        if hopeless or node.failures > self.spec.max_retries or not node.wanted(self.spec.work):
            self.failed_details += node.failed_details()
            self.move(node, NodePhase.FAILED)
            return Step.FAILED
        delay = retry_delay(self.spec, node.failures)
        node.retry_at = min(stored_at, now) + delay
        heapq.heappush(self._retries, (node.retry_at, node.index))
        self.move(node, NodePhase.RETRYING)
        return Step.RETRYING

    def close(self) -> None:
        """The task is over: what was not done is cancelled."""
        for node in self.nodes:
            if node.phase not in OVER:
                node.clear_flight()
                self.move(node, NodePhase.CANCELLED)

    def move(self, node: NodeRun, phase: NodePhase) -> None:
        """Bring a node into a phase; the one place where phases change."""
        self.touched.add(node.name)
        self.in_phase[node.phase] -= 1
        self.in_phase[phase] += 1
        self._unsettled[node.batch] += (phase in UNSETTLED) - (node.phase in UNSETTLED)
        node.phase = phase
        if phase is not NodePhase.RETRYING:
            node.retry_at = None

    # ── who may begin ──

    def next_retry(self) -> float | None:
        """When the earliest retry is due, in seconds; None where no node waits for one."""
        while self._retries:
            due, index = self._retries[0]
            if self.nodes[index].retry_at == due:
                return due
            heapq.heappop(self._retries)  # that node has moved on since
        return None

    def candidate(self, now: float) -> NodeRun | None:
        """The node that a free place goes to: a due retry first, then the next in order."""
        due = self.next_retry()
        if due is not None and due <= now:
            return self.nodes[self._retries[0][1]]
        while self._cursor < len(self.nodes):
            node = self.nodes[self._cursor]
            if node.phase is NodePhase.WAITING:
                return node if self._may_begin(node) else None
            self._cursor += 1
        return None

    def _may_begin(self, node: NodeRun) -> bool:
        if self.spec.rollout is Rollout.ROLLING or node.batch <= self.current_batch:
            return True
        return self.current_batch == 0 or self.is_settled(self.current_batch)

    def is_settled(self, batch: int) -> bool:
        """Whether every node of a batch has succeeded, failed, or waits for a retry."""
        return self._unsettled[batch] == 0

    def place(self, node: NodeRun, now: float) -> None:
        """Give a node its place: from now on it counts against ``batchSize``."""
        node.attempt = node.next_attempt
        node.started_at = int(now * 1000)
        node.finished_at = None
        node.reason = node.message = None
        if node.phase is NodePhase.WAITING:
            self.batch_began.setdefault(node.batch, now)
        self.current_batch = max(self.current_batch, node.batch)
        self.retry_count = max(self.retry_count, node.attempt - 1)
        self.move(node, NodePhase.ASSIGNED)
