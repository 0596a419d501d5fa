from __future__ import annotations

import pytest

from coordinator.core.commands import FinishTask, LoadNames, StartTask
from coordinator.core.events import (
    NamesLoaded,
    NodeSeen,
    NodeVanished,
    Settled,
    StartFailed,
    StoreClosed,
    StoreOpened,
    TaskCreated,
    TaskStarted,
)
from coordinator.core.task import TaskStatus
from tests.core.stage import Stage, head, of_kind, places, spec, verdicts

pytestmark = pytest.mark.pure


def test_a_created_task_is_started_with_the_nodes_that_match() -> None:
    """The node list goes into the store first, sorted; nothing is assigned before it is there."""
    stage = Stage("n2", "n1")
    assert stage.create("t1") == [StartTask("t1", ("n1", "n2"))]


def test_nothing_starts_before_the_leader_has_settled() -> None:
    """What agents hold must be known before anything is begun."""
    stage = Stage("n1", settled=False)
    assert stage.create("t1") == []
    assert stage.tell(Settled()) == [StartTask("t1", ("n1",))]
    assert stage.tell(Settled()) == []


def test_the_most_urgent_task_starts_first_and_equals_in_order_of_creation() -> None:
    """Priority decides, then the store's order, not the order of arrival."""
    stage = Stage("n1", settled=False, max_concurrent_tasks=4)
    for task, order, priority in [("late", 9, 5), ("low", 1, 1), ("early", 2, 5), ("high", 8, 10)]:
        stage.tell(TaskCreated(head(task, spec(priority=priority)), order))
    started = of_kind(stage.tell(Settled()), StartTask)
    assert [start.task for start in started] == ["high", "early", "late", "low"]


def test_only_so_many_tasks_run_at_once() -> None:
    """A starting task takes one of the places already, and gives it back at its end."""
    stage = Stage("n1", max_concurrent_tasks=2)
    assert stage.create("t1") == [StartTask("t1", ("n1",))]
    assert stage.create("t2") == [StartTask("t2", ("n1",))]
    assert stage.create("t3") == []
    stage.start("t1", "n1")
    assert of_kind(stage.end("t1"), StartTask) == [StartTask("t3", ("n1",))]


def test_a_pending_task_can_be_cancelled() -> None:
    """It leaves the queue without a word to any agent, and the next one takes its turn."""
    stage = Stage("n1", max_concurrent_tasks=1)
    stage.start("t0", "n1")
    stage.create("t1", spec(priority=9))
    stage.create("t2")
    assert stage.end("t1") == []
    assert of_kind(stage.end("t0"), StartTask) == [StartTask("t2", ("n1",))]


def test_a_task_can_be_cancelled_while_its_start_is_being_stored() -> None:
    """Its place is free at once; a late refusal of its start has no effect."""
    stage = Stage("n1", max_concurrent_tasks=1)
    stage.create("t1")
    stage.create("t2")
    assert stage.end("t1") == [StartTask("t2", ("n1",))]
    assert stage.tell(StartFailed("t1")) == []
    assert stage.wait(60) == []


def test_a_refused_start_is_tried_again_and_keeps_its_place() -> None:
    """The store's refusal costs two seconds, not the task; doubles of it cost nothing."""
    stage = Stage("n1", max_concurrent_tasks=1)
    stage.create("t1")
    stage.create("t2")
    assert stage.tell(StartFailed("t1")) == []
    assert stage.tell(StartFailed("t1")) == []
    assert stage.wait(1.9) == []
    assert stage.wait(0.1) == [StartTask("t1", ("n1",))]
    assert stage.wait(60) == []


def test_a_more_urgent_task_may_overtake_a_refused_start() -> None:
    """When the place is given anew, it goes to the most urgent task of that moment."""
    stage = Stage("n1", max_concurrent_tasks=1)
    stage.create("t1")
    stage.tell(StartFailed("t1"))
    stage.create("t2", spec(priority=9))
    assert stage.wait(2) == [StartTask("t2", ("n1",))]


