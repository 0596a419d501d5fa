from __future__ import annotations

import pytest

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from coordinator.core.changes import AttemptDecided, BatchSettled, NodeMoved, Step
from coordinator.core.commands import FinishTask, WakeAt
from coordinator.core.events import Woken
from coordinator.core.node_run import NodePhase
from coordinator.core.run import UNDECODABLE
from coordinator.core.task import RetryStrategy, TaskStatus
from tests.core.stage import (
    FLAKY,
    HOPELESS,
    START,
    Stage,
    Told,
    failing,
    of_kind,
    places,
    pulled,
    spec,
    told,
)

pytestmark = pytest.mark.pure

PATIENT = spec(max_retries=2, retry_delay=30)


def test_a_failed_attempt_is_tried_again_after_its_delay() -> None:
    """Until then the node is neither failed nor in flight; the core asks to be woken."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    assert stage.store("t1", "n1", FLAKY) == [
        told("t1", "n1", Step.RETRYING),
        BatchSettled("t1", 1, 0.0),
    ]
    assert stage.phases("t1") == {NodePhase.RETRYING: 1}
    assert stage.node("t1", "n1").retry_at == START + 30
    assert stage.wait(29.9) == []
    assert stage.wait(0.1) == [stage.work("t1", "n1", 2)]
    assert stage.run("t1").retry_count == 1


def test_the_last_attempt_fails_the_node() -> None:
    """``maxRetries`` retries follow the first attempt, and no more."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    stage.store("t1", "n1", FLAKY)
    stage.wait(30)
    stage.store("t1", "n1", FLAKY, 2)
    stage.wait(30)
    commands = stage.store("t1", "n1", FLAKY, 3)
    assert told("t1", "n1", Step.FAILED, 3) in commands
    [finish] = of_kind(commands, FinishTask)
    assert (finish.status, finish.counts.retry_count) == (TaskStatus.FAILED, 2)
    assert stage.wait(3600) == []


def test_exponential_delays_follow_one_another() -> None:
    """Each retry is due when its own delay after the failure has passed."""
    stage = Stage("n1")
    wanted = spec(max_retries=3, retry_delay=200, retry_strategy=RetryStrategy.EXPONENTIAL)
    stage.start("t1", "n1", wanted)
    for attempt, delay in enumerate([200, 400, 600], start=1):
        stage.store("t1", "n1", FLAKY, attempt)
        assert places(stage.wait(delay - 1)) == []
        assert places(stage.wait(1)) == [("t1", "n1", attempt + 1)]


@pytest.mark.parametrize(
    ("stored_at", "due"), [(START, START + 30), (START - 20, START + 10), (START + 500, START + 30)]
)
def test_the_deadline_counts_from_the_time_in_the_store(stored_at: float, due: float) -> None:
    """One delay after the store's time, but never later than one delay from now."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    stage.store("t1", "n1", FLAKY, at=stored_at)
    assert stage.node("t1", "n1").retry_at == due


def test_a_deadline_that_has_passed_is_due_at_once() -> None:
    """After a long absence of the leader nothing waits for nothing."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    assert places(stage.store("t1", "n1", FLAKY, at=START - 100)) == [("t1", "n1", 2)]


@pytest.mark.parametrize("reason", [reason for reason in Reason if not reason.retry_makes_sense])
def test_a_permanent_failure_is_not_tried_again(reason: Reason) -> None:
    """Nothing can end differently, however many retries are left."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    commands = stage.store("t1", "n1", failing(a=reason))
    assert told("t1", "n1", Step.FAILED) in commands
    assert stage.wait(3600) == []


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.retry_makes_sense])
def test_a_passing_failure_is_tried_again(reason: Reason) -> None:
    """Every other reason may end differently the next time."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    assert told("t1", "n1", Step.RETRYING) in stage.store("t1", "n1", failing(a=reason))


