"""The coordinator's log of its work, and who is told of failed pulls."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.changes import AttemptDecided, Step
from coordinator.core.events import Event, OutcomeStored, TaskCreated, TaskEnded, TaskStarted
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskCounts, TaskStatus
from coordinator.engine.failed_pulls import FailedPulls
from coordinator.engine.journal import Journal
from coordinator.nodes.source import FailedPull
from tests.core.stage import FLAKY, HOPELESS, REMOVAL, Stage, failing, head, pulled, spec

pytestmark = pytest.mark.pure

TASK = "task-20260101-000000-00000001"
RETRYING = spec("a", batch_size=2, max_retries=1)
Line = tuple[int, str, dict[str, Any]]


class Watched:
    """A core, its journal, and who is told of failed pulls."""

    def __init__(self) -> None:
        self.stage = Stage("n1", "n2")
        self.journal = Journal(self.stage.core.runs, epoch=7)
        self.failed: list[FailedPull] = []
        self._pulls = FailedPulls(self.stage.core.runs, self.failed.append)
        self._seq = 0

    def tell(self, event: Event) -> None:
        """Something happens."""
        decision = self.stage.core.handle(event, self.stage.now)
        self.journal.observe(event, decision)
        self._pulls.observe(event, decision)

    def outcome(self, node: str, outcome: Outcome, attempt: int = 1, *, live: bool = True) -> None:
        """An outcome is read."""
        self._seq += 1
        key = AttemptKey(TASK, node, attempt)
        self.tell(OutcomeStored(key, outcome, self._seq, self.stage.now, live))

    def start(self) -> None:
        """The task runs on two nodes."""
        started = head(TASK, RETRYING, TaskStatus.RUNNING)
        self.tell(TaskStarted(started, 1, ("n1", "n2")))


def lines(caplog: pytest.LogCaptureFixture) -> list[Line]:
    """What was logged: level, message, fields."""
    found = [
        (record.levelno, record.getMessage(), dict(vars(record).get("fields", {})))
        for record in caplog.records
        if record.name == "coordinator.engine.journal"
    ]
    caplog.clear()
    return found


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    """A journal of which every line is kept."""
    caplog.set_level(logging.DEBUG, "coordinator.engine.journal")
    return Watched()


def test_a_term(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """Its beginning and its end, with the epoch."""
    watched.start()
    caplog.clear()
    watched.journal.led(3)
    watched.journal.deposed("the lease is lost")
    assert lines(caplog) == [
        (logging.INFO, "leading", {"epoch": 7, "tasks": 3, "running": 1}),
        (
            logging.WARNING,
            "deposed: nothing is assigned any more",
            {"epoch": 7, "why": "the lease is lost"},
        ),
    ]


def test_a_task_from_its_creation_to_its_end(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for each step, with the same names for the same things."""
    watched.tell(TaskCreated(head(TASK, RETRYING), 1))
    watched.start()
    created, started = lines(caplog)
    assert created == (logging.INFO, "task created", {"task": TASK, "priority": 5, "images": 1})
    assert started[1:] == ("task started", {"task": TASK, "nodes": 0, "batches": 0})
    watched.outcome("n1", FLAKY)
    retrying = {"task": TASK, "node": "n1", "attempt": 1, "reason": Reason.REGISTRY_ERROR}
    assert lines(caplog) == [(logging.INFO, "node retrying", retrying)]
    watched.outcome("n2", pulled())
    succeeded, batch = lines(caplog)
    assert succeeded[:2] == (logging.DEBUG, "node succeeded")
    assert batch == (logging.INFO, "batch done", {"task": TASK, "batch": 1, "seconds": 0.0})
    watched.outcome("n1", HOPELESS, attempt=2)
    failed = {"task": TASK, "node": "n1", "attempt": 2, "reason": Reason.IMAGE_NOT_FOUND}
    assert lines(caplog) == [(logging.WARNING, "node failed", failed)]
    over = head(TASK, RETRYING, TaskStatus.FAILED)
    over = type(over)(id=TASK, spec=RETRYING, status=TaskStatus.FAILED, created_at=0,
                      counts=TaskCounts(total=2, completed=1, failed=1))  # fmt: skip
    watched.tell(TaskEnded(over))
    end = {"task": TASK, "status": TaskStatus.FAILED, "completed": 1, "failed": 1}
    assert lines(caplog) == [(logging.INFO, "task over", end)]


