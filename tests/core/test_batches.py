from __future__ import annotations

import pytest

from coordinator.core.changes import BatchSettled, Step
from coordinator.core.events import NodeSeen, NodeVanished
from coordinator.core.in_flight import PLACES_AN_EVENT
from coordinator.core.node_run import NodePhase
from coordinator.core.task import Rollout
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
)

pytestmark = pytest.mark.pure

PAIRS = spec(batch_size=2, max_retries=3, retry_delay=10)


def test_the_first_batch_begins_and_no_more() -> None:
    """Never are more than ``batchSize`` nodes of a task in flight."""
    stage = Stage("n1", "n2", "n3")
    assert stage.start("t1", "n1 n2 n3", PAIRS) == [stage.work("t1", "n1"), stage.work("t1", "n2")]
    assert stage.run("t1").current_batch == 1


def test_a_very_large_batch_begins_in_portions() -> None:
    """Whoever else waits has a turn in between; what happens then brings no more."""
    stage = Stage()
    names = [f"n{number}" for number in range(2 * PLACES_AN_EVENT + 1)]
    for name in names:
        stage.tell(NodeSeen(name, {}))
        stage.beat(name)
    first = stage.start("t1", " ".join(names), spec(batch_size=10_000))
    assert len(places(first)) == PLACES_AN_EVENT
    assert places(stage.accept("t1", "n0") + stage.store("t1", "n0", pulled())) == []
    assert stage.wake == stage.now
    begun = places(first + stage.wait(0.0))
    assert begun == [("t1", name, 1) for name in names]


def test_the_next_batch_begins_when_every_node_of_this_one_is_done() -> None:
    """One that succeeded and one that failed for good settle the batch between them."""
    stage = Stage("n1", "n2", "n3", "n4")
    stage.start("t1", "n1 n2 n3 n4", PAIRS)
    assert places(stage.store("t1", "n1", pulled())) == []
    assert stage.store("t1", "n2", HOPELESS) == [
        stage.work("t1", "n3"),
        stage.work("t1", "n4"),
        told("t1", "n2", Step.FAILED),
        BatchSettled("t1", 1, 0.0),
    ]
    assert stage.run("t1").current_batch == 2


def test_a_node_that_waits_for_a_retry_does_not_hold_its_batch_up() -> None:
    """Waiting counts as settled, so the next batch begins at once."""
    stage = Stage("n1", "n2", "n3", "n4")
    stage.start("t1", "n1 n2 n3 n4", PAIRS)
    stage.store("t1", "n1", pulled())
    assert places(stage.store("t1", "n2", FLAKY)) == [("t1", "n3", 1), ("t1", "n4", 1)]


def test_a_retry_under_way_holds_its_own_batch_up() -> None:
    """The next batch begins when every node is settled at the same time."""
    stage = Stage("n1", "n2", "n3")
    stage.start("t1", "n1 n2 n3", PAIRS)
    stage.store("t1", "n1", FLAKY)
    assert places(stage.wait(10)) == [("t1", "n1", 2)]
    assert places(stage.store("t1", "n2", pulled())) == []
    assert places(stage.store("t1", "n1", FLAKY, 2)) == [("t1", "n3", 1)]


def test_a_free_place_goes_to_a_due_retry_first() -> None:
    """Retries of earlier batches run beside later ones and count against ``batchSize``."""
    stage = Stage("n1", "n2", "n3", "n4")
    stage.start("t1", "n1 n2 n3 n4", PAIRS)
    stage.store("t1", "n1", FLAKY)
    stage.store("t1", "n2", pulled())
    assert stage.phases("t1") == {
        NodePhase.ASSIGNED: 2,
        NodePhase.RETRYING: 1,
        NodePhase.SUCCEEDED: 1,
    }
    assert places(stage.wait(10)) == []
    assert places(stage.store("t1", "n3", pulled())) == [("t1", "n1", 2)]
    assert stage.run("t1").in_flight == 2


def test_rolling_lets_the_next_node_begin_as_soon_as_one_is_done() -> None:
    """The same cap, without waiting for the rest of the batch."""
    stage = Stage("n1", "n2", "n3", "n4")
    rolling = spec(batch_size=2, rollout=Rollout.ROLLING, max_retries=1)
    stage.start("t1", "n1 n2 n3 n4", rolling)
    assert places(stage.store("t1", "n2", pulled())) == [("t1", "n3", 1)]
    assert places(stage.store("t1", "n3", FLAKY)) == [("t1", "n4", 1)]


