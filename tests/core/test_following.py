"""A core that has not heard ``Settled`` follows another leader, for however long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.messages import Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.changes import NodeMoved, TaskBegan, TaskOver, TaskQueued
from coordinator.core.commands import AskAgent, FinishTask, StartTask, StoreVerdict
from coordinator.core.events import NodeSeen, NodeVanished, Settled, TaskCreated, Woken
from coordinator.core.node_run import NodePhase
from coordinator.core.scheduler import Limits
from coordinator.core.task import TaskStatus
from tests.core.draws import SPECS, all_pulled
from tests.core.laws import Laws
from tests.core.reference import standing
from tests.core.stage import (
    FLAKY,
    REMOVAL,
    START,
    Stage,
    head,
    of_kind,
    places,
    pulled,
    spec,
    stop,
    verdicts,
)
from tests.core.world import World

pytestmark = pytest.mark.pure

HOURS = 5 * 3600.0
LOST = [("n1", Reason.AGENT_LOST)]


def follower() -> Stage:
    """It knows three nodes with agents, and a task of which two may be in flight."""
    stage = Stage("n1", "n2", "n3", settled=False)
    stage.start("t1", "n1 n2 n3", spec(batch_size=2, max_retries=1))
    return stage


@pytest.fixture(name="stage")
def stage_of_a_follower() -> Stage:
    """The same, for a test."""
    return follower()


def test_a_follower_takes_in_what_agents_hold_and_what_is_stored(stage: Stage) -> None:
    """Whoever asks it is answered as by the leader."""
    assert not stage.core.leads
    assert stage.beat("n1", ("t1", 1), interval=10) == []
    assert stage.phases("t1") == {NodePhase.PULLING: 1, NodePhase.WAITING: 2}
    assert stage.core.accepted_by("t1", "n1") == "n1/1"
    assert len(stage.core.in_flight) == 1
    stage.store("t1", "n1", pulled())
    assert stage.phases("t1") == {NodePhase.SUCCEEDED: 1, NodePhase.WAITING: 2}
    assert len(stage.core.in_flight) == 0


def test_a_follower_decides_nothing_however_long_it_follows(stage: Stage) -> None:
    """Agents are lost and silent, nodes vanish, tasks wait and are over: another one decides."""
    stage.beat("n1", ("t1", 1), interval=10)
    stage.create("t2")
    assert stage.wait(HOURS) == []
    assert stage.wake is None
    for run in range(2, 9):
        stage.wait(2)
        assert stage.beat("n1", ("t1", 1), run=run, interval=10) == []
        assert stage.beat("n1", run=run + 1, interval=10) == []
    assert stage.tell(NodeVanished("n2")) == []
    for node in ("n1", "n2", "n3"):
        stage.store("t1", node, pulled())
    assert stage.run("t1").is_over
    assert stage.wait(HOURS) == []


def test_a_follower_tells_what_is_so_as_a_leader_does(stage: Stage) -> None:
    """Live views and metrics of a follower are fed with the same changes."""
    stage.tell(TaskCreated(head("t2"), 2))
    stage.tell(TaskCreated(head("t2"), 2))
    stage.start("t2", "n1")
    stage.beat("n1", ("t2", 1))
    stage.end("t2")
    stage.end("t2")
    running, over = head("t2", status=TaskStatus.RUNNING), head("t2", status=TaskStatus.CANCELLED)
    assert stage.changes[1:] == [
        TaskQueued(head("t2"), found=False),
        TaskBegan(running),
        NodeMoved("t2", "n1"),
        TaskOver(over),
    ]


def test_an_end_of_a_task_that_was_never_known_is_told(stage: Stage) -> None:
    """It was created and cancelled while nobody read; once."""
    stage.end("t9")
    stage.end("t9")
    assert stage.changes[1:] == [TaskOver(head("t9", status=TaskStatus.CANCELLED))]


# ── taking over ──


def test_what_is_held_keeps_its_places_when_a_follower_leads(stage: Stage) -> None:
    """Only the difference is assigned, at once."""
    stage.beat("n2", ("t1", 1))
    assert places(stage.tell(Settled())) == [("t1", "n1", 1)]
    assert stage.core.leads
    assert stage.tell(Settled()) == []


def test_starts_and_ends_that_waited_for_a_leader_are_made_up_for(stage: Stage) -> None:
    """The former leader died before it could store them."""
    stage.create("t2")
    for node in ("n1", "n2", "n3"):
        stage.store("t1", node, pulled())
    said = stage.tell(Settled())
    assert of_kind(said, StartTask) == [StartTask("t2", ("n1", "n2", "n3"))]
    assert [finish.task for finish in of_kind(said, FinishTask)] == ["t1"]


def test_a_node_that_vanished_is_removed_when_a_follower_leads(stage: Stage) -> None:
    """Nobody says again that it did; one that is back by then stays."""
    stage.tell(NodeVanished("n1"))
    stage.tell(NodeVanished("n2"))
    stage.tell(NodeSeen("n2", {}))
    assert of_kind(stage.tell(Settled()), StoreVerdict) == [
        StoreVerdict(AttemptKey("t1", "n1", 1), REMOVAL)
    ]


def test_a_removal_that_another_leader_stored_is_not_asked_for_again(stage: Stage) -> None:
    """The node has left the task."""
    stage.tell(NodeVanished("n1"))
    stage.store("t1", "n1", REMOVAL, run=0)
    assert verdicts(stage.tell(Settled())) == []


def test_a_node_that_vanished_before_the_start_was_read_is_removed() -> None:
    """Another leader chose it while it existed; the words overtook one another."""
    stage = Stage("n1", "n2", settled=False)
    stage.tell(NodeVanished("n1"))
    stage.start("t1", "n1 n2")
    stage.start("t2", "n1", spec(names_nodes=True))
    assert [v.key.task for v in of_kind(stage.tell(Settled()), StoreVerdict)] == ["t1"]


def test_an_agent_that_is_silent_when_a_follower_leads_is_asked_first(stage: Stage) -> None:
    """Nobody asked it on this core's behalf, and its heartbeats may be rare."""
    stage.beat("n1", ("t1", 1), interval=10)
    stage.wait(HOURS)
    stage.tell(Settled())
    assert stage.wake == stage.now
    assert verdicts(stage.wait(2.9)) == []
    assert verdicts(stage.wait(0.1)) == LOST