def test_a_failure_without_a_reason_is_tried_again() -> None:
    """What cannot be told is not taken for hopeless."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    outcome = Outcome(images=[ImageOutcome(image="a", state=ImageState.FAILED)])
    assert told("t1", "n1", Step.RETRYING) in stage.store("t1", "n1", outcome)


def test_a_retry_asks_only_for_images_that_failed_and_may_succeed() -> None:
    """What arrived stays, what is hopeless is left, and the hopeless one fails the node at last."""
    stage = Stage("n1")
    stage.start("t1", "n1", spec("a", "b", "c", max_retries=5))
    outcome = Outcome(
        images=[
            ImageOutcome(image="a", state=ImageState.PULLED),
            ImageOutcome(image="b", state=ImageState.FAILED, reason=Reason.IMAGE_NOT_FOUND),
            ImageOutcome(image="c", state=ImageState.FAILED, reason=Reason.TIMEOUT),
        ]
    )
    stage.store("t1", "n1", outcome)
    assert stage.wait(30) == [stage.work("t1", "n1", 2, 1, "c")]
    assert told("t1", "n1", Step.FAILED, 2) in stage.store("t1", "n1", pulled("c"), 2)
    assert [image.image for image in stage.node("t1", "n1").failed_images()] == ["b"]


def test_images_of_several_attempts_add_up_to_success() -> None:
    """A node has succeeded when every image has arrived in some attempt."""
    stage = Stage("n1")
    stage.start("t1", "n1", spec("a", "b", max_retries=1))
    first = Outcome(
        images=[
            ImageOutcome(image="a", state=ImageState.PRESENT, bytes=5),
            ImageOutcome(image="b", state=ImageState.FAILED, reason=Reason.STALLED),
        ]
    )
    stage.store("t1", "n1", first)
    stage.wait(30)
    second = Outcome(images=[ImageOutcome(image="b", state=ImageState.PULLED, bytes=7)])
    assert told("t1", "n1", Step.SUCCEEDED, 2) in stage.store("t1", "n1", second, 2)
    assert stage.run("t1").arrived_bytes == 12


def test_an_image_that_arrived_stays_arrived() -> None:
    """A later outcome that says otherwise of it is not believed."""
    stage = Stage("n1")
    stage.start("t1", "n1", spec("a", "b", max_retries=1))
    first = Outcome(images=[ImageOutcome(image="a", state=ImageState.PULLED)])
    stage.store("t1", "n1", first)
    second = failing(a=Reason.DISK_FULL)
    second = Outcome(images=[*second.images, *pulled("b").images])
    assert told("t1", "n1", Step.SUCCEEDED, 2) in stage.store("t1", "n1", second, 2)


def test_an_outcome_that_does_not_name_every_image_is_a_failure() -> None:
    """Silence about an image is no success; strangers' images are not looked at."""
    stage = Stage("n1")
    stage.start("t1", "n1", spec("a", "b", max_retries=1))
    assert told("t1", "n1", Step.RETRYING) in stage.store("t1", "n1", pulled("a", "z"))
    assert stage.node("t1", "n1").reason is Reason.UNKNOWN
    assert stage.wait(30) == [stage.work("t1", "n1", 2, 1, "b")]


def test_an_undecodable_outcome_is_a_failed_attempt() -> None:
    """It decided the attempt, so it counts as one that failed for an unknown reason."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    assert told("t1", "n1", Step.RETRYING) in stage.store("t1", "n1", UNDECODABLE)
    assert stage.node("t1", "n1").reason is Reason.UNKNOWN


def test_a_fault_of_the_node_itself_is_tried_again_with_all_its_images() -> None:
    """Where no image is to blame, the node's reason decides."""
    stage = Stage("n1")
    stage.start("t1", "n1", spec("a", "b", max_retries=1))
    stage.store("t1", "n1", Outcome(reason=Reason.RUNTIME_UNAVAILABLE))
    assert stage.wait(30) == [stage.work("t1", "n1", 2)]


def test_a_permanent_fault_of_the_node_itself_fails_it() -> None:
    """For example an attempt that was cancelled on the node."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    assert told("t1", "n1", Step.FAILED) in stage.store(
        "t1", "n1", Outcome(reason=Reason.CANCELLED)
    )


# ── late, doubled, early and foreign outcomes ──


def test_a_doubled_outcome_counts_once() -> None:
    """The second reading of an attempt says nothing new."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", PATIENT)
    stage.store("t1", "n1", FLAKY)
    assert stage.store("t1", "n1", FLAKY) == []
    assert stage.node("t1", "n1").failures == 1


