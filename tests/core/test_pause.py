"""A task that is paused: no new node begins, what is in flight goes on, nothing is forgotten."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from common.messages import Outcome
from coordinator.core import places as places_module
from coordinator.core.commands import Assign, FinishTask, StartTask
from coordinator.core.events import PauseSet, Settled, TaskStarted
from coordinator.core.node_run import NodePhase
from coordinator.core.task import TaskStatus
from tests.core.stage import FLAKY, Said, Stage, head, of_kind, places, pulled, spec

pytestmark = pytest.mark.pure

ONE_BY_ONE = spec(batch_size=1)


def set_paused(stage: Stage, task: str, *, paused: bool) -> list[Said]:
    """The head is stored so; what the core says to it."""
    return stage.tell(PauseSet(replace(stage.run(task).head, paused=paused)))


def test_no_new_node_begins_and_what_runs_goes_on() -> None:
    """Until it is resumed; then the next one begins at once."""
    stage = Stage("n1", "n2", "n3")
    stage.start("t1", "n1 n2 n3", ONE_BY_ONE)
    stage.accept("t1", "n1")
    assert set_paused(stage, "t1", paused=True) == []
    assert stage.phases("t1") == {NodePhase.PULLING: 1, NodePhase.WAITING: 2}
    assert places(stage.store("t1", "n1", pulled())) == []
    assert places(stage.wait(10_000)) == []
    assert stage.phases("t1") == {NodePhase.SUCCEEDED: 1, NodePhase.WAITING: 2}
    assert stage.run("t1").head.status is TaskStatus.RUNNING
    [key] = places(set_paused(stage, "t1", paused=False))
    assert key.node == "n2"


def test_who_is_paused_keeps_nobody_out() -> None:
    """It gives its place back with its last pull, and queues for one when it is resumed."""
    stage = Stage("n1", "n2", max_concurrent_tasks=1)
    stage.start("t1", "n1 n2", ONE_BY_ONE)
    stage.accept("t1", "n1")
    stage.create("t2", spec())
    set_paused(stage, "t1", paused=True)
    assert not stage.core.awaits_place("t1")
    [start] = of_kind(stage.store("t1", "n1", pulled()), StartTask)
    assert start.task == "t2"
    stage.start("t2", "n1")
    assert places(set_paused(stage, "t1", paused=False)) == []
    assert stage.core.awaits_place("t1")
    stage.accept("t2", "n1")
    stage.store("t2", "n1", pulled())
    [assign] = of_kind(stage.end("t2", TaskStatus.COMPLETED), Assign)
    assert assign.key.task == "t1"


def test_a_retry_that_falls_due_waits_for_the_end_of_the_pause() -> None:
    """And is not looked at again and again meanwhile."""
    stage = Stage("n1")
    stage.start("t1", "n1", spec(max_retries=1, retry_delay=30))
    stage.store("t1", "n1", FLAKY)
    set_paused(stage, "t1", paused=True)
    assert places(stage.wait(3600)) == []
    assert stage.wake is None or stage.wake > stage.now
    assert stage.phases("t1") == {NodePhase.RETRYING: 1}
    [key] = places(set_paused(stage, "t1", paused=False))
    assert (key.node, key.attempt) == ("n1", 2)


def test_a_retry_that_is_not_due_at_the_end_of_the_pause_comes_in_its_time() -> None:
    """The alarm is set anew."""
    stage = Stage("n1")
    stage.start("t1", "n1", spec(max_retries=1, retry_delay=300))
    stage.store("t1", "n1", FLAKY)
    set_paused(stage, "t1", paused=True)
    stage.wait(100)
    assert places(set_paused(stage, "t1", paused=False)) == []
    assert places(stage.wait(199)) == []
    assert [key.attempt for key in places(stage.wait(2))] == [2]


def test_a_task_whose_nodes_are_all_over_ends_although_it_is_paused() -> None:
    """There is nothing left to hold back."""
    stage = Stage("n1")
    stage.start("t1", "n1", spec())
    stage.accept("t1", "n1")
    set_paused(stage, "t1", paused=True)
    [finish] = of_kind(stage.store("t1", "n1", pulled()), FinishTask)
    assert finish.status is TaskStatus.COMPLETED


def test_a_new_leader_knows_of_a_pause() -> None:
    """It is in the head."""
    stage = Stage("n1", "n2", settled=False)
    stored = replace(head("t1", ONE_BY_ONE, TaskStatus.RUNNING), paused=True)
    stage.tell(TaskStarted(stored, 1, ("n1", "n2")))
    assert places(stage.tell(Settled())) == []
    assert places(stage.wait(1000)) == []
    assert stage.core.places_taken == 0
    assert len(places(set_paused(stage, "t1", paused=False))) == 1


def test_a_task_that_starts_while_it_is_paused_keeps_nobody_out() -> None:
    """The pause was stored while its start was."""
    stage = Stage("n1", max_concurrent_tasks=1)
    stored = replace(head("t1", ONE_BY_ONE, TaskStatus.RUNNING), paused=True)
    assert places(stage.tell(TaskStarted(stored, 1, ("n1",)))) == []
    assert stage.core.places_taken == 0
    [start] = of_kind(stage.create("t2"), StartTask)
    assert start.task == "t2"


def test_however_many_are_paused_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than may rest until a retry is due."""
    monkeypatch.setattr(places_module, "RESTING_NODES", 250)
    stage = Stage("n1", "n2", max_concurrent_tasks=1)
    for task in ("t1", "t2", "t3", "t4"):
        stage.start(task, "n1 n2", ONE_BY_ONE)
        set_paused(stage, task, paused=True)
        stage.store(task, "n1", pulled())
    assert stage.core.places_taken == 0
    assert len(places(set_paused(stage, "t4", paused=False))) == 1


def test_a_pause_of_no_task_that_runs_has_no_effect() -> None:
    """It has ended, or is not known yet."""
    stage = Stage("n1")
    stored = replace(head("t9", None, TaskStatus.RUNNING), paused=True)
    assert stage.tell(PauseSet(stored)) == []
    assert "t9" not in stage.core.runs


@pytest.mark.parametrize("outcome", [pulled(), FLAKY])
def test_nothing_is_assigned_for_as_long_as_it_is_paused(outcome: Outcome) -> None:
    """Whatever comes in meanwhile, in whatever order it is paused and resumed."""
    nodes = [f"n{number}" for number in range(6)]
    stage = Stage(*nodes)
    stage.start("t1", " ".join(nodes), spec(batch_size=2, max_retries=2, retry_delay=10))
    for _ in range(12):
        set_paused(stage, "t1", paused=True)
        flying = [node for _, node in stage.core.in_flight]
        said: list[Said] = []
        for node in flying:
            attempt = stage.node("t1", node).attempt
            stage.accept("t1", node, attempt)
            said += stage.store("t1", node, outcome, attempt)
        said += stage.wait(50)
        assert of_kind(said, Assign) == []
        if "t1" not in stage.core.runs or stage.run("t1").is_over:
            break
        set_paused(stage, "t1", paused=False)
    assert stage.run("t1").is_over
