from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from common.messages import Outcome
from coordinator.core.events import Event, OutcomeStored, StoreClosed, StoreOpened
from coordinator.core.scheduler import Limits
from coordinator.core.task import TaskImage, TaskSpec, TaskStatus
from tests.core.draws import (
    FAULTS,
    LIMITS,
    PICKS,
    RESULTS,
    SPECS,
    all_pulled,
    choose,
    image_outcome,
)
from tests.core.laws import Laws
from tests.core.model_agents import Agent, Held, Mood
from tests.core.world import World

pytestmark = pytest.mark.pure

START = 1_000_000.0
MOST_TASKS = 4
HEALED_ROUNDS = 500
"""So many times five seconds are enough for every task in a world in which nothing fails."""


class Machine(RuleBasedStateMachine):
    """Users, agents, the bus, the store and time do what they like; the laws hold."""

    world: World

    @initialize(
        limits=LIMITS,
        nodes=st.integers(2, 5),
        dead_stay_dead=st.booleans(),
        mood=st.sampled_from(Mood),
        specs=st.lists(SPECS, min_size=1, max_size=2),
    )
    def begin(
        self,
        limits: Limits,
        nodes: int,
        dead_stay_dead: bool,
        mood: Mood,
        specs: list[TaskSpec],
    ) -> None:
        """A leader with a few agents, all of them heard, and the first tasks."""
        labels = {f"n{number}": {"zone": "ab"[number % 2]} for number in range(nodes)}
        self.dead_stay_dead = dead_stay_dead
        self.world = World(limits, labels, START, Laws())
        self.world.settle()
        self.living()[0].mood = mood
        for spec in specs:
            self.user_creates(spec, at_once=True)

    # ── users ──

    @precondition(lambda self: len(self.world.store.tasks) < MOST_TASKS)
    @rule(spec=SPECS, at_once=st.booleans())
    def user_creates(self, spec: TaskSpec, at_once: bool) -> None:
        """A task, known to the leader at once or a little later."""
        self.world.create(f"t{len(self.world.store.tasks) + 1}", spec)
        if at_once:
            self.world.deliver_all()

    @precondition(lambda self: self.unfinished())
    @rule(pick=PICKS)
    def user_cancels(self, pick: int) -> None:
        """Whatever is not over may be cancelled at any moment."""
        self.world.cancel(choose(self.unfinished(), pick))

    def unfinished(self) -> list[str]:
        """Tasks that are not over, as the store has them."""
        tasks = self.world.store.tasks
        return [task for task, stored in tasks.items() if not stored.status.is_final]

    # ── letters ──

    @precondition(lambda self: self.world.channels())
    @rule(pick=PICKS)
    def letter_arrives(self, pick: int) -> None:
        """Any channel may be the fastest."""
        self.world.take_letter(choose(self.world.channels(), pick))()

    @precondition(lambda self: self.world.channels())
    @rule()
    def all_letters_arrive(self) -> None:
        """Nothing is under way any more."""
        self.world.deliver_all()

    @precondition(lambda self: self.agent_channels())
    @rule(pick=PICKS)
    def command_is_lost(self, pick: int) -> None:
        """Core messages may vanish; whoever waits for an answer gives up in the end."""
        self.world.take_letter(choose(self.agent_channels(), pick))

    def agent_channels(self) -> list[str]:
        """Commands to agents that are under way."""
        return [name for name in self.world.channels() if name in self.world.agents]

    @precondition(lambda self: self.world.writes())
    @rule(pick=PICKS)
    def write_is_refused(self, pick: int) -> None:
        """One write of the leader's, and the next one may succeed."""
        letter = self.world.take_letter(choose(self.world.writes(), pick))
        refused, self.world.store.refuses = self.world.store.refuses, True
        letter()
        self.world.store.refuses = refused

    @precondition(lambda self: self.world.echoes)
    @rule(pick=PICKS)
    def word_is_heard_again(self, pick: int) -> None:
        """What this leader was told some time ago comes in once more."""
        self.world.feed(choose(self.world.echoes[-20:], pick))

    @precondition(lambda self: self.outcomes_heard())
    @rule(pick=PICKS)
    def outcome_is_heard_again(self, pick: int) -> None:
        """However old it is."""
        self.world.feed(choose(self.outcomes_heard(), pick))

    def outcomes_heard(self) -> list[Event]:
        """What this leader has read."""
        return [event for event in self.world.echoes if isinstance(event, OutcomeStored)]

    # ── agents ──

    def living(self) -> list[Agent]:
        """Agents that run."""
        return [agent for agent in self.world.agents.values() if agent.alive]

    @precondition(lambda self: self.busy())
    @rule(pick=PICKS, is_stored=st.booleans())
    def attempt_ends(self, pick: int, is_stored: bool) -> None:
        """Somehow; its outcome is stored now or later, and the leader reads it in its turn."""
        agent, task = choose(self.busy(), pick)
        self.finish(agent.held[task], pick)
        if is_stored:
            self.world.publish(agent, task)

    @precondition(lambda self: self.busy())
    @rule(
        pick=PICKS,
        seconds=st.sampled_from([0.0, 1.0, 8.0]),
        is_refused=st.sampled_from([False, False, True]),
    )
    def work_goes_on(self, pick: int, seconds: float, is_refused: bool) -> None:
        """Every attempt that is under way ends, is stored and read, and a while passes.

        Meanwhile the store may refuse what the leader makes of it.
        """
        for number, (agent, task) in enumerate(self.busy(), start=1):
            self.finish(agent.held[task], pick // number)
            self.world.publish(agent, task)
        refused, self.world.store.refuses = self.world.store.refuses, is_refused
        self.world.deliver_all()
        self.world.store.refuses = refused
        self.world.pass_time(seconds)

    def busy(self) -> list[tuple[Agent, str]]:
        """Who is at work, and for which task."""
        return [(agent, task) for agent in self.living() for task in agent.at_work()]

    @staticmethod
    def finish(held: Held, pick: int) -> None:
        """End an attempt: each image has its own fate, unless the node is to blame."""
        fault = choose(FAULTS, pick)
        results = [choose(RESULTS, pick // 8 // 5**place) for place in range(len(held.images))]
        images = map(image_outcome, held.images, results)
        held.outcome = Outcome(images=[] if fault else list(images), reason=fault, seconds=1.0)

    @precondition(lambda self: any(agent.with_outcome() for agent in self.living()))
    @rule(pick=PICKS)
    def outcome_is_stored(self, pick: int) -> None:
        """What an agent has had ready for a while."""
        ready = [(agent, task) for agent in self.living() for task in agent.with_outcome()]
        self.world.publish(*choose(ready, pick))

    @precondition(lambda self: self.living())
    @rule(pick=PICKS, mood=st.sampled_from([Mood.REFUSING, Mood.SULKING, Mood.MUMBLING]))
    def agent_changes_its_mood(self, pick: int, mood: Mood) -> None:
        """From now on it takes assignments in another way, or as it should again."""
        agent = choose(self.living(), pick)
        agent.mood = mood if agent.mood is Mood.WILLING else Mood.WILLING

    @precondition(lambda self: self.living())
    @rule(pick=PICKS, returns=st.booleans(), spool_is_kept=st.booleans())
    def agent_dies(self, pick: int, returns: bool, spool_is_kept: bool) -> None:
        """Killed; its successor may find the outcomes that it left."""
        agent = choose(self.living(), pick)
        agent.alive = False
        left = {task: agent.held[task] for task in agent.with_outcome()}
        if returns:
            self.agent_is_born(agent.node, left if spool_is_kept else {})

    def agent_is_born(self, node: str, spool: dict[str, Held]) -> None:
        """A new run says what it is at once."""
        self.world.beat(self.world.new_agent(node, spool))

    @precondition(lambda self: self.living())
    @rule(pick=PICKS, returns=st.booleans())
    def agent_leaves(self, pick: int, returns: bool) -> None:
        """Stopped in order: it hands back what it holds."""
        agent = choose(self.living(), pick)
        self.world.beat(agent, leaving=True)
        agent.alive = False
        if returns:
            left = {task: agent.held[task] for task in agent.with_outcome()}
            self.agent_is_born(agent.node, left)

    @rule(pick=PICKS)
    def agent_starts(self, pick: int) -> None:
        """Where one is missing, or beside another under the same name."""
        self.agent_is_born(choose(sorted(self.world.nodes | {"n0"}), pick), {})

    @precondition(lambda self: self.living())
    @rule(pick=PICKS)
    def agent_speaks(self, pick: int) -> None:
        """A heartbeat out of turn."""
        self.world.beat(choose(self.living(), pick))

    # ── nodes ──

    @precondition(lambda self: len(self.world.nodes) > 1)
    @rule(pick=PICKS)
    def node_vanishes(self, pick: int) -> None:
        """It ceases to exist."""
        self.world.vanish(choose(sorted(self.world.nodes), pick))

    @precondition(lambda self: len(self.world.nodes) < len(self.world.labels))
    @rule(pick=PICKS)
    def node_appears(self, pick: int) -> None:
        """It exists again, with a new agent."""
        missing = sorted(self.world.labels.keys() - self.world.nodes)
        self.world.appear(choose(missing, pick))

    @rule(pick=PICKS)
    def node_is_cut_off(self, pick: int) -> None:
        """Or reached again: a partition of one."""
        self.world.cut ^= {choose(sorted(self.world.labels), pick)}

    # ── bus, store, leader, time ──

    @precondition(lambda self: self.world.bus_is_up)
    @rule(noticed_after=st.sampled_from([0.0, 1.5]))
    def bus_falls(self, noticed_after: float) -> None:
        """Nobody hears anybody."""
        self.world.bus_falls(noticed_after)

    @precondition(lambda self: not self.world.bus_is_up)
    @rule()
    def bus_returns(self) -> None:
        """What is stored is read, and agents are heard again when they speak."""
        self.world.bus_returns()

    @rule(is_noticed=st.booleans())
    def store_changes_its_mind(self, is_noticed: bool) -> None:
        """It refuses writes, or takes them again; the leader may be told."""
        self.world.store.refuses = not self.world.store.refuses
        if is_noticed or not self.world.store.refuses:
            self.world.feed(StoreClosed() if self.world.store.refuses else StoreOpened())

    @precondition(lambda self: self.world.bus_is_up)
    @rule(arrives=st.booleans(), settles=st.booleans())
    def leader_dies(self, arrives: bool, settles: bool) -> None:
        """Another takes over; what was under way has arrived before, or is lost."""
        if arrives:
            self.world.deliver_all()
        self.world.new_leader()
        if settles:
            self.world.settle()

    @precondition(lambda self: self.world.bus_is_up)
    @rule(arrives=st.booleans(), settles=st.booleans())
    def follower_takes_over(self, arrives: bool, settles: bool) -> None:
        """The one that has heard everything, for as long as it has been there."""
        if arrives:
            self.world.deliver_all()
        self.world.follower_leads()
        if settles:
            self.world.settle()

    @precondition(lambda self: self.world.settling and self.world.bus_is_up)
    @rule()
    def leader_settles(self) -> None:
        """It has heard who can be heard."""
        self.world.settle()

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0, 20.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        """With heartbeats, deadlines and wake-ups on the way."""
        self.world.pass_time(seconds)

    # ── the end ──

    def teardown(self) -> None:
        """In a healed world every task comes to its end."""
        if not hasattr(self, "world") or self.world.is_broken:
            return
        self.heal()
        for _ in range(HEALED_ROUNDS):
            self.world.deliver_all()
            for agent in self.living():
                for task in agent.at_work():
                    agent.held[task].outcome = all_pulled(agent.held[task].images)
                for task in agent.with_outcome():
                    self.world.publish(agent, task)
            self.world.deliver_all()
            if not self.unfinished():
                break
            self.world.pass_time(5.0)
        assert not self.unfinished(), "every task ends"
        assert not self.world.core.runs, "the leader knows that they did"
        assert not self.world.core.waiting, "and that none is left"
        assert not self.world.follower.runs, "and so does who follows"
        assert not self.world.follower.waiting, "and waits for none"

    def heal(self) -> None:
        """Nothing fails any more; where two agents run under one name, the newer one is stopped."""
        world = self.world
        world.cut.clear()
        if not world.bus_is_up:
            world.bus_returns()
        world.store.refuses = False
        world.feed(StoreOpened())
        for node in sorted(world.nodes):
            for rival in world.living(node)[1:]:
                rival.alive = False
            if not world.living(node) and not self.dead_stay_dead:
                world.new_agent(node)
        for agent in self.living():
            agent.mood = Mood.WILLING
        if world.settling:
            world.settle()


def profile(**fields: Any) -> settings:
    """How the machine is run: the same histories each time, unless a long search is wanted."""
    return settings(
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        **fields,
    )


LONG_SEARCH = os.environ.get("IPS_TEST_HYPOTHESIS") == "deep"


@pytest.mark.timeout(7200 if LONG_SEARCH else 300)
def test_the_laws_hold_in_every_history() -> None:
    """Whatever users, agents, bus, store, leaders and time do, no law is broken and all ends."""
    if LONG_SEARCH:
        chosen = settings(profile(max_examples=20_000, stateful_step_count=60), derandomize=False)
    else:
        chosen = profile(max_examples=30, stateful_step_count=40)
    run_state_machine_as_test(Machine, settings=chosen)


def test_pending_is_where_every_task_begins() -> None:
    """The model starts tasks as users do."""
    world = World(Limits(), {"n0": {}}, START, Laws())
    world.create("t1", TaskSpec(images=("a",), work=(TaskImage(name="a", reference="a"),)))
    assert world.store.tasks["t1"].status is TaskStatus.PENDING
