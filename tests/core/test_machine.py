from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from coordinator.core.events import StoreClosed, StoreOpened
from coordinator.core.scheduler import Limits
from coordinator.core.task import RetryStrategy, Rollout, TaskImage, TaskSpec, TaskStatus
from tests.core.laws import Laws
from tests.core.model_agents import Agent, Held, Mood
from tests.core.world import World

pytestmark = pytest.mark.pure

START = 1_000_000.0
MOST_TASKS = 4
HEALED_ROUNDS = 500
"""So many times five seconds are enough for every task in a world in which nothing fails."""

SPECS = st.builds(
    lambda images, **fields: TaskSpec(
        images=images,
        work=tuple(TaskImage(name=name, reference=f"ref/{name}") for name in images),
        **fields,
    ),
    images=st.sampled_from([("a",), ("a", "b")]),
    batch_size=st.integers(1, 3),
    priority=st.sampled_from([1, 5, 5, 10]),
    max_retries=st.integers(0, 2),
    retry_strategy=st.sampled_from(RetryStrategy),
    retry_delay=st.sampled_from([1, 7, 20]),
    rollout=st.sampled_from(Rollout),
    max_failed_nodes=st.integers(0, 1),
    node_selector=st.sampled_from([{}, {}, {"zone": "a"}, {"zone": "mars"}]),
)
RESULTS = st.sampled_from(
    [None, None, Reason.REGISTRY_ERROR, Reason.TIMEOUT, Reason.IMAGE_NOT_FOUND]
)
"""What becomes of an image: None is success."""
FAULTS = st.sampled_from([None] * 6 + [Reason.RUNTIME_UNAVAILABLE, Reason.CANCELLED])
"""What the node itself is to blame for."""
LIMITS = st.builds(
    Limits,
    max_concurrent_tasks=st.integers(1, 3),
    max_nodes_in_flight=st.sampled_from([0, 0, 2, 3]),
    agent_wait=st.just(25.0),
    first_look=st.just(8.0),
)


def image_outcome(image: TaskImage, reason: Reason | None) -> ImageOutcome:
    """One image of an attempt."""
    state = ImageState.PULLED if reason is None else ImageState.FAILED
    return ImageOutcome(image=image.name, state=state, reason=reason)


def all_pulled(images: Iterable[TaskImage]) -> Outcome:
    """An attempt without a fault."""
    return Outcome(images=[image_outcome(image, None) for image in images])


