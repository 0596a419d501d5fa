from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from common.reasons import Reason
from coordinator.core import places as places_module
from coordinator.core.commands import CancelWork, FinishTask, LoadNames, StartTask
from coordinator.core.events import (
    NamesLoaded,
    NodeVanished,
    Settled,
    StoreClosed,
    StoreOpened,
    TaskCreated,
    TaskStarted,
)
from coordinator.core.task import TaskHead, TaskStatus
from tests.core.stage import (
    FLAKY,
    REMOVAL,
    Stage,
    failing,
    head,
    of_kind,
    places,
    pulled,
    spec,
    verdicts,
)

pytestmark = pytest.mark.pure

HOURLY = spec(max_retries=5, retry_delay=3600)
UNAVAILABLE = failing(a=Reason.AGENT_UNAVAILABLE)


def resting(stage: Stage, *tasks: str) -> None:
    """Tasks of one node whose first attempt has just failed."""
    for task in tasks:
        stage.start(task, task, HOURLY)
        stage.store(task, task, FLAKY)


def test_tasks_that_only_wait_for_a_retry_keep_nobody_out() -> None:
    """Three of them, on a node that nobody knows, for hours: an urgent task starts at once."""
    stage = Stage("n1")
    ghost = spec(names_nodes=True, max_retries=5, retry_delay=3600)
    for task in ("t1", "t2", "t3"):
        stage.create(task, ghost, ("ghost",))
        stage.start(task, "ghost", ghost)
    assert stage.create("urgent", spec(priority=10)) == []
    given_up = stage.wait(60)
    assert verdicts(given_up) == [("ghost", "AgentUnavailable")] * 3
    assert of_kind(given_up, StartTask) == []
    [start] = of_kind(stage.store("t1", "ghost", UNAVAILABLE, run=0), StartTask)
    assert start == StartTask("urgent", ("n1",))
    assert stage.run("t1").head.status is TaskStatus.RUNNING


def test_a_retry_that_is_due_waits_for_a_place() -> None:
    """The task has no more right to it than before; it goes on as soon as one is free."""
    stage = Stage("t1", "n2", max_concurrent_tasks=1)
    resting(stage, "t1")
    stage.create("t2")
    stage.start("t2", "n2")
    assert places(stage.wait(3600)) == []
    assert stage.core.awaits_place("t1")
    assert stage.core.places_taken == 1
    assert places(stage.end("t2")) == [("t1", "t1", 2)]
    assert not stage.core.awaits_place("t1")


def test_starts_and_retries_compete_by_urgency() -> None:
    """Priority first, then the order of creation, whether a task has started or not."""
    stage = Stage("t1", "n2", max_concurrent_tasks=1)
    resting(stage, "t1")
    stage.create("busy")
    stage.start("busy", "n2")
    stage.create("same")
    stage.create("urgent", spec(priority=9))
    stage.wait(3600)
    assert of_kind(stage.end("busy"), StartTask) == [StartTask("urgent", ("n2", "t1"))]
    assert places(stage.end("urgent")) == [("t1", "t1", 2)]
    assert of_kind(stage.store("t1", "t1", pulled(), 2), StartTask) == []
    [start] = of_kind(stage.end("t1", TaskStatus.COMPLETED), StartTask)
    assert start.task == "same"


def test_equals_go_on_in_the_order_of_their_creation() -> None:
    """However often each of them comes back: nobody is overtaken by a younger one."""
    stage = Stage("t1", "t2", "n3", max_concurrent_tasks=1)
    resting(stage, "t1", "t2")
    stage.create("busy", spec(priority=1))
    stage.start("busy", "n3", spec(priority=1))
    stage.create("young")
    stage.wait(3600)
    assert places(stage.end("busy")) == [("t1", "t1", 2)]
    assert places(stage.store("t1", "t1", FLAKY, 2)) == [("t2", "t2", 2)]
    [start] = of_kind(stage.store("t2", "t2", FLAKY, 2), StartTask)
    assert start.task == "young"


def test_a_task_with_anything_else_to_do_keeps_its_place() -> None:
    """A node in flight, or one that waits for the cap on all tasks together."""
    stage = Stage("n1", "n2", "n3", max_concurrent_tasks=2, max_nodes_in_flight=1)
    wanted = spec(batch_size=1, max_retries=1, retry_delay=3600)
    stage.start("t1", "n1 n2", wanted)
    stage.start("t2", "n3", wanted)
    assert stage.core.places_taken == 2
    assert places(stage.store("t1", "n1", FLAKY)) == [("t1", "n2", 1)]
    assert stage.create("t3") == []
    assert stage.core.places_taken == 2


def test_work_that_an_agent_holds_has_its_place_whatever_the_limit() -> None:
    """It is under way; nothing else begins until there is room again."""
    stage = Stage("t1", "n2", "n3", max_concurrent_tasks=1)
    resting(stage, "t1")
    stage.create("t2")
    stage.start("t2", "n2")
    stage.wait(3600)
    assert of_kind(stage.beat("t1", ("t1", 2)), CancelWork) == []
    assert stage.core.places_taken == 2
    stage.create("t3")
    assert of_kind(stage.end("t2"), StartTask) == []
    stage.store("t1", "t1", pulled(), 2)
    [start] = of_kind(stage.end("t1", TaskStatus.COMPLETED), StartTask)
    assert start.task == "t3"


