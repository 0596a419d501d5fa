"""What is counted, and what somebody else has counted already."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.events import Event, OutcomeStored, Settled, TaskEnded
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskStatus
from coordinator.metrics import Metrics
from tests.core.stage import START, Stage, head, pulled

TASK = "task-20260101-000000-00000001"
OTHER = "task-20260101-000000-00000002"
NOTHING = Decision([], [])


class Counted:
    """Metrics that look at a core on its stage."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, lambda: 0)
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