class Machine(RuleBasedStateMachine):
    """Users, agents, the bus, the store and time do what they like; the laws hold."""

    world: World

    @initialize(
        limits=LIMITS,
        nodes=st.integers(2, 5),
        dead_stay_dead=st.booleans(),
        specs=st.lists(SPECS, min_size=1, max_size=2),
    )
    def begin(
        self, limits: Limits, nodes: int, dead_stay_dead: bool, specs: list[TaskSpec]
    ) -> None:
        """A leader with a few agents, all of them heard, and the first tasks."""
        labels = {f"n{number}": {"zone": "ab"[number % 2]} for number in range(nodes)}
        self.dead_stay_dead = dead_stay_dead
        self.world = World(limits, labels, START, Laws())
        self.world.settle()
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
    @rule(data=st.data())
    def user_cancels(self, data: st.DataObject) -> None:
        """Whatever is not over may be cancelled at any moment."""
        self.world.cancel(data.draw(st.sampled_from(self.unfinished())))

    def unfinished(self) -> list[str]:
        """Tasks that are not over, as the store has them."""
        tasks = self.world.store.tasks
        return [task for task, stored in tasks.items() if not stored.status.is_final]

    # ── letters ──

    @precondition(lambda self: self.world.channels())
    @rule(data=st.data())
    def letter_arrives(self, data: st.DataObject) -> None:
        """Any channel may be the fastest."""
        self.world.take_letter(data.draw(st.sampled_from(self.world.channels())))()

    @precondition(lambda self: self.world.channels())
    @rule()
    def all_letters_arrive(self) -> None:
        """Nothing is under way any more."""
        self.world.deliver_all()

    @precondition(lambda self: self.agent_channels())
    @rule(data=st.data())
    def command_is_lost(self, data: st.DataObject) -> None:
        """Core messages may vanish; whoever waits for an answer gives up in the end."""
        self.world.take_letter(data.draw(st.sampled_from(self.agent_channels())))

    def agent_channels(self) -> list[str]:
        """Commands to agents that are under way."""
        return [name for name in self.world.channels() if name in self.world.agents]

    @precondition(lambda self: self.world.echoes)
    @rule(data=st.data())
    def word_is_heard_again(self, data: st.DataObject) -> None:
        """What this leader was told some time ago comes in once more."""
        recent = self.world.echoes[-12:]
        self.world.feed(recent[data.draw(st.integers(0, len(recent) - 1))])

    # ── agents ──

    def living(self) -> list[Agent]:
        """Agents that run."""
        return [agent for agent in self.world.agents.values() if agent.alive]

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), is_stored=st.booleans())
    def attempt_ends(self, data: st.DataObject, is_stored: bool) -> None:
        """Somehow; its outcome is stored now or later, and the leader reads it in its turn."""
        agent, task = data.draw(st.sampled_from(self.busy()))
        self.finish(data, agent.held[task])
        if is_stored:
            self.world.publish(agent, task)

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 1.0, 8.0]))
    def work_goes_on(self, data: st.DataObject, seconds: float) -> None:
        """Every attempt that is under way ends, is stored and read, and a while passes."""
        for agent, task in self.busy():
            self.finish(data, agent.held[task])
            self.world.publish(agent, task)
        self.world.deliver_all()
        self.world.pass_time(seconds)

    def busy(self) -> list[tuple[Agent, str]]:
        """Who is at work, and for which task."""
        return [(agent, task) for agent in self.living() for task in agent.at_work()]

    @staticmethod
    def finish(data: st.DataObject, held: Held) -> None:
        """End an attempt: each image has its own fate, unless the node is to blame."""
        fault = data.draw(FAULTS)
        images = [] if fault else [image_outcome(i, data.draw(RESULTS)) for i in held.images]
        held.outcome = Outcome(images=images, reason=fault, seconds=1.0)

    @precondition(lambda self: any(agent.with_outcome() for agent in self.living()))
    @rule(data=st.data())
    def outcome_is_stored(self, data: st.DataObject) -> None:
        """What an agent has had ready for a while."""
        ready = [(agent, task) for agent in self.living() for task in agent.with_outcome()]
        self.world.publish(*data.draw(st.sampled_from(ready)))

    @precondition(lambda self: self.living())
    @rule(data=st.data(), mood=st.sampled_from(Mood))
    def agent_changes_its_mood(self, data: st.DataObject, mood: Mood) -> None:
        """From now on it takes assignments in another way."""
        data.draw(st.sampled_from(self.living())).mood = mood

    @precondition(lambda self: self.living())
    @rule(data=st.data(), returns=st.booleans(), spool_is_kept=st.booleans())
    def agent_dies(self, data: st.DataObject, returns: bool, spool_is_kept: bool) -> None:
        """Killed; its successor may find the outcomes that it left."""
        agent = data.draw(st.sampled_from(self.living()))
        agent.alive = False
        left = {task: agent.held[task] for task in agent.with_outcome()}
        if returns:
            self.agent_is_born(agent.node, left if spool_is_kept else {})

    def agent_is_born(self, node: str, spool: dict[str, Held]) -> None:
        """A new run says what it is at once."""
        self.world.beat(self.world.new_agent(node, spool))

    @precondition(lambda self: self.living())
    @rule(data=st.data(), returns=st.booleans())
    def agent_leaves(self, data: st.DataObject, returns: bool) -> None:
        """Stopped in order: it hands back what it holds."""
        agent = data.draw(st.sampled_from(self.living()))
        self.world.beat(agent, leaving=True)
        agent.alive = False
        if returns:
            left = {task: agent.held[task] for task in agent.with_outcome()}
            self.agent_is_born(agent.node, left)

    @rule(data=st.data())
    def agent_starts(self, data: st.DataObject) -> None:
        """Where one is missing, or beside another under the same name."""
        self.agent_is_born(data.draw(st.sampled_from(sorted(self.world.nodes | {"n0"}))), {})

    @precondition(lambda self: self.living())
    @rule(data=st.data())
    def agent_speaks(self, data: st.DataObject) -> None:
        """A heartbeat out of turn."""
        self.world.beat(data.draw(st.sampled_from(self.living())))

    # ── nodes ──

    @precondition(lambda self: len(self.world.nodes) > 1)
    @rule(data=st.data())
    def node_vanishes(self, data: st.DataObject) -> None:
        """It ceases to exist."""
        self.world.vanish(data.draw(st.sampled_from(sorted(self.world.nodes))))

    @precondition(lambda self: len(self.world.nodes) < len(self.world.labels))
    @rule(data=st.data())
    def node_appears(self, data: st.DataObject) -> None:
        """It exists again, with a new agent."""
        missing = sorted(self.world.labels.keys() - self.world.nodes)
        self.world.appear(data.draw(st.sampled_from(missing)))

    @rule(data=st.data())
    def node_is_cut_off(self, data: st.DataObject) -> None:
        """Or reached again: a partition of one."""
        self.world.cut ^= {data.draw(st.sampled_from(sorted(self.world.labels)))}

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


@pytest.mark.timeout(3600 if LONG_SEARCH else 60)
def test_the_laws_hold_in_every_history() -> None:
    """Whatever users, agents, bus, store, leaders and time do, no law is broken and all ends."""
    if LONG_SEARCH:
        chosen = settings(profile(max_examples=20_000, stateful_step_count=60), derandomize=False)
    else:
        chosen = profile(max_examples=60, stateful_step_count=40)
    run_state_machine_as_test(Machine, settings=chosen)


def test_pending_is_where_every_task_begins() -> None:
    """The model starts tasks as users do."""
    world = World(Limits(), {"n0": {}}, START, Laws())
    world.create("t1", TaskSpec(images=("a",), work=(TaskImage(name="a", reference="a"),)))
    assert world.store.tasks["t1"].status is TaskStatus.PENDING


FAST_PHASES = (Phase.generate,)
