from __future__ import annotations

import pytest

from common.messages import Hold
from coordinator.core.changes import Step
from coordinator.core.commands import FinishTask, StartTask
from coordinator.core.events import AgentHeard, NodeSeen, Settled
from coordinator.core.node_run import NodePhase
from coordinator.core.task import TaskStatus
from tests.core.stage import (
    FLAKY,
    HOPELESS,
    START,
    Stage,
    of_kind,
    places,
    pulled,
    spec,
    stop,
    told,
    verdicts,
)

pytestmark = pytest.mark.pure

PAIRS = spec(batch_size=2, max_retries=2, retry_delay=30)


def leader(*nodes: str, **limits: int) -> Stage:
    """A leader that has just started, and knows nodes but not what their agents hold."""
    stage = Stage(settled=False, **limits)
    for node in nodes:
        stage.tell(NodeSeen(node, {}))
    return stage


def test_the_fold_over_stored_outcomes_is_the_whole_truth() -> None:
    """States, attempts, counters and deadlines are what they were, and nothing is sent yet."""
    stage = leader("n1", "n2", "n3", "n4")
    stage.start("t1", "n1 n2 n3 n4", PAIRS)
    assert stage.store("t1", "n1", FLAKY, at=START - 10, live=False) == [
        told("t1", "n1", Step.RETRYING, live=False)
    ]
    stage.store("t1", "n2", HOPELESS, live=False)
    stage.store("t1", "n3", pulled(), live=False)
    assert stage.node("t1", "n1").next_attempt == 2
    assert stage.node("t1", "n1").retry_at == START + 20
    assert stage.run("t1").current_batch == 2
    assert stage.tell(Settled()) == []
    assert stage.phases("t1") == {
        NodePhase.RETRYING: 1,
        NodePhase.FAILED: 1,
        NodePhase.SUCCEEDED: 1,
        NodePhase.ASSIGNED: 1,
    }


def test_what_agents_hold_is_counted_before_anything_is_assigned() -> None:
    """A restart never exceeds ``batchSize``: the held attempts take their places first."""
    stage = leader("n1", "n2", "n3", "n4")
    stage.start("t1", "n1 n2 n3 n4", PAIRS)
    stage.store("t1", "n1", pulled(), live=False)
    stage.store("t1", "n2", pulled(), live=False)
    assert stage.beat("n3", ("t1", 1)) == []
    assert stage.beat("n4", ("t1", 1)) == []
    stage.beat("n1")
    assert stage.tell(Settled()) == []
    assert stage.phases("t1") == {NodePhase.SUCCEEDED: 2, NodePhase.PULLING: 2}


def test_free_places_are_filled_beside_what_is_held() -> None:
    """Only the difference is assigned."""
    stage = leader("n1", "n2", "n3")
    stage.start("t1", "n1 n2 n3", PAIRS)
    stage.beat("n1")
    stage.beat("n2", ("t1", 1))
    assert stage.tell(Settled()) == [stage.work("t1", "n1")]


def test_adopted_work_began_when_its_agent_says() -> None:
    """The duration is the agent's, the clock is the leader's."""
    stage = leader("n1")
    stage.start("t1", "n1", PAIRS)
    for held in (40.0, -1.0, 1e300):
        stage.tell(AgentHeard("n1", "n1/1", (Hold(task="t1", attempt=1, seconds=held),)))
    assert stage.node("t1", "n1").started_at == (START - 40) * 1000


def test_a_held_retry_is_adopted() -> None:
    """A former leader had begun it."""
    stage = leader("n1")
    stage.start("t1", "n1", PAIRS)
    stage.store("t1", "n1", FLAKY, live=False)
    assert stage.beat("n1", ("t1", 2)) == []
    assert stage.phases("t1") == {NodePhase.PULLING: 1}
    assert stage.run("t1").retry_count == 1
    assert stage.tell(Settled()) == []


def test_a_held_attempt_that_is_decided_is_stopped() -> None:
    """Its outcome was stored, by its agent or as a verdict of the former leader."""
    stage = leader("n1")
    stage.start("t1", "n1", PAIRS)
    stage.store("t1", "n1", FLAKY, live=False)
    assert stage.beat("n1", ("t1", 1)) == [stop("t1", "n1", 1)]


def test_more_than_batch_size_is_never_adopted() -> None:
    """After two changes of leader agents may hold more than one leader ever gave out."""
    stage = leader("n1", "n2", "n3")
    stage.start("t1", "n1 n2 n3", PAIRS)
    stage.beat("n1", ("t1", 1))
    stage.beat("n2", ("t1", 1))
    assert stage.beat("n3", ("t1", 1)) == [stop("t1", "n3", 1)]
    assert stage.run("t1").in_flight == 2