def test_a_node_at_fault_itself_and_one_that_is_removed(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """The node's own reason comes before that of an image; a removal has none."""
    watched.start()
    caplog.clear()
    watched.outcome("n1", Outcome(reason=Reason.AGENT_LOST))
    watched.outcome("n2", REMOVAL)
    first, second, *_ = lines(caplog)
    assert first[1:] == (
        "node retrying",
        {"task": TASK, "node": "n1", "attempt": 1, "reason": Reason.AGENT_LOST},
    )
    assert second[1:] == ("node removed", {"task": TASK, "node": "n2", "attempt": 1})


def test_a_cancelled_task_and_one_removed_by_hand(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that never ran has no counts; one whose head was deleted did not end."""
    watched.tell(TaskEnded(head(TASK, status=TaskStatus.CANCELLED)))
    end = {"task": TASK, "status": TaskStatus.CANCELLED, "completed": 0, "failed": 0}
    assert lines(caplog) == [(logging.INFO, "task over", end)]
    other = "task-20260101-000000-00000002"
    watched.tell(TaskEnded(head(other, status=TaskStatus.RUNNING)))
    assert lines(caplog) == [(logging.WARNING, "task removed by hand", {"task": other})]


def test_a_step_of_an_unknown_run_has_an_unknown_reason(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """The log never stands in the way."""
    event = OutcomeStored(AttemptKey(TASK, "n1", 1), FLAKY, 1, 0.0)
    change = AttemptDecided(TASK, "n1", 1, Step.FAILED, event)
    watched.journal.observe(event, Decision([], [change]))
    ((_, message, fields),) = lines(caplog)
    assert (message, fields["reason"]) == ("node failed", Reason.UNKNOWN)


# ── failed pulls ──


def test_each_failed_image_of_a_live_attempt_is_told() -> None:
    """Whether or not the node is tried again; what arrived is not told."""
    watched = Watched()
    watched.tell(
        TaskStarted(
            head(TASK, spec("a", "b", "c", max_retries=1), TaskStatus.RUNNING), 1, ("n1", "n2")
        )
    )
    failures = failing(a=Reason.REGISTRY_ERROR, b=Reason.IMAGE_NOT_FOUND)
    arrived = ImageOutcome(image="c", state=ImageState.PULLED)
    watched.outcome("n1", Outcome(images=[*failures.images, arrived]))
    told = [(one.task, one.node, one.image, one.reason) for one in watched.failed]
    assert told == [
        (TASK, "n1", "a", Reason.REGISTRY_ERROR),
        (TASK, "n1", "b", Reason.IMAGE_NOT_FOUND),
    ]


def test_what_succeeded_was_removed_or_is_replayed_is_not_told() -> None:
    """A start reads what another leader has told of."""
    watched = Watched()
    watched.start()
    watched.outcome("n1", FLAKY, live=False)
    watched.outcome("n2", REMOVAL)
    watched.outcome("n1", pulled(), attempt=2)
    assert watched.failed == []


def test_failures_of_an_unknown_run_are_not_told() -> None:
    """Its task has ended in the same moment."""
    watched = Watched()
    event = OutcomeStored(AttemptKey(TASK, "n1", 1), FLAKY, 1, 0.0)
    change = AttemptDecided(TASK, "n1", 1, Step.FAILED, event)
    watched._pulls.observe(event, Decision([], [change]))
    assert watched.failed == []
