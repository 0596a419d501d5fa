from __future__ import annotations

import pytest

from common.messages import Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.changes import Step
from coordinator.core.commands import AskAgent, StoreVerdict
from coordinator.core.events import (
    AssignmentRefused,
    BusFellSilent,
    BusHeard,
    NodeSeen,
    VerdictFailed,
    Woken,
)
from coordinator.core.node_run import NodePhase
from tests.core.stage import Stage, instance_of, places, spec, stop, told, verdicts

pytestmark = pytest.mark.pure

KEY = AttemptKey("t1", "n1", 1)
UNAVAILABLE = [("n1", Reason.AGENT_UNAVAILABLE)]
LOST = [("n1", Reason.AGENT_LOST)]


@pytest.fixture
def stage() -> Stage:
    """A task whose only node is waited for: its agent has not been heard yet."""
    stage = Stage()
    stage.tell(NodeSeen("n1", {}))
    stage.start("t1", "n1", spec(max_retries=1))
    return stage


@pytest.fixture
def pulling(stage: Stage) -> Stage:
    """The same with an agent that has accepted."""
    stage.beat("n1", interval=10)
    stage.accept("t1", "n1")
    return stage


def test_an_agent_that_does_not_come_is_waited_for_and_then_unavailable(stage: Stage) -> None:
    """After ``agent_wait``, a failed attempt; the core acts on it when it reads it back."""
    assert stage.wait(59.9) == []
    [verdict] = stage.wait(0.1)
    assert verdict == StoreVerdict(
        KEY,
        Outcome(
            reason=Reason.AGENT_UNAVAILABLE,
            message="The agent on node n1 does not respond. Waited for 60 s.",
            message_code="node.noAgent.waited",
            message_params={"node": "n1", "seconds": 60.0},
            seconds=60.0,
        ),
    )
    assert stage.phases("t1") == {NodePhase.ASSIGNED: 1}
    assert stage.wait(600) == []
    assert isinstance(verdict, StoreVerdict)
    commands = stage.store("t1", "n1", verdict.outcome, run=0)
    assert told("t1", "n1", Step.RETRYING) in commands


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (None, "Node n1 is unknown."),
        (NodeSeen("n1", {}), "The agent on node n1 does not respond."),
        (NodeSeen("n1", {}, schedulable=False), "Node n1 is not ready or takes no new work."),
    ],
)
def test_the_verdict_says_why_the_node_took_nothing(seen: NodeSeen | None, words: str) -> None:
    """A name that no node has, an agent that is away, and a cordoned node are told apart."""
    stage = Stage()
    if seen is not None:
        stage.tell(seen)
    stage.start("t1", "n1")
    [verdict] = stage.wait(60)
    assert isinstance(verdict, StoreVerdict)
    assert verdict.outcome.message == f"{words} Waited for 60 s."


def test_an_agent_that_comes_in_time_takes_the_work(stage: Stage) -> None:
    """The wait is over when it accepts, not when it speaks."""
    stage.wait(50)
    assert stage.beat("n1") == [stage.work("t1", "n1")]
    stage.accept("t1", "n1")
    assert stage.wait(59) == []


def test_an_agent_that_is_there_but_never_accepts_is_unavailable(stage: Stage) -> None:
    """Heartbeats alone do no work: the wait counts from when the place was given."""
    commands = []
    for _ in range(12):
        commands += stage.beat("n1")
        commands += stage.tell(AssignmentRefused(KEY, instance_of("n1")))
        commands += stage.wait(5)
    assert verdicts(commands) == UNAVAILABLE


def test_an_agent_that_falls_silent_at_work_is_lost(pulling: Stage) -> None:
    """Its last heartbeat counts, not the acceptance."""
    pulling.wait(30)
    pulling.beat("n1", ("t1", 1), interval=10)
    assert pulling.wait(59.9) == []
    assert verdicts(pulling.wait(0.1)) == LOST
    assert pulling.wait(600) == []