def test_doubled_and_late_words_about_tasks_have_no_effect() -> None:
    """A task is created, started and ended once, in whatever order these are heard again."""
    stage = Stage("n1")
    created, running = TaskCreated(head("t1"), 1), head("t1", status=TaskStatus.RUNNING)
    assert len(stage.tell(created)) == 1
    assert stage.tell(created) == []
    assert places(stage.tell(TaskStarted(running, 1, ("n1",)))) == [("t1", "n1", 1)]
    assert stage.tell(created) == []
    assert stage.tell(TaskStarted(running, 1, ("n1",))) == []
    assert len(stage.end("t1")) == 1
    assert stage.end("t1") == []
    assert stage.tell(created) == []
    assert stage.tell(TaskStarted(running, 1, ("n1",))) == []
    assert not stage.core.runs
    assert not stage.core.waiting


def test_an_end_before_its_beginning_keeps_the_task_away() -> None:
    """Whoever hears of a cancelled task's creation afterwards does not begin it."""
    stage = Stage("n1")
    stage.end("t1")
    assert stage.tell(TaskCreated(head("t1"), 1)) == []


def test_a_store_that_takes_no_writes_holds_new_work_back() -> None:
    """Nothing starts and nothing is placed until it does again; nothing is forgotten."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", spec(batch_size=1))
    stage.accept("t1", "n1")
    assert stage.tell(StoreClosed()) == []
    assert stage.create("t2") == []
    assert stage.end("t1", TaskStatus.CANCELLED) != []
    stage.start("t3", "n1")
    assert stage.tell(StoreOpened()) == [
        StartTask("t2", ("n1", "n2")),
        stage.work("t3", "n1"),
    ]


# ── nothing matches ──


def test_no_matching_node_leads_through_running_to_failed() -> None:
    """After the first look the task starts with no nodes, and its end names the selector."""
    stage = Stage("n1", first_look=0.0)
    wanted = spec(node_selector={"zone": "mars"})
    assert stage.create("t1", wanted) == [StartTask("t1", ())]
    [finish] = of_kind(stage.start("t1", "", wanted), FinishTask)
    assert finish.status is TaskStatus.FAILED
    assert str(finish.text) == "No node matches zone=mars."
    assert finish.counts.total == 0


def test_more_nodes_than_a_policy_allows_are_none() -> None:
    """Nodes that have joined since the task was created: it starts with none, and says so."""
    stage = Stage("n1", "n2", "n3")
    stage.wait(10)
    wanted = spec(max_nodes=2)
    assert stage.create("t1", wanted) == [StartTask("t1", ())]
    [finish] = of_kind(stage.start("t1", "", wanted), FinishTask)
    assert finish.status is TaskStatus.FAILED
    assert str(finish.text) == (
        "No node matches the task, or more than the 2 that the policy allows."
    )
    assert stage.create("t2", spec(max_nodes=3)) == [StartTask("t2", ("n1", "n2", "n3"))]


def test_a_task_for_all_nodes_fails_where_there_is_none() -> None:
    """Without a selector there is none to name."""
    stage = Stage(first_look=0.0)
    assert stage.create("t1") == [StartTask("t1", ())]
    [finish] = of_kind(stage.start("t1", ""), FinishTask)
    assert str(finish.text) == "There are no nodes."


def test_while_the_first_look_lasts_a_task_without_nodes_stays_pending() -> None:
    """Agents announce themselves: only after ten seconds is it said that nothing matches."""
    stage = Stage()
    assert stage.create("t1") == []
    assert stage.wait(9.9) == []
    assert stage.wait(0.1) == [StartTask("t1", ())]


def test_a_doubled_settling_does_not_prolong_the_first_look() -> None:
    """It begins once, when agents can be heard."""
    stage = Stage()
    stage.create("t1")
    stage.wait(9)
    stage.tell(Settled())
    assert stage.wait(1) == [StartTask("t1", ())]


def test_a_task_that_was_put_aside_starts_as_soon_as_a_node_matches() -> None:
    """Others, and those that take no work, do not call it back."""
    stage = Stage()
    stage.create("t1", spec(node_selector={"zone": "a"}))
    assert stage.tell(NodeSeen("n1", {"zone": "b"})) == []
    assert stage.tell(NodeSeen("n2", {"zone": "a"}, schedulable=False)) == []
    assert stage.tell(NodeSeen("n3", {"zone": "a"})) == [StartTask("t1", ("n3",))]
    assert stage.wait(60) == []


def test_a_task_that_was_put_aside_lets_others_pass() -> None:
    """It holds no place while it waits for a node."""
    stage = Stage("n1", max_concurrent_tasks=1)
    stage.create("t1", spec(priority=9, node_selector={"zone": "a"}))
    assert stage.create("t2") == [StartTask("t2", ("n1",))]


def test_a_task_can_be_cancelled_while_it_is_put_aside() -> None:
    """Neither a node nor the end of the first look brings it back."""
    stage = Stage()
    stage.create("t1")
    stage.end("t1")
    assert stage.tell(NodeSeen("n1", {})) == []
    assert stage.wait(60) == []


def test_named_nodes_start_at_once_even_if_nobody_knows_them() -> None:
    """They were asked for by name: what is missing fails by name later."""
    stage = Stage("n1")
    assert stage.create("t1", spec(names_nodes=True), ("n1", "n9")) == [
        StartTask("t1", ("n1", "n9"))
    ]


def test_whether_a_named_node_matches_is_known_after_the_first_look() -> None:
    """With a selector beside the names, those that are yet to announce themselves are awaited."""
    stage = Stage()
    wanted = spec(names_nodes=True, node_selector={"zone": "a"})
    assert stage.create("t1", wanted, ("n1", "n2", "n9")) == []
    assert stage.tell(NodeSeen("n1", {"zone": "a"})) == []
    assert stage.tell(NodeSeen("n2", {"zone": "b"})) == []
    assert stage.wait(10) == [StartTask("t1", ("n1", "n9"))]


def test_names_are_read_when_a_tasks_turn_comes() -> None:
    """Not before: those of a task that waits for a place stay in the store."""
    stage, wanted = Stage("n1", max_concurrent_tasks=1), spec(names_nodes=True)
    assert stage.create("t1", wanted) == [LoadNames("t1")]
    assert stage.create("t2", wanted) == []
    assert stage.create("t3", spec(priority=10)) == []
    assert stage.tell(NamesLoaded("t2", ("n1",))) == []
    assert stage.tell(NamesLoaded("t1", ("n1",))) == [StartTask("t1", ("n1",))]
    assert stage.tell(NamesLoaded("t1", ("n1",))) == []
    stage.start("t1", "n1", wanted)
    assert of_kind(stage.end("t1"), StartTask) == [StartTask("t3", ("n1",))]
    assert stage.end("t3") == [LoadNames("t2")]


def test_names_that_cannot_be_read_are_asked_for_again() -> None:
    """The task keeps its place; a store that is closed meanwhile is a refusal too."""
    stage = Stage("n1", max_concurrent_tasks=1)
    stage.create("t1", spec(names_nodes=True))
    stage.create("t2")
    assert stage.tell(StartFailed("t1")) == []
    assert stage.wait(2) == [LoadNames("t1")]
    stage.tell(StoreClosed())
    assert stage.tell(NamesLoaded("t1", ("n1",))) == []
    stage.tell(StoreOpened())
    assert stage.wait(2) == [LoadNames("t1")]
    assert stage.end("t1") == [StartTask("t2", ("n1",))]
    assert stage.tell(NamesLoaded("t1", ("n1",))) == []


def test_who_is_put_aside_gives_the_place_back() -> None:
    """Names are read again when the first look is over."""
    stage = Stage(max_concurrent_tasks=1)
    wanted = spec(names_nodes=True, node_selector={"zone": "a"})
    assert stage.create("t1", wanted) == [LoadNames("t1")]
    stage.create("t2", spec(names_nodes=True))
    assert stage.tell(NamesLoaded("t1", ("n9",))) == [LoadNames("t2")]
    assert stage.tell(NamesLoaded("t2", ("n9",))) == [StartTask("t2", ("n9",))]
    stage.wait(10)
    assert stage.end("t2") == [LoadNames("t1")]


def test_a_node_that_vanishes_while_the_start_is_stored_leaves_the_task() -> None:
    """The stored list names it, but nobody waits for it."""
    stage = Stage("n1", "n2")
    stage.create("t1")
    stage.tell(NodeVanished("n2"))
    assert verdicts(stage.start("t1", "n1 n2")) == [("n2", None)]
