from __future__ import annotations

import pytest

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from coordinator.core.commands import FinishTask, StartTask
from coordinator.core.events import FinishFailed
from coordinator.core.node_run import NodePhase
from coordinator.core.run import TaskRun
from coordinator.core.task import ImageCounts, TaskCounts, TaskStatus
from tests.core.stage import (
    FLAKY,
    HOPELESS,
    REMOVAL,
    Stage,
    failing,
    head,
    of_kind,
    pulled,
    spec,
)

pytestmark = pytest.mark.pure


def finish_of(stage: Stage, failed: int, succeeded: int, removed: int = 0) -> FinishTask:
    """The end of a task of which so many nodes failed, succeeded and vanished."""
    outcomes = [HOPELESS] * failed + [pulled()] * succeeded + [REMOVAL] * removed
    for number, outcome in enumerate(outcomes):
        commands = stage.store("t1", f"n{number}", outcome)
    [finish] = of_kind(commands, FinishTask)
    return finish


def stage_with(count: int, allowed: int | str = 0) -> Stage:
    """A running task of so many nodes, of which some may fail."""
    stage = Stage()
    nodes = " ".join(f"n{number}" for number in range(count))
    stage.start("t1", nodes, spec(batch_size=count, max_failed_nodes=allowed))
    return stage


def test_a_task_is_completed_when_every_node_has_every_image() -> None:
    """Not when work is handed out; there is nothing to say about it."""
    assert finish_of(stage_with(3), 0, 3) == FinishTask(
        "t1",
        TaskStatus.COMPLETED,
        TaskCounts(total=3, completed=3, current_batch=1, images=(ImageCounts(pulled=3),)),
        results_seq=3,
        text=None,
    )


def test_one_failed_node_fails_the_task_by_default() -> None:
    """All nodes are tried all the same, and the message says the commonest reason."""
    finish = finish_of(stage_with(3), 1, 2)
    assert finish.status is TaskStatus.FAILED
    assert str(finish.text) == ("1 of 3 nodes failed (limit 0), mostly ImageNotFound.")
    assert finish.counts == TaskCounts(
        total=3,
        completed=2,
        failed=1,
        failed_details=1,
        current_batch=1,
        images=(ImageCounts(pulled=2, failed=1, reasons={"ImageNotFound": 1}),),
    )


@pytest.mark.parametrize(
    ("allowed", "count", "most"),
    [
        (0, 10, 0),
        (3, 10, 3),
        ("0%", 10, 0),
        ("10%", 10, 1),
        ("10%", 19, 1),
        ("10%", 9, 0),
        ("33%", 3, 0),
        ("34%", 3, 1),
        ("100%", 3, 3),
    ],
)
def test_so_many_nodes_may_fail(allowed: int | str, count: int, most: int) -> None:
    """A number, or a percentage of the nodes rounded down: one more fails the task."""
    stage = stage_with(count, allowed)
    assert finish_of(stage, most, count - most).status is TaskStatus.COMPLETED
    if most < count:
        stage = stage_with(count, allowed)
        assert finish_of(stage, most + 1, count - most - 1).status is TaskStatus.FAILED


def test_a_percentage_is_of_the_nodes_that_still_belong_to_the_task() -> None:
    """Ten nodes of which one vanished: ten per cent of nine is none."""
    assert finish_of(stage_with(10, "10%"), 1, 8, removed=1).status is TaskStatus.FAILED


def test_failures_that_are_allowed_are_mentioned() -> None:
    """The task is completed, and says on how many nodes it is not."""
    finish = finish_of(stage_with(4, 2), 1, 3)
    assert str(finish.text) == "1 of 4 nodes failed (limit 2)."


def test_the_commonest_reason_counts_nodes() -> None:
    """A node with the same fault in many images counts once."""
    images = "abcdef"
    stage = Stage()
    stage.start("t1", "n0 n1 n2", spec(*images, batch_size=3))
    stage.store("t1", "n0", failing(**dict.fromkeys(images, Reason.UNAUTHORIZED)))
    stage.store("t1", "n1", Outcome(reason=Reason.AGENT_LOST))
    [finish] = of_kind(stage.store("t1", "n2", Outcome(reason=Reason.AGENT_LOST)), FinishTask)
    assert finish.text is not None
    assert finish.text.message.endswith(", mostly AgentLost.")


