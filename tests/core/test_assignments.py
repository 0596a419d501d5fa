from __future__ import annotations

import pytest

from common.subjects import AttemptKey
from coordinator.core.commands import CancelWork
from coordinator.core.events import (
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    Event,
    NodeSeen,
)
from coordinator.core.node_run import NodePhase
from tests.core.stage import (
    FLAKY,
    Said,
    Stage,
    instance_of,
    places,
    pulled,
    spec,
    stop,
    verdicts,
)

pytestmark = pytest.mark.pure

KEY = AttemptKey("t1", "n1", 1)


@pytest.fixture
def stage() -> Stage:
    """One node, whose agent has been sent the first attempt of a task."""
    stage = Stage("n1")
    stage.start("t1", "n1", spec("a", "b", max_retries=1))
    assert stage.phases("t1") == {NodePhase.ASSIGNED: 1}
    return stage


def refused(run: int = 1) -> Event:
    """The agent does not take the first attempt."""
    return AssignmentRefused(KEY, instance_of("n1", run))


def unanswered(run: int = 1, *, absent: bool = False) -> Event:
    """Nobody answered to the first attempt."""
    return AssignmentUnanswered(KEY, instance_of("n1", run), absent)


# ── answers ──


def test_an_accepted_assignment_is_pulling(stage: Stage) -> None:
    """From its acceptance on the node is at work."""
    assert stage.accept("t1", "n1") == []
    assert stage.phases("t1") == {NodePhase.PULLING: 1}
    assert stage.core.accepted_by("t1", "n1") == "n1/1"


@pytest.mark.parametrize("answer", [refused(), unanswered()])
def test_what_was_refused_or_not_answered_is_sent_again(stage: Stage, answer: Event) -> None:
    """After two seconds, the same attempt, to the same agent; the place is kept."""
    assert stage.tell(answer) == []
    assert stage.wait(1.9) == []
    assert stage.wait(0.1) == [stage.work("t1", "n1")]


def test_a_heartbeat_does_not_shorten_the_wait_after_a_refusal(stage: Stage) -> None:
    """Or each of them would begin another chain of questions, beside those that there are."""
    stage.tell(refused())
    assert stage.beat("n1") == []
    assert stage.tell(NodeSeen("n1", {"new": "label"})) == []
    assert stage.wait(2) == [stage.work("t1", "n1")]
    assert stage.wait(50) == []


def test_an_absent_agent_is_asked_when_it_speaks(stage: Stage) -> None:
    """Nobody listens: no use in asking every two seconds."""
    assert stage.tell(unanswered(absent=True)) == []
    assert stage.wait(30) == []
    assert stage.beat("n1", run=2) == [stage.work("t1", "n1", 1, 2)]


def test_an_agent_that_shows_the_work_has_accepted_it(stage: Stage) -> None:
    """The answer may be lost, or come late: the list in the heartbeat says enough."""
    assert stage.beat("n1", ("t1", 1)) == []
    assert stage.phases("t1") == {NodePhase.PULLING: 1}
    for late in (refused(), unanswered(), unanswered(absent=True)):
        assert stage.tell(late) == []
    assert stage.wait(30) == []
    assert stage.phases("t1") == {NodePhase.PULLING: 1}


@pytest.mark.parametrize(
    "answer",
    [
        AssignmentAccepted(AttemptKey("t9", "n1", 1), "n1/1"),
        AssignmentAccepted(AttemptKey("t1", "n9", 1), "n1/1"),
        AssignmentAccepted(AttemptKey("t1", "n1", 2), "n1/1"),
        AssignmentAccepted(KEY, "n1/2"),
        AssignmentRefused(KEY, "n1/2"),
        AssignmentUnanswered(KEY, "n1/2", absent=True),
    ],
)
def test_an_answer_to_another_question_has_no_effect(stage: Stage, answer: Event) -> None:
    """Task, node, attempt and instance must all be those that were asked."""
    assert stage.tell(answer) == []
    assert stage.wait(30) == []
    assert stage.phases("t1") == {NodePhase.ASSIGNED: 1}


