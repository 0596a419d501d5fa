"""An agent whose container runtime is away takes no work, and its node says why."""

from __future__ import annotations

import pytest

from common.reasons import Reason
from coordinator.core.commands import StoreVerdict
from coordinator.core.events import AgentHeard
from tests.core.stage import Stage

pytestmark = pytest.mark.pure

WHY = "no container runtime at unix:///run/x.sock"
AWAY = AgentHeard("n1", "n1/1", interval=1e6, runtime_away=WHY)
BACK = AgentHeard("n1", "n1/1", interval=1e6)


def test_work_is_held_back_until_the_runtime_is_there() -> None:
    """It is sent with the heartbeat that says so."""
    stage = Stage("n1")
    stage.tell(AWAY)
    assert stage.start("t1", "n1") == []
    assert stage.core.fleet.lacks_runtime("n1")
    assert stage.tell(AWAY) == []
    assert stage.tell(BACK) == [stage.work("t1", "n1")]
    assert not stage.core.fleet.lacks_runtime("n1")


def test_a_node_that_is_given_up_for_want_of_a_runtime_says_so() -> None:
    """The sentence of its agent is in the reason."""
    stage = Stage("n1", agent_wait=60.0)
    stage.tell(AWAY)
    stage.start("t1", "n1")
    [verdict] = [c for c in stage.wait(60) if isinstance(c, StoreVerdict)]
    assert verdict.outcome.reason is Reason.AGENT_UNAVAILABLE
    assert verdict.outcome.message == (
        f"The agent of node n1 has no container runtime: {WHY}. Waited for 60 s."
    )


def test_work_that_is_under_way_goes_on() -> None:
    """Its outcome is the agent's to say: a runtime may be restarted in the middle of a pull."""
    stage = Stage("n1")
    stage.start("t1", "n1")
    stage.accept("t1", "n1")
    holding = stage.beat("n1", ("t1", 1))
    assert holding == []
    assert stage.core.accepted_by("t1", "n1") == "n1/1"


def test_what_a_former_instance_said_of_its_runtime_is_past() -> None:
    """A restarted agent begins anew."""
    stage = Stage("n1")
    stage.tell(AWAY)
    stage.tell(AgentHeard("n1", "n1/2", interval=1e6))
    assert stage.start("t1", "n1") == [stage.work("t1", "n1", run=2)]