def test_work_begun_under_a_higher_cap_goes_on() -> None:
    """The operator has lowered the cap: nothing new begins until there is room."""
    stage = leader("n1", "n2", max_nodes_in_flight=1)
    stage.start("t1", "n1 n2", PAIRS)
    stage.beat("n1", ("t1", 1))
    assert stage.beat("n2", ("t1", 1)) == []
    assert stage.run("t1").in_flight == 2


def test_an_agent_heard_after_the_leader_has_settled_is_adopted_if_there_is_room() -> None:
    """It was out of reach for a moment, and nobody has taken its place."""
    stage = leader("n1")
    stage.start("t1", "n1", PAIRS)
    stage.store("t1", "n1", FLAKY, live=False)
    stage.tell(Settled())
    assert stage.beat("n1", ("t1", 2)) == []
    assert stage.phases("t1") == {NodePhase.PULLING: 1}


def test_an_agent_heard_after_the_leader_has_settled_is_stopped_if_there_is_none() -> None:
    """Its place was given away meanwhile."""
    stage = leader("n1", "n2")
    stage.start("t1", "n1 n2", spec(batch_size=1))
    stage.tell(Settled())
    assert stage.run("t1").in_flight == 1
    assert stage.beat("n2", ("t1", 1)) == [stop("t1", "n2", 1)]


def test_two_agents_that_hold_the_same_attempt_are_one_too_many() -> None:
    """The first to say so keeps it."""
    stage = leader("n1")
    stage.start("t1", "n1", PAIRS)
    assert stage.beat("n1", ("t1", 1), interval=10) == []
    stage.wait(1)
    stage.beat("n1", run=2, interval=10)
    stage.wait(2)
    assert stage.beat("n1", ("t1", 1), interval=10) != []
    assert stage.core.fleet.has_conflict("n1")
    assert stage.beat("n1", ("t1", 1), run=2, interval=10) == []


def test_work_held_in_a_conflict_takes_its_place_too() -> None:
    """It is real work, whoever is at it; only new work is kept from the node."""
    stage = leader("n1", "n2")
    stage.beat("n1", interval=10)
    stage.wait(1)
    stage.beat("n1", run=2, interval=10)
    stage.wait(2)
    stage.beat("n1", interval=10)
    stage.start("t1", "n1 n2", spec(batch_size=1))
    assert stage.beat("n1", ("t1", 1), run=2, interval=10) == []
    assert stage.tell(Settled()) == []
    assert stage.run("t1").in_flight == 1


def test_a_silent_agent_is_waited_for_from_the_start_of_the_leader() -> None:
    """How long it had been silent before is not known, so that it does not count."""
    stage = leader("n1")
    stage.start("t1", "n1", PAIRS)
    stage.wait(2)
    stage.tell(Settled())
    assert verdicts(stage.wait(59)) == []
    assert verdicts(stage.wait(1)) == [("n1", "AgentUnavailable")]


def test_a_task_whose_nodes_are_all_done_is_finished_after_the_start() -> None:
    """The former leader died between the last outcome and the end."""
    stage = leader("n1")
    stage.start("t1", "n1", PAIRS)
    stage.store("t1", "n1", pulled(), live=False)
    [finish] = of_kind(stage.tell(Settled()), FinishTask)
    assert (finish.status, finish.results_seq) == (TaskStatus.COMPLETED, 1)


def test_pending_tasks_start_after_those_that_run() -> None:
    """Running tasks hold their places, even more of them than may run by now."""
    stage = leader("n1", max_concurrent_tasks=1)
    stage.start("t1", "n1", PAIRS)
    stage.start("t2", "n1", PAIRS)
    stage.create("t3", spec(priority=10))
    stage.beat("n1")
    assert len(places(stage.tell(Settled()))) == 2
    assert of_kind(stage.end("t1"), StartTask) == []
    assert of_kind(stage.end("t2"), StartTask) == [StartTask("t3", ("n1",))]


def test_the_batch_that_had_begun_goes_on() -> None:
    """Its first outcomes say that it was begun; a retry of the batch before runs beside it."""
    stage = leader("n1", "n2", "n3", "n4")
    stage.start("t1", "n1 n2 n3 n4", PAIRS)
    stage.store("t1", "n1", FLAKY, at=START - 60, live=False)
    stage.store("t1", "n2", pulled(), live=False)
    stage.store("t1", "n3", pulled(), live=False)
    for node in ("n1", "n2", "n3", "n4"):
        stage.beat(node)
    assert places(stage.tell(Settled())) == [("t1", "n1", 2), ("t1", "n4", 1)]