def test_a_late_outcome_does_not_touch_the_attempt_in_flight() -> None:
    """Attempt 1 was decided; whatever else is said of it has no effect on attempt 2."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    stage.store("t1", "n1", FLAKY)
    stage.wait(30)
    assert stage.store("t1", "n1", pulled()) == []
    assert stage.phases("t1") == {NodePhase.ASSIGNED: 1}


def test_nothing_counts_after_the_node_is_over() -> None:
    """Success and failure are final."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", PATIENT)
    stage.store("t1", "n1", pulled())
    assert stage.store("t1", "n1", HOPELESS, 2) == []
    assert stage.phases("t1") == {NodePhase.SUCCEEDED: 1, NodePhase.ASSIGNED: 1}


@pytest.mark.parametrize(
    ("task", "node", "attempt"),
    [("t9", "n1", 1), ("t1", "n9", 1), ("t1", "n1", 4), ("t1", "n1", 0)],
)
def test_an_outcome_of_nobodys_attempt_has_no_effect(task: str, node: str, attempt: int) -> None:
    """Unknown tasks and nodes, and attempts that there will never be."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    assert stage.store(task, node, pulled(), attempt) == []
    assert stage.run("t1").results_seq == 0


def test_an_outcome_stored_before_its_turn_counts_in_its_turn() -> None:
    """The first writer of an attempt wins for ever, so nobody could ever store another."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    assert stage.store("t1", "n1", pulled(), 2) == []
    assert stage.store("t1", "n1", HOPELESS, 2) == []
    commands = stage.store("t1", "n1", FLAKY, 1)
    assert [news for news in commands if isinstance(news, Told)] == [
        told("t1", "n1", Step.RETRYING, 1),
        told("t1", "n1", Step.SUCCEEDED, 2),
    ]
    [finish] = of_kind(commands, FinishTask)
    assert (finish.status, finish.results_seq) == (TaskStatus.COMPLETED, 3)


def test_each_attempt_is_told_with_the_outcome_that_decided_it() -> None:
    """Also where that was stored before its turn; the node itself has moved once."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    stage.store("t1", "n1", pulled(), 2, at=START + 1)
    before = len(stage.changes)
    stage.store("t1", "n1", FLAKY, 1, at=START + 2)
    moved, first, second, _ = stage.changes[before:]
    assert moved == NodeMoved("t1", "n1")
    assert isinstance(first, AttemptDecided)
    assert isinstance(second, AttemptDecided)
    assert (first.event.key.attempt, first.event.seq, first.event.stored_at) == (1, 2, START + 2)
    assert (second.event.key.attempt, second.event.seq, second.event.stored_at) == (2, 1, START + 1)
    assert second.event.outcome.images == pulled().images


def test_the_highest_sequence_that_counted_is_known_at_the_end() -> None:
    """Outcomes stored above it never count, neither now nor when the task is read again."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", PATIENT)
    stage.store("t1", "n2", pulled())
    stage.store("t1", "n2", pulled())
    stage.store("t9", "n1", pulled())
    [finish] = of_kind(stage.store("t1", "n1", pulled()), FinishTask)
    assert finish.results_seq == 4


@pytest.mark.parametrize("seconds", [-5.0, 1e300])
def test_an_impossible_duration_does_no_harm(seconds: float) -> None:
    """No attempt began before 1970 or after its end."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", PATIENT)
    stage.store("t1", "n1", Outcome(images=pulled().images, seconds=seconds))
    node = stage.node("t1", "n1")
    assert node.started_at is not None
    assert 0 <= node.started_at <= START * 1000
    assert node.finished_at == START * 1000


def test_the_core_is_woken_for_the_earliest_retry() -> None:
    """A later failure with a shorter way to go moves the alarm forward."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", spec(max_retries=1, retry_delay=40))
    stage.store("t1", "n1", FLAKY)
    assert stage.wake == START + 40
    stage.store("t1", "n2", FLAKY, at=START - 10)
    assert stage.wake == START + 30
    assert places(stage.wait(30)) == [("t1", "n2", 2)]
    assert places(stage.wait(10)) == [("t1", "n1", 2)]


def test_a_wake_up_that_comes_early_is_asked_for_again() -> None:
    """Whoever is woken too soon says so once more, for the same moment."""
    stage = Stage("n1")
    stage.start("t1", "n1", PATIENT)
    stage.store("t1", "n1", FLAKY)
    stage.now = START + 29.999
    assert stage.core.handle(Woken(), stage.now).commands == [WakeAt(START + 30)]
