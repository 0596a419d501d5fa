from __future__ import annotations

import pytest

from common.messages import Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.changes import Step
from coordinator.core.commands import FinishTask, StoreVerdict
from coordinator.core.events import AgentHeard, NodeSeen, NodeVanished, VerdictFailed
from coordinator.core.node_run import NodePhase
from coordinator.core.task import TaskStatus
from tests.core.stage import (
    FLAKY,
    HOPELESS,
    REMOVAL,
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

REMOVED = [("n1", None)]


@pytest.mark.parametrize("phase", [NodePhase.ASSIGNED, NodePhase.PULLING])
def test_a_node_that_vanishes_at_work_leaves_the_task(phase: NodePhase) -> None:
    """Its removal is stored first; then its agent, if it is still there, is stopped."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", spec(batch_size=2))
    if phase is NodePhase.PULLING:
        stage.accept("t1", "n1")
    assert stage.phases("t1")[phase] > 0
    assert stage.tell(NodeVanished("n1")) == [StoreVerdict(AttemptKey("t1", "n1", 1), REMOVAL)]
    assert stage.tell(NodeVanished("n1")) == []
    assert stage.store("t1", "n1", REMOVAL, run=0) == [
        stop("t1", "n1", 1),
        told("t1", "n1", Step.REMOVED),
    ]
    assert stage.run("t1").total == 1


def test_a_waiting_node_that_vanishes_leaves_the_task() -> None:
    """Before its batch has begun."""
    stage = Stage("n0", "n1")
    stage.start("t1", "n0 n1", spec(batch_size=1))
    assert verdicts(stage.tell(NodeVanished("n1"))) == REMOVED
    stage.store("t1", "n1", REMOVAL, run=0)
    [finish] = of_kind(stage.store("t1", "n0", pulled()), FinishTask)
    assert (finish.counts.total, finish.counts.removed) == (1, 1)
    assert finish.text is None


def test_a_retrying_node_that_vanishes_leaves_the_task() -> None:
    """Its next attempt is decided before it begins."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", spec(batch_size=2, max_retries=1))
    stage.store("t1", "n1", FLAKY)
    assert stage.tell(NodeVanished("n1")) == [StoreVerdict(AttemptKey("t1", "n1", 2), REMOVAL)]


def test_a_node_that_is_done_stays_what_it_was() -> None:
    """Success and failure are final, whatever becomes of the node."""
    stage = Stage("n1", "n2", "n3")
    stage.start("t1", "n1 n2 n3", spec(batch_size=3))
    stage.store("t1", "n1", pulled())
    stage.store("t1", "n2", HOPELESS)
    assert stage.tell(NodeVanished("n1")) == []
    assert stage.tell(NodeVanished("n2")) == []
    assert stage.run("t1").total == 3


def test_the_outcome_of_a_vanished_node_may_be_faster_and_counts() -> None:
    """The first writer wins: it had succeeded before it ceased to exist."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", spec(batch_size=2))
    stage.tell(NodeVanished("n1"))
    assert told("t1", "n1", Step.SUCCEEDED) in stage.store("t1", "n1", pulled())
    assert stage.wait(600) != []
    assert stage.run("t1").total == 2


def test_a_vanished_node_whose_attempt_failed_first_leaves_with_the_next() -> None:
    """The removal lost against an outcome; nobody waits for an agent that is gone for ever."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", spec(batch_size=2, max_retries=1))
    stage.tell(NodeVanished("n1"))
    commands = stage.store("t1", "n1", FLAKY)
    assert StoreVerdict(AttemptKey("t1", "n1", 2), REMOVAL) in commands


def test_a_refused_removal_is_tried_again() -> None:
    """Every two seconds, wherever the node is in its task."""
    stage = Stage("n0", "n1")
    stage.start("t1", "n0 n1", spec(batch_size=1))
    stage.tell(NodeVanished("n1"))
    for _ in range(3):
        assert stage.tell(VerdictFailed(AttemptKey("t1", "n1", 1), REMOVAL)) == []
        assert verdicts(stage.wait(2)) == REMOVED


def test_a_node_that_is_back_before_its_removal_is_stored_stays() -> None:
    """What was refused is judged anew, by what is so then."""
    stage = Stage("n0", "n1")
    stage.start("t1", "n0 n1", spec(batch_size=1))
    stage.tell(NodeVanished("n1"))
    stage.tell(VerdictFailed(AttemptKey("t1", "n1", 1), REMOVAL))
    stage.tell(NodeSeen("n1", {}))
    stage.beat("n1")
    assert stage.wait(10) == []
    assert places(stage.store("t1", "n0", pulled())) == [("t1", "n1", 1)]


def test_an_agent_of_a_vanished_node_gets_no_work() -> None:
    """It may live on for a moment; the node is leaving."""
    stage = Stage("n1")
    stage.start("t1", "n1")
    stage.accept("t1", "n1")
    stage.tell(NodeVanished("n1"))
    stage.tell(VerdictFailed(AttemptKey("t1", "n1", 1), REMOVAL))
    assert stage.beat("n1", run=2) == []


def test_a_task_whose_nodes_all_vanish_is_completed_with_a_message() -> None:
    """There is nothing left to do, and nothing failed."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", spec(batch_size=2))
    for node in ("n1", "n2"):
        stage.tell(NodeVanished(node))
        commands = stage.store("t1", node, REMOVAL, run=0)
    [finish] = of_kind(commands, FinishTask)
    assert finish.status is TaskStatus.COMPLETED
    assert str(finish.text) == "Every node of the task ceased to exist before it was done."
    assert (finish.counts.total, finish.counts.removed) == (0, 2)


def test_a_vanished_node_of_no_task_is_just_forgotten() -> None:
    """It is not selected any more; an unknown one does no harm."""
    stage = Stage("n1", "n2")
    assert stage.tell(NodeVanished("n1")) == []
    assert stage.tell(NodeVanished("n9")) == []
    assert sorted(stage.core.fleet.nodes) == ["n2"]
    assert not stage.core.fleet.connected("n1", stage.now)


def test_a_vanished_node_leaves_every_task_that_it_is_in() -> None:
    """Each task has its own removal."""
    stage = Stage("n1")
    stage.start("t1", "n1")
    stage.start("t2", "n1")
    commands = of_kind(stage.tell(NodeVanished("n1")), StoreVerdict)
    assert [command.key.task for command in commands] == ["t1", "t2"]


def test_a_node_without_a_source_is_served_by_its_agent() -> None:
    """An agent that speaks is enough to take work that names its node."""
    stage = Stage()
    stage.start("t1", "n1")
    assert stage.tell(AgentHeard("n1", "n1/1")) == [stage.work("t1", "n1")]


def test_a_lost_agent_of_a_vanished_node_decides_nothing_twice() -> None:
    """A verdict is on its way when the node vanishes: its removal follows if a retry is left."""
    stage = Stage()
    stage.tell(NodeSeen("n1", {}))
    stage.start("t1", "n1", spec(max_retries=1))
    assert verdicts(stage.wait(60)) == [("n1", Reason.AGENT_UNAVAILABLE)]
    assert stage.tell(NodeVanished("n1")) == []
    commands = stage.store("t1", "n1", Outcome(reason=Reason.AGENT_UNAVAILABLE), run=0)
    assert verdicts(commands) == REMOVED
