"""What the leader says of attempts in flight, taken into a core that follows."""

from __future__ import annotations

import pytest

from common.subjects import AttemptKey
from coordinator.core.commands import Assign
from coordinator.core.events import AttemptTold, Settled
from coordinator.core.node_run import NodePhase
from tests.core.stage import FLAKY, Stage, instance_of, of_kind, pulled
from tests.core.test_following import follower

KEY = AttemptKey("t1", "n1", 1)
N1 = instance_of("n1")


@pytest.fixture(name="stage")
def stage_of_a_follower() -> Stage:
    """Task t1 runs on three nodes, one after the other."""
    return follower()


def say(
    stage: Stage, instance: str | None = N1, *, accepted: bool = False, attempt: int = 1
) -> None:
    """The leader speaks of n1."""
    stage.tell(AttemptTold(KEY._replace(attempt=attempt), 5, instance, accepted))


def asked(stage: Stage) -> tuple[str | None, bool]:
    """Whom n1's attempt was sent to, and whether that one has accepted."""
    attempt = stage.attempt("t1", "n1")
    return attempt.sent_to, attempt.accepted_by is not None


def test_a_node_that_waits_for_its_agent_is_assigned(stage: Stage) -> None:
    """Nobody has the work yet."""
    say(stage, None)
    node = stage.node("t1", "n1")
    assert (node.phase, node.attempt, node.started_at) == (NodePhase.ASSIGNED, 1, 5)
    assert asked(stage) == (None, False)
    assert len(stage.core.in_flight) == 1


def test_what_was_sent_and_accepted_is_known(stage: Stage) -> None:
    """Each word of the leader wins over the one before; said twice, it is one."""
    say(stage)
    assert asked(stage) == (N1, False)
    assert stage.core.accepted_by("t1", "n1") == N1
    for _ in range(2):
        say(stage, accepted=True)
        assert asked(stage) == (N1, True)
        assert stage.node("t1", "n1").phase is NodePhase.PULLING
    say(stage, None)
    assert asked(stage) == (None, False)
    assert stage.node("t1", "n1").phase is NodePhase.ASSIGNED


def test_what_is_decided_or_not_due_or_nobodys_is_no_news(stage: Stage) -> None:
    """Late words change nothing."""
    say(stage, attempt=2)
    stage.tell(AttemptTold(KEY._replace(node="n9"), 5, N1, accepted=True))
    stage.tell(AttemptTold(KEY._replace(task="t9"), 5, N1, accepted=True))
    assert len(stage.core.in_flight) == 0
    stage.store("t1", "n1", pulled())
    say(stage, accepted=True)
    assert len(stage.core.in_flight) == 0
    assert stage.node("t1", "n1").phase is NodePhase.SUCCEEDED


def test_what_the_leader_began_in_a_place_that_is_not_free_here_waits_for_it(stage: Stage) -> None:
    """Its word is faster than the store's, and never shows more nodes at once than may be."""
    for name in ("n1", "n2", "n3"):
        stage.tell(AttemptTold(KEY._replace(node=name), 5, instance_of(name), accepted=True))
    assert [node for _, node in stage.core.in_flight] == ["n1", "n2"]
    assert stage.core.is_behind
    stage.store("t1", "n1", pulled())
    assert [node for _, node in stage.core.in_flight] == ["n2", "n3"]
    assert stage.attempt("t1", "n3").accepted_by == instance_of("n3")
    assert not stage.core.is_behind


def test_what_waits_for_its_place_is_over_with_its_task_and_for_who_leads() -> None:
    """Who leads gives places by itself."""
    led, ended = follower(), follower()
    for each in (led, ended):
        for name in ("n1", "n2", "n3"):
            each.tell(AttemptTold(KEY._replace(node=name), 5, None, accepted=False))
        assert each.core.is_behind
    led.tell(Settled())
    ended.end("t1")
    assert not led.core.is_behind
    assert not ended.core.is_behind
    assert [node for _, node in led.core.in_flight] == ["n1", "n2"]


def test_a_retry_that_the_leader_began_is_one(stage: Stage) -> None:
    """Before its time here, which is the leader's to know."""
    stage.store("t1", "n1", FLAKY)
    say(stage, accepted=True, attempt=2)
    assert stage.node("t1", "n1").phase is NodePhase.PULLING
    assert stage.node("t1", "n1").attempt == 2


def test_what_was_sent_and_not_answered_is_sent_again_by_who_takes_over(stage: Stage) -> None:
    """The answer went to the one before; what was accepted is not sent twice."""
    stage.beat("n1")
    say(stage)
    sent = of_kind(stage.tell(Settled()), Assign)
    assert [command.key for command in sent if command.key.node == "n1"] == [KEY]
    other = follower()
    other.beat("n1")
    say(other, accepted=True)
    assert [c.key for c in of_kind(other.tell(Settled()), Assign) if c.key.node == "n1"] == []


def test_a_leader_hears_no_other(stage: Stage) -> None:
    """A deposed one may speak yet."""
    stage.tell(Settled())
    before = stage.phases("t1")
    say(stage, accepted=True)
    assert stage.phases("t1") == before