def test_an_answer_that_comes_after_the_outcome_has_no_effect(stage: Stage) -> None:
    """The attempt is decided; the next one has not been sent to anybody."""
    stage.store("t1", "n1", FLAKY)
    assert stage.accept("t1", "n1") == []
    assert stage.phases("t1") == {NodePhase.RETRYING: 1}


def test_work_waits_for_a_node_that_takes_none() -> None:
    """A node that is cordoned keeps what it has, and is sent more when it is ready again."""
    stage = Stage("n1")
    stage.tell(NodeSeen("n1", {}, schedulable=False))
    assert stage.start("t1", "n1") == []
    assert stage.tell(NodeSeen("n1", {})) == [stage.work("t1", "n1")]


def test_an_agent_that_has_been_silent_for_three_heartbeats_is_sent_nothing() -> None:
    """Its work waits until it speaks."""
    stage = Stage()
    stage.beat("n1", interval=10)
    stage.wait(31)
    assert stage.start("t1", "n1") == []
    assert stage.beat("n1") == [stage.work("t1", "n1")]


# ── agents that start anew ──


def test_work_of_an_agent_that_was_started_anew_is_sent_again(stage: Stage) -> None:
    """The same attempt: a restart is no failed one."""
    stage.accept("t1", "n1")
    assert stage.beat("n1", run=2) == [stage.work("t1", "n1", 1, 2)]
    assert stage.phases("t1") == {NodePhase.ASSIGNED: 1}


def test_what_a_former_instance_did_not_answer_goes_to_the_next(stage: Stage) -> None:
    """It will not answer any more, and if it does, that is late."""
    assert stage.beat("n1", run=2) == [stage.work("t1", "n1", 1, 2)]
    assert stage.accept("t1", "n1") == []
    assert stage.phases("t1") == {NodePhase.ASSIGNED: 1}


def test_an_agent_that_forgot_its_work_is_sent_it_again(stage: Stage) -> None:
    """Accepted work that is missing from the list."""
    stage.accept("t1", "n1")
    assert stage.beat("n1") == [stage.work("t1", "n1")]


def test_an_attempt_lost_by_five_instances_has_failed(stage: Stage) -> None:
    """An image that kills its agent must end; it is decided once, however many follow."""
    for run in range(1, 5):
        stage.accept("t1", "n1", run=run)
        assert stage.beat("n1", run=run + 1) == [stage.work("t1", "n1", 1, run + 1)]
        stage.wait(2)
    stage.accept("t1", "n1", run=5)
    assert verdicts(stage.beat("n1", run=6)) == [("n1", "AgentLost")]
    stage.wait(2)
    assert stage.beat("n1", run=7) == []


def test_an_ordered_stop_is_neither_a_failure_nor_a_loss(stage: Stage) -> None:
    """Ten agents may hand the work back one after the other; it is sent to the next at once."""
    for run in range(1, 11):
        stage.accept("t1", "n1", run=run)
        assert stage.beat("n1", run=run, leaving=True) == []
        assert stage.phases("t1") == {NodePhase.ASSIGNED: 1}
        assert stage.beat("n1", run=run + 1) == [stage.work("t1", "n1", 1, run + 1)]


def test_a_stop_before_the_answer_hands_the_work_back_too(stage: Stage) -> None:
    """Whatever it answered on its way out is late."""
    stage.beat("n1", leaving=True)
    assert stage.accept("t1", "n1") == []
    assert stage.beat("n1", run=2) == [stage.work("t1", "n1", 1, 2)]


def test_a_heartbeat_from_before_the_good_bye_has_no_effect(stage: Stage) -> None:
    """An instance that has left never comes back."""
    stage.accept("t1", "n1")
    stage.beat("n1", leaving=True)
    assert stage.beat("n1", ("t1", 1)) == []
    assert stage.phases("t1") == {NodePhase.ASSIGNED: 1}