def test_a_removed_node_settles_its_batch_and_the_others_keep_their_numbers() -> None:
    """``totalNodes`` shrinks; whoever was in batch 2 stays there."""
    stage = Stage("n1", "n2", "n3")
    stage.start("t1", "n1 n2 n3", PAIRS)
    stage.store("t1", "n1", pulled())
    stage.tell(NodeVanished("n2"))
    gone = stage.store("t1", "n2", REMOVAL, run=0)
    assert places(gone) == [("t1", "n3", 1)]
    assert of_kind(gone, BatchSettled) == [BatchSettled("t1", 1, 0.0)]
    assert stage.run("t1").total == 2
    assert stage.run("t1").total_batches == 2
    assert stage.node("t1", "n3").batch == 2


def test_a_batch_that_vanished_as_a_whole_is_passed_over_in_its_turn() -> None:
    """The batch after it waits for the one before it all the same."""
    stage = Stage("n1", "n2", "n3")
    stage.start("t1", "n1 n2 n3", spec(batch_size=1))
    stage.tell(NodeVanished("n2"))
    assert places(stage.store("t1", "n2", REMOVAL, run=0)) == []
    assert places(stage.store("t1", "n1", pulled())) == [("t1", "n3", 1)]


def test_the_time_of_a_batch_ends_when_it_is_settled_for_the_first_time() -> None:
    """Retries that follow are not of its time, and it is told once."""
    stage = Stage("n1", "n2")
    stage.start("t1", "n1 n2", PAIRS)
    stage.wait(5)
    stage.store("t1", "n1", pulled())
    stage.wait(2)
    assert of_kind(stage.store("t1", "n2", FLAKY), BatchSettled) == [BatchSettled("t1", 1, 7.0)]
    stage.wait(10)
    assert of_kind(stage.store("t1", "n2", pulled(), 2), BatchSettled) == []


def test_an_outcome_of_a_batch_that_has_not_begun_does_not_open_it() -> None:
    """What somebody stores for a waiting node counts for it, and lets nobody begin early."""
    stage = Stage("n1", "n2", "n3", "n4")
    stage.start("t1", "n1 n2 n3 n4", spec(batch_size=1, max_retries=1))
    assert places(stage.store("t1", "n3", pulled())) == []
    assert places(stage.store("t1", "n1", pulled())) == [("t1", "n2", 1)]
    assert places(stage.store("t1", "n2", pulled())) == [("t1", "n4", 1)]


# ── several tasks, and the cap on all of them ──


def test_tasks_do_not_share_their_batches() -> None:
    """Each has its own ``batchSize``, on the same nodes."""
    stage = Stage("n1", "n2")
    assert len(places(stage.start("t1", "n1 n2", spec(batch_size=1)))) == 1
    assert len(places(stage.start("t2", "n1 n2", spec(batch_size=2)))) == 2


def test_the_cap_on_all_tasks_holds() -> None:
    """No more nodes than the operator allows, whatever the tasks' own sizes are."""
    stage = Stage("n1", "n2", "n3", max_nodes_in_flight=3)
    assert len(places(stage.start("t1", "n1 n2 n3", PAIRS))) == 2
    assert len(places(stage.start("t2", "n1 n2 n3", PAIRS))) == 1


def test_a_place_under_the_cap_goes_to_the_most_urgent_task() -> None:
    """Priority first, then the order of creation, whichever task gave the place back."""
    stage = Stage("n1", "n2", "n3", max_nodes_in_flight=1)
    stage.start("low", "n1 n2", spec(priority=1))
    stage.start("middle", "n1 n2", spec(priority=5))
    stage.start("high", "n1 n2", spec(priority=9))
    order = [("low", "n1")]
    for _ in range(5):
        [(task, node, _)] = places(stage.store(*order[-1], pulled()))
        order.append((task, node))
    assert [task for task, _ in order] == ["low", "high", "high", "middle", "middle", "low"]


def test_an_ended_task_gives_its_places_back() -> None:
    """What a cancelled task had in flight is room for others under the cap."""
    stage = Stage("n1", "n2", max_nodes_in_flight=2)
    stage.start("t1", "n1 n2", PAIRS)
    stage.start("t2", "n1 n2", PAIRS)
    assert stage.end("t1") == [
        stop("t1", "n1"),
        stop("t1", "n2"),
        stage.work("t2", "n1"),
        stage.work("t2", "n2"),
    ]


def test_a_node_without_an_agent_holds_its_place_while_it_is_waited_for() -> None:
    """It is ``assigned``; the next one of the list does not take its place."""
    stage = Stage("n2")
    assert places(stage.start("t1", "n1 n2", spec(batch_size=1))) == []
    assert stage.phases("t1") == {NodePhase.ASSIGNED: 1, NodePhase.WAITING: 1}
    stage.tell(NodeSeen("n1", {}))
    assert stage.beat("n1") == [stage.work("t1", "n1")]