def test_a_silent_agent_that_answers_when_it_is_asked_has_the_full_wait(stage: Stage) -> None:
    """It is heard of, so nothing is lost."""
    stage.beat("n1", ("t1", 1), interval=10)
    stage.wait(HOURS)
    stage.tell(Settled())
    stage.wait(1)
    stage.beat("n1", ("t1", 1), interval=10)
    assert LOST[0] not in verdicts(stage.wait(59.9))
    assert verdicts(stage.wait(0.1)) == LOST


def test_an_agent_heard_shortly_before_has_what_is_left_of_its_wait(stage: Stage) -> None:
    """A change of leader makes nobody's silence shorter."""
    stage.beat("n1", ("t1", 1), interval=10)
    stage.wait(50)
    stage.tell(Settled())
    assert verdicts(stage.wait(9.9)) == []
    assert verdicts(stage.wait(0.1)) == LOST


def test_a_silent_agent_is_asked_at_once(stage: Stage) -> None:
    """In the first moment of the new leader."""
    stage.beat("n1", ("t1", 1), interval=10)
    stage.wait(HOURS)
    stage.tell(Settled())
    assert of_kind(stage.tell(Woken()), AskAgent) == [AskAgent("n1", "n1/1")]


def test_work_that_nobody_has_is_sent_when_a_follower_leads(stage: Stage) -> None:
    """Its agent was started anew while another led."""
    stage.beat("n1", ("t1", 1))
    stage.beat("n1", run=2)
    assert stage.phases("t1")[NodePhase.ASSIGNED] == 1
    assert places(stage.tell(Settled())) == [("t1", "n1", 1), ("t1", "n2", 1)]


def test_work_that_nobody_has_is_waited_for_from_the_take_over_on(stage: Stage) -> None:
    """This core asked nobody before, so that no time of its following counts."""
    stage.beat("n1", ("t1", 1), interval=10)
    stage.beat("n1", interval=10, leaving=True)
    stage.wait(HOURS)
    stage.tell(Settled())
    assert verdicts(stage.wait(59.9)) == []
    assert verdicts(stage.wait(0.1))[:1] == [("n1", Reason.AGENT_UNAVAILABLE)]


def test_work_that_has_ended_five_agents_is_given_up_when_a_follower_leads(stage: Stage) -> None:
    """The former leader did not live to say so."""
    for run in range(1, 6):
        stage.beat("n1", ("t1", 1), run=run)
        stage.wait(2)
        stage.beat("n1", run=run + 1)
    assert verdicts(stage.tell(Settled())) == LOST


