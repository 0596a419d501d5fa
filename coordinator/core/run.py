"""One started task: its nodes, folded from stored outcomes, and who may begin next.

The same fold serves a running task and one that was over long ago; placing nodes is used only
while it runs. A node's state is nothing but the fold over its attempts, so that a restart derives
it again; phases ``assigned`` and ``pulling`` are what is known beyond it of the agents.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import NamedTuple

from common.messages import Outcome, total_bytes
from common.reasons import Reason
from common.subjects import AttemptKey
from common.text import fields_of
from common.texts import OUTCOME_UNDECODABLE
from coordinator.core.changes import NodeMoved, Step
from coordinator.core.image_tally import ImageTally
from coordinator.core.node_run import (
    AT_REST,
    IN_FLIGHT,
    NEXT_PHASES,
    OVER,
    UNSETTLED,
    IllegalMoveError,
    NodePhase,
    NodeRun,
    StoredOutcome,
)
from coordinator.core.task import (
    RetryStrategy,
    Rollout,
    TaskCounts,
    TaskHead,
    TaskSpec,
)

LONGEST_DELAY_SECONDS = 600


class Ending(NamedTuple):
    """What counts of a task that ends at this moment."""

    counts: TaskCounts
    results_seq: int
    """Outcomes stored above this sequence never count."""


UNDECODABLE = Outcome(reason=Reason.UNKNOWN, **fields_of(OUTCOME_UNDECODABLE()))


def retry_delay(spec: TaskSpec, retry: int) -> int:
    """Seconds to wait before retry number ``retry``, which counts from 1."""
    if spec.retry_strategy is RetryStrategy.LINEAR:
        return spec.retry_delay
    return min(spec.retry_delay << (retry - 1), LONGEST_DELAY_SECONDS)


class TaskRun:
    """All nodes of one started task. ``on_move`` is told of every move of a node.

    What is so of the task as a whole is kept up to date by ``move``, and only to be read.
    """

    def __init__(
        self,
        head: TaskHead,
        names: Sequence[str],
        on_move: Callable[[NodeMoved], object] = lambda _move: None,
    ) -> None:
        self.head = head
        self.spec = head.spec
        """What the user asked for."""
        self._on_move = on_move
        size = head.spec.batch_size
        self.nodes = [NodeRun(name, i, i // size + 1) for i, name in enumerate(names)]
        self.by_name = {node.name: node for node in self.nodes}
        self.in_phase = dict.fromkeys(NodePhase, 0)
        self.in_phase[NodePhase.WAITING] = len(self.nodes)
        self.total = len(self.nodes)
        """Nodes that belong to the task."""
        self.in_flight = 0
        """Nodes that hold a place: assigned or pulling."""
        self.at_rest = len(self.nodes)
        """Nodes that wait for their turn or for a retry."""
        self.is_over = not self.nodes
        """Whether no node has anything left to do."""
        self.total_batches = -(-len(self.nodes) // size)
        self.current_batch = 0
        self.retry_count = 0
        self.failed_details = 0
        self.results_seq = 0
        """The highest store sequence among the outcomes that were taken in."""
        self.batch_began: dict[int, float] = {}
        """When a batch was begun (seconds), until all its nodes are settled once."""
        self.arrived_bytes: int | None = None
        """Compressed bytes of all images that have arrived; None while none is known."""
        self.sizes: dict[str, int] = {}
        """Compressed bytes of each image that has arrived anywhere, by its name in the task."""
        self.missing = {image.name: len(self.nodes) for image in head.spec.work}
        """Nodes on which an image is still to arrive, by its name."""
        self.images = {image.name: ImageTally() for image in head.spec.work}
        """What became of each image, by its name."""
        self.finishing = False
        """Whether the end is on its way into the store."""
        self.finish_at = 0.0
        """When a refused end may be stored again, in seconds."""
        self.woken_for: float | None = None
        """The retry for which the core has set its alarm."""
        self.next_retry: float | None = None
        """When the earliest retry is due (seconds); None where no node waits for one."""
        self.unsettled = [0] * (self.total_batches + 1)
        """By batch, its nodes that have neither succeeded nor failed, nor wait for a retry."""
        for node in self.nodes:
            self.unsettled[node.batch] += 1
        self._retries: list[tuple[float, int]] = []
        self._cursor = 0
        self._open_batch = 0
        """The newest batch that was begun in its turn."""

    # ── what is so ──

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
            images=tuple(self.images[image.name].counts() for image in self.spec.work),
        )

    def ending(self) -> Ending:
        """What a cancel or an end at this moment counts."""
        return Ending(self.counts(), self.results_seq)

    # ── the fold ──

    def take_in(
        self, key: AttemptKey, outcome: Outcome, *, seq: int, stored_at: float, now: float
    ) -> list[tuple[int, Step]]:
        """Apply one stored outcome: what became of which attempts, in their order.

        Nothing where it says nothing new (double, late, unknown).

        ``stored_at`` is the store's clock and ``now`` the leader's, both in seconds: the retry is
        due one delay after the store's time, but never later than one delay from now. An outcome
        that was stored before its predecessor's counts when its turn comes, because no other can
        be stored in its place.
        """
        node = self.by_name.get(key.node)
        if node is None or node.phase in OVER:
            return []
        if not node.next_attempt <= key.attempt <= self.spec.max_retries + 1:
            return []
        node.early.setdefault(key.attempt, StoredOutcome(outcome, seq, stored_at))
        decided = []
        while node.phase not in OVER:
            attempt = node.next_attempt
            stored = node.early.pop(attempt, None)
            if stored is None:
                break
            decided.append((attempt, self._decided(node, attempt, stored, now)))
        return decided

    def _decided(self, node: NodeRun, attempt: int, stored: StoredOutcome, now: float) -> Step:
        outcome, seq, stored_at = stored
        self.results_seq = max(self.results_seq, seq)
        node.attempt = attempt
        node.finished_at = int(stored_at * 1000)
        # An agent may say any duration, but no attempt began before 1970 or after its end.
        node.started_at = int((stored_at - min(max(0.0, outcome.seconds), stored_at)) * 1000)
        if outcome.removed:
            self.move(node, NodePhase.REMOVED)
            return Step.REMOVED
        self.current_batch = max(self.current_batch, node.batch)
        self.retry_count = max(self.retry_count, attempt - 1)
        arrived, is_complete = node.absorb(outcome, self.spec.work)
        for image in arrived:
            self.missing[image.image] -= 1
            self.images[image.image].arrived(image)
            if image.bytes is not None:
                self.arrived_bytes = total_bytes([self.arrived_bytes or 0, image.bytes])
                self.sizes[image.image] = max(self.sizes.get(image.image, 0), image.bytes)
        if is_complete:
            self.move(node, NodePhase.SUCCEEDED)
            return Step.SUCCEEDED
        return self._failed(node, stored_at, now)

    def _failed(self, node: NodeRun, stored_at: float, now: float) -> Step:
        node.next_attempt += 1
        hopeless = node.reason is not None and not node.reason.retry_makes_sense
        if hopeless or node.failures > self.spec.max_retries or not node.wanted(self.spec.work):
            self.failed_details += node.failed_details()
            for image in node.not_arrived(self.spec.work):
                self.images[image.name].given_up(node.images.get(image.name))
            self.move(node, NodePhase.FAILED)
            return Step.FAILED
        self.move(node, NodePhase.RETRYING)
        node.retry_at = min(stored_at, now) + retry_delay(self.spec, node.failures)
        heapq.heappush(self._retries, (node.retry_at, node.index))
        self.next_retry = self._retries[0][0]
        return Step.RETRYING

    def close(self) -> None:
        """The task is over: what was not done is cancelled."""
        for node in self.nodes:
            if node.phase not in OVER:
                self.move(node, NodePhase.CANCELLED)

    def move(self, node: NodeRun, phase: NodePhase) -> None:
        """Bring a node into a phase; the one place where phases change.

        Raises IllegalMoveError where ``NEXT_PHASES`` has no such move.
        """
        if phase not in NEXT_PHASES[node.phase]:
            raise IllegalMoveError(f"{self.head.id} {node.name}: {node.phase} to {phase}")
        self._count(node.batch, node.phase, -1)
        self._count(node.batch, phase, 1)
        if phase in OVER:
            self.is_over = self.in_flight == self.at_rest == 0
            if phase is not NodePhase.SUCCEEDED:
                for image in node.not_arrived(self.spec.work):
                    self.missing[image.name] -= 1
        node.phase = phase
        node.retry_at = None
        while self._retries and self.nodes[self._retries[0][1]].retry_at != self._retries[0][0]:
            heapq.heappop(self._retries)  # that node has moved on since
        self.next_retry = self._retries[0][0] if self._retries else None
        self._on_move(NodeMoved(self.head.id, node.name))

    def _count(self, batch: int, phase: NodePhase, more: int) -> None:
        self.in_phase[phase] += more
        if phase in IN_FLIGHT:
            self.in_flight += more
        elif phase in AT_REST:
            self.at_rest += more
        elif phase is NodePhase.REMOVED:
            self.total -= more
        if phase in UNSETTLED:
            self.unsettled[batch] += more

    # ── who may begin ──

    def place_next(self, now: float) -> NodeRun | None:
        """Give a free place to a due retry, else to the next in order; None where none may go."""
        if self.head.paused:
            return None
        if self.next_retry is not None and self.next_retry <= now:
            node = self.nodes[self._retries[0][1]]
        elif (following := self._next_in_order()) is not None:
            node = following
            self._open_batch = node.batch
        else:
            return None
        self.place(node, now)
        return node

    def has_work(self, now: float) -> bool:
        """Whether a place would go to any node."""
        if self.head.paused:
            return False
        due = self.next_retry
        return (due is not None and due <= now) or self._next_in_order() is not None

    def _next_in_order(self) -> NodeRun | None:
        """The first node that has not begun, if its batch may."""
        while self._cursor < len(self.nodes):
            node = self.nodes[self._cursor]
            if node.phase is NodePhase.WAITING:
                return node if self._may_begin(node) else None
            if node.phase is not NodePhase.REMOVED:
                self._open_batch = node.batch
            self._cursor += 1
        return None

    def _may_begin(self, node: NodeRun) -> bool:
        if self.spec.rollout is Rollout.ROLLING or node.batch == self._open_batch:
            return True
        return self._open_batch == 0 or self.unsettled[self._open_batch] == 0

    def place(self, node: NodeRun, now: float) -> None:
        """Give a node its place: from now on it counts against ``batchSize``."""
        node.attempt = node.next_attempt
        node.started_at = int(now * 1000)
        node.finished_at = None
        node.reason = node.text = None
        if node.phase is NodePhase.WAITING:
            self.batch_began.setdefault(node.batch, now)
        self.current_batch = max(self.current_batch, node.batch)
        self.retry_count = max(self.retry_count, node.attempt - 1)
        self.move(node, NodePhase.ASSIGNED)


def has_place(run: TaskRun) -> bool:
    """Whether ``batchSize`` lets one more node of a task be in flight."""
    return run.in_flight < run.spec.batch_size