def test_an_agent_that_holds_its_work_is_never_lost(pulling: Stage) -> None:
    """However long the pull takes."""
    for _ in range(100):
        assert pulling.beat("n1", ("t1", 1), interval=10) == []
        assert pulling.wait(10) == []


def test_an_agent_that_comes_back_in_time_goes_on(pulling: Stage) -> None:
    """A partition shorter than the wait is no event at all."""
    pulling.wait(59)
    assert pulling.beat("n1", ("t1", 1), interval=10) == []
    assert pulling.wait(59) == []


def test_work_lost_in_the_middle_that_nobody_takes_again_is_lost(pulling: Stage) -> None:
    """The next instance was asked, and did not accept: the fault came after an acceptance."""
    pulling.wait(20)
    assert places(pulling.beat("n1", run=2, interval=10)) == [KEY]
    assert verdicts(pulling.wait(60)) == LOST


def test_work_handed_back_that_nobody_takes_again_is_unavailable(pulling: Stage) -> None:
    """An ordered stop loses nothing; the wait begins with it."""
    pulling.wait(50)
    pulling.beat("n1", leaving=True)
    assert pulling.wait(59) == []
    assert verdicts(pulling.wait(1)) == UNAVAILABLE


def test_the_silence_of_one_instance_is_not_hidden_by_another(pulling: Stage) -> None:
    """Two agents under one name: when the one that accepted falls silent, the other is asked."""
    pulling.wait(5)
    pulling.beat("n1", run=2, interval=10)
    pulling.accept("t1", "n1", run=2)
    for _ in range(3):
        pulling.wait(10)
        assert pulling.beat("n1", interval=10) == []
    pulling.wait(10)
    assert pulling.beat("n1", interval=10) == [pulling.work("t1", "n1")]


def test_an_agent_that_turned_up_absent_is_not_lost_before_its_time(pulling: Stage) -> None:
    """That nobody listened for a moment does not make its last word older."""
    pulling.start("t2", "n1")
    pulling.wait(50)
    pulling.beat("n1", ("t1", 1), ("t2", 1), interval=10)
    pulling.start("t3", "n1")
    pulling.core._fleet.gone("n1", "n1/1")
    assert verdicts(pulling.wait(59)) == []
    assert LOST[0] in verdicts(pulling.wait(1))


# ── a leader that is not heard itself ──


def test_silence_of_a_deaf_leader_makes_nobody_lost(pulling: Stage) -> None:
    """While its own ping is not answered, no time passes for agents."""
    pulling.tell(BusFellSilent(pulling.now))
    assert pulling.wait(10_000) == []
    pulling.tell(BusHeard())
    assert pulling.wait(59.9) == []
    assert verdicts(pulling.wait(0.1)) == LOST


def test_silence_counts_from_the_last_answered_ping(pulling: Stage) -> None:
    """The bus is found silent a while after it fell silent: that while does not count either."""
    pulling.wait(20)
    fell = pulling.now
    pulling.wait(10)
    pulling.tell(BusFellSilent(fell))
    pulling.wait(1000)
    pulling.tell(BusHeard())
    assert verdicts(pulling.wait(39.9)) == []
    assert verdicts(pulling.wait(0.1)) == LOST


def test_no_moment_of_deafness_counts_twice(pulling: Stage) -> None:
    """Doubled words have no effect, nor has one that reaches back before the last return."""
    pulling.tell(BusFellSilent(pulling.now))
    pulling.wait(100)
    pulling.tell(BusFellSilent(pulling.now))
    pulling.tell(BusHeard())
    pulling.tell(BusHeard())
    pulling.wait(10)
    pulling.tell(BusFellSilent(pulling.now - 50))
    pulling.tell(BusHeard())
    assert verdicts(pulling.wait(59.9)) == []
    assert verdicts(pulling.wait(0.1)) == LOST