def test_a_former_instance_may_be_heard_a_moment_late(stage: Stage) -> None:
    """Within a second after its successor's first word it is no rival; its work is stopped."""
    stage.accept("t1", "n1")
    stage.beat("n1", run=2)
    stage.wait(0.5)
    assert stage.beat("n1", ("t1", 1)) == [stop("t1", "n1", 1)]
    assert not stage.core.fleet.has_conflict("n1")


# ── work that nobody wants ──


def test_work_of_an_unknown_task_is_stopped_as_a_whole() -> None:
    """The task is over: the agent may remember that."""
    stage = Stage("n1")
    assert stage.beat("n1", ("t9", 1)) == [stop("t9", "n1")]


def test_work_of_a_pending_task_is_stopped_but_the_task_is_not() -> None:
    """Or the agent would refuse it when its turn comes."""
    stage = Stage("n1", max_concurrent_tasks=0)
    stage.create("t1")
    assert stage.beat("n1", ("t1", 1)) == [stop("t1", "n1", 1)]


@pytest.mark.parametrize("attempt", [0, 2])
def test_another_attempt_than_the_one_in_flight_is_stopped(stage: Stage, attempt: int) -> None:
    """Only the attempt in flight is wanted."""
    assert stage.beat("n1", ("t1", attempt)) == [stop("t1", "n1", attempt)]


def test_work_of_a_node_that_is_done_or_no_member_is_stopped(stage: Stage) -> None:
    """The attempt is decided, or was never this node's."""
    stage.start("t2", "n1 n2", spec(batch_size=2))
    stage.store("t2", "n1", pulled())
    assert stage.beat("n1", ("t2", 1), ("t1", 1)) == [stop("t2", "n1", 1)]
    stage.beat("n3")
    assert stage.beat("n3", ("t2", 1)) == [stop("t2", "n3", 1)]


def test_an_old_attempt_is_stopped_before_the_new_one_is_sent() -> None:
    """An agent works on one attempt of a task at a time, and takes commands in their order."""
    stage = Stage()
    stage.start("t1", "n1", spec(max_retries=1))
    stage.store("t1", "n1", FLAKY, at=0.0)
    assert stage.beat("n1", ("t1", 1)) == [stop("t1", "n1", 1), stage.work("t1", "n1", 2)]


def test_whoever_is_at_a_decided_attempt_is_stopped_at_once(stage: Stage) -> None:
    """A verdict, or another instance's outcome, ends the work of the one that goes on."""
    stage.accept("t1", "n1")
    assert stop("t1", "n1", 1) in stage.store("t1", "n1", FLAKY, run=7)


def test_who_decided_the_attempt_needs_no_stop(stage: Stage) -> None:
    """The outcome says that its author is done."""
    stage.accept("t1", "n1")
    assert stop("t1", "n1", 1) not in stage.store("t1", "n1", FLAKY)


# ── cancel ──


def cancelled(stage: Stage) -> list[Said]:
    """End the task; the same words again have no effect."""
    commands = stage.end("t1")
    assert stage.end("t1") == []
    assert stage.wait(600) == []
    return commands


def test_cancel_stops_work_that_is_sent(stage: Stage) -> None:
    """The agent may have it already, whatever its answer will be."""
    assert cancelled(stage) == [stop("t1", "n1")]
    assert stage.accept("t1", "n1") == []


def test_cancel_stops_work_that_is_accepted(stage: Stage) -> None:
    """Running pulls are stopped; if that is lost, the next heartbeat brings it up again."""
    stage.accept("t1", "n1")
    assert cancelled(stage) == [stop("t1", "n1")]
    assert stage.beat("n1", ("t1", 1)) == [stop("t1", "n1")]


def test_cancel_stops_work_whose_answer_was_lost(stage: Stage) -> None:
    """An assignment that was not answered may have arrived all the same."""
    stage.tell(unanswered())
    assert cancelled(stage) == [stop("t1", "n1")]