def test_details_are_counted_for_each_failed_image_and_each_fault_of_an_agent() -> None:
    """As many as ``failedNodeDetails`` would have entries in full."""
    stage = Stage()
    stage.start("t1", "n0 n1 n2", spec("a", "b", batch_size=3))
    stage.store("t1", "n0", failing(a=Reason.TIMEOUT, b=Reason.STALLED))
    stage.store("t1", "n1", Outcome(reason=Reason.AGENT_LOST))
    [finish] = of_kind(stage.store("t1", "n2", pulled("a", "b")), FinishTask)
    assert finish.counts.failed_details == 3


def test_bytes_are_those_of_images_that_arrived() -> None:
    """Unknown sizes are left out, and nothing known is not zero."""
    stage = Stage()
    stage.start("t1", "n0 n1", spec("a", "b", batch_size=2))
    image = ImageOutcome(image="a", state=ImageState.PULLED, bytes=7)
    stage.store("t1", "n0", Outcome(images=[image, *failing(b=Reason.TIMEOUT).images]))
    assert stage.run("t1").counts().bytes == 7
    assert finish_of(stage_with(1), 0, 1).counts.bytes is None


def test_the_end_is_stored_once() -> None:
    """While that is on its way, nothing repeats it."""
    stage = stage_with(2)
    stage.store("t1", "n0", pulled())
    assert len(of_kind(stage.store("t1", "n1", pulled()), FinishTask)) == 1
    assert stage.store("t1", "n1", FLAKY) == []
    assert stage.beat("n1") == []
    assert stage.wait(600) == []


def test_a_refused_end_is_stored_again() -> None:
    """Every two seconds until the store takes it; a doubled refusal doubles nothing."""
    stage = stage_with(1)
    finish = finish_of(stage, 0, 1)
    for _ in range(3):
        assert stage.tell(FinishFailed("t1")) == []
        assert stage.tell(FinishFailed("t1")) == []
        assert stage.wait(1.9) == []
        assert stage.wait(0.1) == [finish]
    stage.end("t1", TaskStatus.COMPLETED)
    assert stage.tell(FinishFailed("t1")) == []
    assert stage.wait(600) == []


def test_a_cancel_may_win_against_the_end() -> None:
    """Whoever loses the swap learns of the other; the core hears only that it is over."""
    stage = stage_with(1)
    finish_of(stage, 0, 1)
    stage.create("t2")
    stage.tell(FinishFailed("t1"))
    assert stage.end("t1", TaskStatus.CANCELLED) == []
    assert stage.wait(2) == []


def test_the_next_task_starts_when_one_is_over() -> None:
    """Not before its end is stored."""
    stage = Stage("n0", max_concurrent_tasks=1)
    stage.start("t1", "n0")
    stage.create("t2")
    assert of_kind(stage.store("t1", "n0", pulled()), StartTask) == []
    assert stage.end("t1", TaskStatus.COMPLETED) == [StartTask("t2", ("n0",))]


def test_counts_of_a_cancelled_task_call_unfinished_nodes_cancelled() -> None:
    """What was done stays done."""
    stage = Stage("n0", "n1", "n2", "n3")
    stage.start("t1", "n0 n1 n2 n3", spec(batch_size=3, max_retries=1))
    stage.store("t1", "n0", pulled())
    stage.store("t1", "n1", FLAKY)
    counts = stage.run("t1").counts()
    assert (counts.total, counts.completed, counts.failed, counts.cancelled) == (4, 1, 0, 3)


def test_a_finished_task_is_folded_from_the_store_and_closed() -> None:
    """The same fold serves whoever asks later; what was not done is cancelled."""
    stage = Stage()
    stage.start("t1", "n0 n1")
    stage.store("t1", "n0", pulled())
    run = TaskRun(head("t1"), ["n0", "n1"])
    run.close()
    assert run.in_phase[NodePhase.CANCELLED] == 2
    assert run.is_over
    stage.run("t1").close()
    assert stage.phases("t1") == {NodePhase.SUCCEEDED: 1, NodePhase.CANCELLED: 1}