def test_work_that_a_sixth_agent_has_goes_on_when_a_follower_leads(stage: Stage) -> None:
    """Another leader gave it out once more."""
    for run in range(1, 6):
        stage.beat("n1", ("t1", 1), run=run)
        stage.wait(2)
        stage.beat("n1", run=run + 1)
    stage.beat("n1", ("t1", 1), run=6)
    assert verdicts(stage.tell(Settled())) == []
    assert stage.phases("t1")[NodePhase.PULLING] == 1


def test_work_without_a_place_is_stopped_when_a_follower_leads(stage: Stage) -> None:
    """While it followed its words reached nobody, so that they are said again."""
    stage.beat("n1", ("t1", 1))
    stage.beat("n2", ("t1", 1))
    assert stage.beat("n3", ("t1", 1)) == [stop("t1", "n3", 1)]
    assert stop("t1", "n3", 1) in stage.tell(Settled())


def test_work_that_has_a_place_by_now_is_adopted_when_a_follower_leads(stage: Stage) -> None:
    """What stood in its way has been decided."""
    stage.beat("n1", ("t1", 1))
    stage.beat("n2", ("t1", 1))
    stage.beat("n3", ("t1", 1))
    stage.store("t1", "n1", pulled())
    assert stage.tell(Settled()) == []
    assert stage.phases("t1") == {NodePhase.SUCCEEDED: 1, NodePhase.PULLING: 2}


def test_a_retry_that_fell_due_begins_when_a_follower_leads(stage: Stage) -> None:
    """And one that is not due yet is woken for."""
    stage.store("t1", "n1", FLAKY, at=START - 100)
    stage.store("t1", "n2", FLAKY)
    assert ("t1", "n1", 2) in places(stage.tell(Settled()))
    assert stage.wake == START + 30


def test_what_a_follower_remembers_of_pending_tasks_does_not_grow() -> None:
    """Tasks come and go for weeks, and nobody takes them out of its queue by starting them."""
    stage = Stage("n1", settled=False)
    for number in range(200):
        stage.create(f"t{number}")
        stage.end(f"t{number}")
    assert not stage.core.waiting
    assert not stage.core._queue.queued


# ── the same world ──


def outcome_of(key: AttemptKey, world: World) -> Outcome:
    """What an attempt comes to, by nothing but what it is."""
    work = world.store.tasks[key.task].head.spec.work
    return FLAKY if hash_of(key) % 3 == 0 else all_pulled(work)


def hash_of(key: AttemptKey) -> int:
    """A number of an attempt, the same in every run."""
    return sum(ord(letter) * place for place, letter in enumerate("".join(map(str, key)), 3))


def work_on(world: World, rounds: int) -> None:
    """Agents work, outcomes are stored and read, time passes."""
    for _ in range(rounds):
        world.deliver_all()
        for agent in list(world.agents.values()):
            for task in agent.at_work():
                key = AttemptKey(task, agent.node, agent.held[task].attempt)
                agent.held[task].outcome = outcome_of(key, world)
                world.publish(agent, task)
        world.deliver_all()
        world.pass_time(5.0)


@given(specs=st.lists(SPECS, min_size=1, max_size=3), rounds=st.integers(0, 8))
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
def test_a_follower_that_leads_ends_in_the_world_of_one_that_led_from_the_start(
    specs: list[object], rounds: int
) -> None:
    """Wherever in the history it takes over, every node and task ends as under one leader."""
    ends = []
    for takes_over in (False, True):
        world = World(Limits(agent_wait=25.0), {"n0": {}, "n1": {}, "n2": {}}, START, Laws())
        world.settle()
        for number, wanted in enumerate(specs):
            world.create(f"t{number}", wanted)  # type: ignore[arg-type]
        work_on(world, rounds)
        if takes_over:
            world.follower_leads()
            world.settle()
        work_on(world, 40)
        ends.append(
            {
                task: (stored.status, [of_node(world, task, node) for node in stored.nodes])
                for task, stored in world.store.tasks.items()
            }
        )
    assert all(status.is_final for status, _ in ends[0].values())
    assert ends[0] == ends[1]


def of_node(world: World, task: str, node: str) -> object:
    """How a node of a task ended, by what is stored."""
    stored = {
        key.attempt: event.outcome
        for key, event in world.store.outcomes.items()
        if (key.task, key.node) == (task, node)
    }
    return standing(world.store.tasks[task].head.spec, stored)