def test_a_task_that_rests_can_be_cancelled() -> None:
    """Nothing of it comes back."""
    stage = Stage("t1", "t2")
    resting(stage, "t1", "t2")
    assert stage.end("t1") == []
    assert places(stage.wait(3600)) == [("t2", "t2", 2)]
    assert stage.core.places_taken == 1


def test_a_task_that_is_over_while_it_rests_ends_at_once() -> None:
    """Its end needs no place."""
    stage = Stage("t1", "n2", max_concurrent_tasks=1)
    resting(stage, "t1")
    stage.start("t2", "n2")
    assert verdicts(stage.tell(NodeVanished("t1"))) == [("t1", None)]
    [finish] = of_kind(stage.store("t1", "t1", REMOVAL, 2, run=0), FinishTask)
    assert finish.task == "t1"
    assert stage.core.places_taken == 1


def test_a_store_that_takes_no_writes_gives_no_place_away() -> None:
    """A retry that is due queues until it does."""
    stage = Stage("t1")
    resting(stage, "t1")
    stage.tell(StoreClosed())
    assert places(stage.wait(3600)) == []
    assert places(stage.tell(StoreOpened())) == [("t1", "t1", 2)]


def test_a_new_leader_gives_places_to_those_that_work_or_have_not_begun() -> None:
    """Whoever only waited for a retry queues for one, though it has fallen due meanwhile."""
    stage = Stage("n1", "n2", "n3", settled=False, max_concurrent_tasks=1)
    stage.start("t1", "n1", HOURLY)
    stage.store("t1", "n1", FLAKY, live=False)
    stage.start("t2", "n2")
    stage.start("t3", "n3", HOURLY)
    stage.store("t3", "n3", FLAKY, live=False)
    stage.now += 3600
    for node in ("n1", "n2", "n3"):
        stage.beat(node)
    assert places(stage.tell(Settled())) == [("t2", "n2", 1)]
    stage.store("t2", "n2", pulled())
    assert places(stage.end("t2", TaskStatus.COMPLETED)) == [("t1", "n1", 2)]


def test_so_many_nodes_may_rest_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that a task keeps its place until it is over, so that no more of them begin."""
    monkeypatch.setattr(places_module, "RESTING_NODES", 250)
    stage = Stage("t1", "t2", "t3", max_concurrent_tasks=3)
    resting(stage, "t1", "t2", "t3")
    assert stage.core.places_taken == 1
    stage.end("t1")
    resting(stage, "t4")
    assert stage.core.places_taken == 1


def repair(task: str, **fields: Any) -> TaskHead:
    """A task that warms nodes of a set."""
    return replace(head(task, spec(names_nodes=True, **fields)), set="web")


def test_a_repair_of_a_set_takes_no_place_and_waits_for_none() -> None:
    """Whatever runs; and whoever waits for a place is neither put off nor let in by it."""
    stage = Stage("n1", "n2", max_concurrent_tasks=1)
    stage.create("t1")
    stage.start("t1", "n1")
    stage.create("t2")
    assert stage.tell(TaskCreated(repair("r1"), 9)) == [LoadNames("r1")]
    assert of_kind(stage.tell(NamesLoaded("r1", ("n2",))), StartTask) == [StartTask("r1", ("n2",))]
    assert stage.core.places_taken == 1
    running = replace(repair("r1"), status=TaskStatus.RUNNING)
    assert places(stage.tell(TaskStarted(running, 9, ("n2",)))) == [("r1", "n2", 1)]
    assert stage.core.places_taken == 1
    assert of_kind(stage.end("t1"), StartTask) == [StartTask("t2", ("n1", "n2"))]


def test_a_repair_whose_retry_is_due_waits_for_no_place() -> None:
    """It rests like others, and goes on whatever runs."""
    stage = Stage("n1", "n2", max_concurrent_tasks=1)
    running = replace(repair("r1", max_retries=1, retry_delay=60), status=TaskStatus.RUNNING)
    stage.tell(TaskStarted(running, 1, ("n1",)))
    stage.store("r1", "n1", FLAKY)
    stage.create("t1")
    stage.start("t1", "n2")
    stage.create("t2")
    assert places(stage.wait(60)) == [("r1", "n1", 2)]
    assert stage.core.places_taken == 1


def test_a_new_leader_lets_repairs_go_on() -> None:
    """They count against nobody's limit there either."""
    stage = Stage("n1", "n2", settled=False, max_concurrent_tasks=1)
    running = replace(repair("r1"), status=TaskStatus.RUNNING)
    stage.tell(TaskStarted(running, 1, ("n1",)))
    stage.start("t1", "n2")
    assert sorted(places(stage.tell(Settled()))) == [("r1", "n1", 1), ("t1", "n2", 1)]
    assert stage.core.places_taken == 1
