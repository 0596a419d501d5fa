"""Why a task does not go on."""

from __future__ import annotations

from common.text import Text
from common.texts import NODE_NO_AGENT, NODE_UNKNOWN, TASK_QUEUED, TASK_STARTING
from coordinator.engine.waiting import WhyWaiting
from tests.core.stage import Stage, spec
from tests.engine.following import OTHER, TASK

TROUBLE = Text("nodes.unknown", "The nodes are not known.", {})


class Asked:
    """A core on its stage, and the question."""

    def __init__(self, *nodes: str, **limits: int) -> None:
        self.stage = Stage(*nodes, settled=False, **limits)
        self.trouble: Text | None = None
        self.why = WhyWaiting(self.stage.core, lambda: self.stage.now, lambda: self.trouble)


def test_a_task_that_is_over_or_unknown_waits_for_nothing() -> None:
    """Nor one that runs and has agents."""
    asked = Asked("n1")
    assert asked.why(TASK) is None
    asked.stage.start(TASK, "n1")
    assert asked.why(TASK) is None
    asked.stage.end(TASK)
    assert asked.why(TASK) is None


def test_a_pending_task_waits_for_its_start() -> None:
    """Or for others to end, where no more may run."""
    asked = Asked("n1", max_concurrent_tasks=1)
    asked.stage.create(TASK)
    assert asked.why(TASK) == TASK_STARTING()
    asked.stage.start(OTHER, "n1")
    assert asked.why(TASK) == TASK_QUEUED(running=1, most=1)


def test_while_the_nodes_are_not_known_that_is_why() -> None:
    """Whatever else there is; it keeps no task that runs."""
    asked = Asked("n1", max_concurrent_tasks=1)
    asked.trouble = TROUBLE
    asked.stage.create(TASK)
    asked.stage.start(OTHER, "n1")
    assert asked.why(TASK) == TROUBLE
    assert asked.why(OTHER) is None


def test_a_running_task_waits_for_the_first_agent_that_is_missing() -> None:
    """Of a node that has a place, and in the words of the fleet."""
    stage = Stage("n1", "n3")
    why = WhyWaiting(stage.core, lambda: stage.now, lambda: None)
    stage.beat("n3", leaving=True)
    stage.start(TASK, "n1 n2 n3 n4", spec(batch_size=2))
    assert why(TASK) == NODE_UNKNOWN(node="n2")
    stage.beat("n2")
    assert why(TASK) is None
    stage.beat("n2", leaving=True)
    stage.start(OTHER, "n3")
    assert why(OTHER) == NODE_NO_AGENT(node="n3")
