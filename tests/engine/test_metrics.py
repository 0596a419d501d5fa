"""What is counted, and what somebody else has counted already."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.events import (
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    Event,
    OutcomeStored,
    Settled,
    TaskEnded,
)
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskStatus
from coordinator.metrics import Metrics
from tests.core.stage import FLAKY, START, Stage, failing, head, pulled, spec

TASK = "task-20260101-000000-00000001"
OTHER = "task-20260101-000000-00000002"
NOTHING = Decision([], [])


class Counted:
    """Metrics that look at a core on its stage."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, lambda: 3)
        self.stage = Stage("n1", "n2")
        self.stage.start(TASK, "n1 n2")
        self._seq = 0

    def outcome(self, node: str, *, live: bool) -> None:
        """An outcome is read, one of a start's or one that is stored now."""
        self._seq += 1
        event = OutcomeStored(AttemptKey(TASK, node, 1), pulled("a"), self._seq, START, live)
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Something else happens."""
        self.metrics.observe(event, self.stage.core.handle(event, self.stage.now))

    def value(self, name: str, **labels: str) -> float | None:
        """One sample."""
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def counted() -> Counted:
    """A coordinator that has just started."""
    return Counted()


def test_what_is_stored_while_a_start_settles_counts(counted: Counted) -> None:
    """That is when agents hand over what they kept while no coordinator was there."""
    counted.outcome("n1", live=False)
    counted.outcome("n2", live=True)
    assert counted.value("ips_nodes_processed_total", status="succeeded") == 1
    assert counted.value("ips_images_pulled_total") == 1


def test_what_a_later_term_reads_first_counts(counted: Counted) -> None:
    """Between two terms of one process nobody else counts."""
    counted.metrics.observe(Settled(), NOTHING)
    counted.outcome("n1", live=False)
    assert counted.value("ips_nodes_processed_total", status="succeeded") == 1


def test_only_ends_count_as_ends(counted: Counted) -> None:
    """A head that was removed by hand did not end in any way."""
    counted.tell(TaskEnded(head(TASK, status=TaskStatus.RUNNING)))
    assert counted.value("ips_tasks_total", status="running") is None
    counted.stage.start(OTHER, "n1")
    counted.tell(TaskEnded(head(OTHER, status=TaskStatus.CANCELLED)))
    assert counted.value("ips_tasks_total", status="cancelled") == 1


def test_everything_begins_with_zero(counted: Counted) -> None:
    """A dashboard sees a first failure rise, and not appear."""
    for status in ("completed", "failed", "cancelled"):
        assert counted.value("ips_tasks_total", status=status) == 0
        assert counted.value("ips_task_duration_seconds_count", status=status) == 0
    for answer in ("accepted", "refused", "unanswered"):
        assert counted.value("ips_assignments_total", status=answer) == 0
    for processed in ("succeeded", "failed"):
        assert counted.value("ips_nodes_processed_total", status=processed) == 0
    assert counted.value("ips_tasks_total", status="running") is None


def test_a_later_term_counts_nothing_again() -> None:
    """It reads everything that is stored; what came between counts, by its place in the store."""
    counted = Counted()
    counted.tell(Settled())
    counted.outcome("n1", live=True)
    assert counted.value("ips_nodes_processed_total", status="succeeded") == 1
    counted.stage = Stage("n1", "n2")
    counted.stage.start(TASK, "n1 n2")
    counted._seq = 0
    counted.outcome("n1", live=False)
    assert counted.value("ips_nodes_processed_total", status="succeeded") == 1
    counted.outcome("n2", live=False)
    assert counted.value("ips_nodes_processed_total", status="succeeded") == 2
    assert counted.value("ips_images_pulled_total") == 2


def test_a_doubled_outcome_counts_once(counted: Counted) -> None:
    """And one of a node that nobody asked."""
    for node in ("n1", "n1", "n9"):
        counted.outcome(node, live=True)
    assert counted.value("ips_nodes_processed_total", status="succeeded") == 1


def test_failures_count_when_they_are_final(counted: Counted) -> None:
    """An attempt that is tried again is none of a node; its images count as they arrive."""
    counted.stage.start(OTHER, "n1 n2", spec("a", "b", max_retries=1))
    half = Outcome(images=[*pulled("a").images, *failing(b=Reason.REGISTRY_ERROR).images])
    for attempt in (1, 2):
        counted.tell(
            OutcomeStored(
                AttemptKey(OTHER, "n1", attempt), half if attempt == 1 else FLAKY, attempt, START
            )
        )
    assert counted.value("ips_images_pulled_total") == 1
    assert counted.value("ips_nodes_processed_total", status="failed") == 1
    assert counted.value("ips_nodes_processed_total", status="succeeded") == 0


def test_answers_of_agents_count_by_their_kind(counted: Counted) -> None:
    """One each."""
    key = AttemptKey(TASK, "n1", 1)
    counted.tell(AssignmentUnanswered(key, "i"))
    counted.tell(AssignmentRefused(key, "i"))
    counted.tell(AssignmentAccepted(key, "i"))
    for answer in ("accepted", "refused", "unanswered"):
        assert counted.value("ips_assignments_total", status=answer) == 1


def test_a_task_lasts_from_its_start_to_its_end(counted: Counted) -> None:
    """One that never started has no duration."""
    over = msgspec.structs.replace(
        head(TASK, status=TaskStatus.COMPLETED), started_at=1_000, finished_at=31_000
    )
    counted.tell(TaskEnded(over))
    counted.tell(TaskEnded(over))
    counted.tell(TaskEnded(head(OTHER, status=TaskStatus.CANCELLED)))
    assert counted.value("ips_task_duration_seconds_sum", status="completed") == 30
    assert counted.value("ips_task_duration_seconds_count", status="completed") == 1
    assert counted.value("ips_task_duration_seconds_count", status="cancelled") == 0


def test_batches_count_where_their_outcomes_do(counted: Counted) -> None:
    """From the first place to the last node."""
    counted.stage.wait(10.0)
    counted.outcome("n1", live=True)
    assert counted.value("ips_batch_execution_duration_seconds_count") == 0
    counted.outcome("n2", live=True)
    assert counted.value("ips_batch_execution_duration_seconds_count") == 1
    assert counted.value("ips_batch_execution_duration_seconds_sum") == 10


def test_poison_and_running_tasks_are_told(counted: Counted) -> None:
    """By kind; and as they are when somebody looks."""
    counted.metrics.poison("heartbeat")
    counted.metrics.poison("heartbeat")
    assert counted.value("ips_undecodable_messages_total", kind="heartbeat") == 2
    assert counted.value("ips_active_tasks") == 3


def test_failed_attempts_count_by_reason(counted: Counted) -> None:
    """Each reason of an attempt once, however many images have it."""
    images = [
        ImageOutcome(image=name, state=ImageState.FAILED, reason=Reason.IMAGE_NOT_FOUND)
        for name in ("a", "b")
    ]
    event = OutcomeStored(AttemptKey(TASK, "n1", 1), Outcome(images=images), 1, START, live=True)
    counted.tell(event)
    assert counted.value("ips_failed_attempts_total", reason="ImageNotFound") == 1
    assert counted.value("ips_failed_attempts_total", reason="TLSError") == 0