def test_agents_stay_connected_while_the_leader_is_deaf(stage: Stage) -> None:
    """When the bus is back, work goes to those that were there before."""
    stage.beat("n1", interval=10)
    stage.tell(BusFellSilent(stage.now))
    stage.wait(1000)
    stage.tell(BusHeard())
    assert stage.core.fleet.connected("n1", stage.now)
    assert places(stage.start("t2", "n1")) == [("t2", "n1", 1)]


def test_retries_fall_due_while_the_leader_is_deaf(stage: Stage) -> None:
    """Only silence is measured on the clock that stands still."""
    stage.store("t1", "n1", Outcome(reason=Reason.RUNTIME_UNAVAILABLE))
    stage.tell(BusFellSilent(stage.now))
    stage.wait(30)
    assert stage.phases("t1") == {NodePhase.ASSIGNED: 1}


# ── a store that refuses the verdict ──


def test_a_refused_verdict_is_given_again(pulling: Stage) -> None:
    """Two seconds later, for as long as it is still so; a doubled refusal doubles nothing."""
    [verdict] = pulling.wait(60)
    assert isinstance(verdict, StoreVerdict)
    for _ in range(3):
        assert pulling.tell(VerdictFailed(KEY, verdict.outcome)) == []
        assert pulling.tell(VerdictFailed(KEY, verdict.outcome)) == []
        assert verdicts(pulling.wait(1.9)) == []
        assert verdicts(pulling.wait(0.1)) == LOST


def test_a_refused_verdict_is_dropped_when_the_agent_is_back(pulling: Stage) -> None:
    """It holds its work: nothing was lost."""
    [verdict] = pulling.wait(60)
    assert isinstance(verdict, StoreVerdict)
    pulling.tell(VerdictFailed(KEY, verdict.outcome))
    assert pulling.beat("n1", ("t1", 1), interval=10) == []
    assert pulling.wait(59) == []
    assert pulling.phases("t1") == {NodePhase.PULLING: 1}


def test_a_refused_verdict_is_dropped_when_the_attempt_is_decided(pulling: Stage) -> None:
    """The agent's outcome was stored first, and it counts."""
    [verdict] = pulling.wait(60)
    assert isinstance(verdict, StoreVerdict)
    pulling.tell(VerdictFailed(KEY, verdict.outcome))
    pulling.store("t1", "n1", Outcome(reason=Reason.RUNTIME_UNAVAILABLE))
    assert verdicts(pulling.wait(10)) == []


def test_nothing_is_sent_while_a_verdict_is_on_its_way(stage: Stage) -> None:
    """An agent that turns up now would begin what is as good as decided."""
    stage.wait(60)
    assert stage.beat("n1") == []


def test_an_agent_that_goes_on_after_the_verdict_is_stopped(pulling: Stage) -> None:
    """The attempt is over; its own outcome would come too late."""
    [verdict] = pulling.wait(60)
    assert isinstance(verdict, StoreVerdict)
    pulling.beat("n1", ("t1", 1), interval=10)
    commands = pulling.store("t1", "n1", verdict.outcome, run=0)
    assert commands[0] == stop("t1", "n1", 1)
    assert pulling.beat("n1", ("t1", 1), interval=10) == [stop("t1", "n1", 1)]


def test_an_acceptance_heard_late_does_not_make_the_work_older() -> None:
    """The clock of silence goes back when the bus is found to have been silent for a while."""
    stage = Stage()
    stage.tell(NodeSeen("n1", {}))
    stage.beat("n1", interval=10)
    fell = stage.now
    stage.wait(2)
    stage.start("t1", "n1")
    began = stage.attempt("t1", "n1").alive_at
    stage.tell(BusFellSilent(fell))
    stage.accept("t1", "n1")
    assert stage.attempt("t1", "n1").alive_at == began


def test_a_silent_agent_is_asked_before_it_is_given_up(pulling: Stage) -> None:
    """Its heartbeats may be rarer than the leader is patient; one that answers goes on."""
    pulling.now += 57
    assert AskAgent("n1", "n1/1") in pulling.tell(Woken())
    pulling.beat("n1", ("t1", 1))
    assert pulling.wait(56) == []