def test_cancel_of_waiting_and_retrying_nodes_needs_no_word_to_agents(stage: Stage) -> None:
    """Nothing of theirs runs; no retry begins any more."""
    stage.store("t1", "n1", FLAKY)
    assert cancelled(stage) == []


def test_cancel_reaches_every_node_in_flight_and_no_other() -> None:
    """One command for each node that may be at work."""
    stage = Stage("n1", "n2", "n3", "n4")
    stage.start("t1", "n1 n2 n3 n4", spec(batch_size=3))
    stage.store("t1", "n1", pulled())
    stage.accept("t1", "n2")
    commands: list[Said] = [
        CancelWork("n2", "n2/1", "t1", None),
        CancelWork("n3", "n3/1", "t1", None),
    ]
    assert stage.end("t1") == commands


def test_outcomes_that_come_in_after_the_cancel_are_ignored(stage: Stage) -> None:
    """The stored step has cancelled every unfinished node."""
    stage.accept("t1", "n1")
    stage.end("t1")
    assert stage.store("t1", "n1", pulled()) == []


# ── two agents under one name ──


@pytest.fixture
def rivals(stage: Stage) -> Stage:
    """Two instances that both keep sending heartbeats; the first has the work."""
    stage.accept("t1", "n1")
    stage.beat("n1", ("t1", 1), interval=10)
    stage.wait(5)
    stage.beat("n1", run=2, interval=10)
    stage.accept("t1", "n1", run=2)
    stage.wait(5)
    assert stage.beat("n1", ("t1", 1), interval=10) == [stop("t1", "n1", 1)]
    assert stage.core.fleet.has_conflict("n1")
    return stage


def test_a_node_with_two_agents_takes_no_new_work(rivals: Stage) -> None:
    """Neither of them is sent anything; what one is at goes on."""
    assert rivals.start("t2", "n1") == []
    rivals.wait(5)
    assert rivals.beat("n1", ("t1", 1), run=2, interval=10) == []
    assert rivals.phases("t1") == {NodePhase.PULLING: 1}


def test_a_conflict_ends_when_one_falls_silent(rivals: Stage) -> None:
    """After three of its heartbeats are missing, the other takes what waits."""
    rivals.start("t2", "n1")
    for _ in range(3):
        rivals.wait(10)
        assert rivals.beat("n1", ("t1", 1), run=2, interval=10) == []
    rivals.wait(10)
    assert rivals.beat("n1", ("t1", 1), run=2, interval=10) == [rivals.work("t2", "n1", 1, 2)]


def test_a_conflict_ends_when_one_leaves(rivals: Stage) -> None:
    """The other takes what waits, and what the one hands back."""
    rivals.start("t2", "n1")
    assert places(rivals.beat("n1", run=2, leaving=True)) == [("t1", "n1", 1), ("t2", "n1", 1)]
    assert not rivals.core.fleet.has_conflict("n1")


def test_in_a_conflict_the_work_that_its_holder_forgot_waits(rivals: Stage) -> None:
    """It is no longer pulling, and fails in the end if the conflict lasts."""
    assert rivals.beat("n1", run=2, interval=10) == []
    assert rivals.phases("t1") == {NodePhase.ASSIGNED: 1}
    for _ in range(5):
        rivals.wait(10)
        rivals.beat("n1", interval=10)
        rivals.beat("n1", run=2, interval=10)
    [verdict] = rivals.wait(10)
    assert "Two agents run under the node name n1" in str(verdict)


def test_a_silent_former_instance_is_no_rival(stage: Stage) -> None:
    """A restart is not a conflict, however soon it follows."""
    stage.accept("t1", "n1")
    stage.beat("n1", ("t1", 1), interval=10)
    for _ in range(5):
        stage.wait(10)
        stage.beat("n1", run=2, interval=10)
    assert not stage.core.fleet.has_conflict("n1")
