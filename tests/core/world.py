"""A small world around the core: a store, a bus, agents and time, all of which may misbehave.

It carries the core's commands out as the engine does, letter by letter: letters of one channel
keep their order, channels overtake one another. The laws see every event with its commands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

from msgspec.structs import replace

from common.messages import Outcome
from common.subjects import AttemptKey
from coordinator.core.commands import (
    AskAgent,
    Assign,
    CancelWork,
    Command,
    FinishTask,
    StartTask,
    StoreVerdict,
    WakeAt,
)
from coordinator.core.events import (
    AgentHeard,
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    BusFellSilent,
    BusHeard,
    Event,
    NodeSeen,
    NodeVanished,
    OutcomeStored,
    Settled,
    TaskCreated,
    TaskEnded,
    TaskStarted,
    Woken,
)
from coordinator.core.scheduler import Core, Decision, Limits
from coordinator.core.task import TaskHead, TaskSpec, TaskStatus
from tests.core.model_agents import HEARTBEAT_SECONDS, Agent, Held
from tests.core.model_store import LEADERS_OWN, Store, Stored, refusal

ANSWER_SECONDS = 3.0
"""How long the engine waits for an agent's answer."""
WAKES_AT_ONCE = 4
"""So often the core may ask to be woken at the same moment before it is a busy loop."""

Letter = Callable[[], None]


class Judge(Protocol):
    """Sees everything that the core is told and says, and objects."""

    def new_leader(self, world: World) -> None:
        """A new core begins, which knows nothing."""

    def new_follower(self, world: World) -> None:
        """A new core begins beside the leader's."""

    def follower_leads(self, world: World) -> None:
        """The leader is gone; the core that has followed is the leader's from now on."""

    def judge_follower(self, world: World, event: Event, decision: Decision) -> None:
        """The core that follows has answered to an event."""

    def judge(self, world: World, event: Event, decision: Decision) -> None:
        """The core has answered to an event."""


class World:
    """Everything but the core."""

    def __init__(
        self, limits: Limits, nodes: dict[str, dict[str, str]], now: float, judge: Judge
    ) -> None:
        self.limits = limits
        self._judge = judge
        self.now = now
        self.labels = nodes
        self.nodes = set(nodes)
        """Those that exist."""
        self.store = Store()
        self.agents: dict[str, Agent] = {}
        self.cut: set[str] = set()
        """Nodes that the bus does not reach."""
        self.bus_is_up = True
        self.letters: dict[str, deque[Letter]] = {}
        self.asks: dict[int, tuple[float, Assign]] = {}
        """Assignments that wait for an answer, with the time at which that is given up."""
        self.wake: float | None = None
        self.settling = True
        self.is_broken = False
        """Whether the core or a law objected to the last event."""
        self.echoes: list[Event] = []
        """What this core was told and may be told again."""
        self._numbers = count(1)
        self._woken_at: list[float] = []
        for node in sorted(nodes):
            self.new_agent(node)
        self.new_leader()
        self.new_follower()

    # ── the leader, and who follows it ──

    def new_leader(self) -> None:
        """A core that knows nothing but what is stored; what was under way is lost."""
        self.letters.clear()
        self.asks.clear()
        self.echoes.clear()
        self.settling, self.wake = True, None
        self.core = Core(self.limits, self.now)
        self._judge.new_leader(self)
        for event in [*self.store.all(), *self._seen()]:
            self._tell_leader(event)
        if hasattr(self, "follower"):
            for event in [*self.store.all(), *self._seen()]:
                self._tell_follower(event)

    def new_follower(self) -> None:
        """A core that follows from now on, and knows what is stored."""
        self.follower = Core(self.limits, self.now)
        self._judge.new_follower(self)
        for event in [*self.store.all(), *self._seen()]:
            self._tell_follower(event)

    def follower_leads(self) -> None:
        """The leader is gone, and what it had under way; who has followed reads on, and leads."""
        for event in [*self.store.all(), *self._seen()]:
            self._tell_follower(event)
        self.letters.clear()
        self.asks.clear()
        self.echoes.clear()
        self.settling, self.wake = True, None
        self.core = self.follower
        self._judge.follower_leads(self)
        self.new_follower()

    def _seen(self) -> list[Event]:
        return [NodeSeen(node, self.labels[node]) for node in sorted(self.nodes)]

    def settle(self) -> None:
        """Every agent that is reached says what it holds, then the leader begins."""
        for agent in list(self.agents.values()):
            self.beat(agent)
        self.settling = False
        self.feed(Settled())

    def feed(self, event: Event) -> None:
        """Tell the cores what happened; what is about the leader's own commands, the leader."""
        if not isinstance(event, LEADERS_OWN):
            self._tell_follower(event)
        self._tell_leader(event)

    def _tell_follower(self, event: Event) -> None:
        """Tell the core that follows, and judge what it says: its commands reach nobody."""
        self.is_broken = True
        self._judge.judge_follower(self, event, self.follower.handle(event, self.now))
        self.is_broken = False

    def _tell_leader(self, event: Event) -> None:
        """Tell the leader's core, judge what it says, and put its commands on their way."""
        self.is_broken = True
        decision = self.core.handle(event, self.now)
        for command in decision.commands:
            if isinstance(command, WakeAt):
                self.wake = command.when
        self._judge.judge(self, event, decision)
        self.is_broken = False
        if isinstance(
            event,
            TaskCreated
            | TaskStarted
            | TaskEnded
            | OutcomeStored
            | AssignmentAccepted
            | AssignmentRefused
            | AssignmentUnanswered,
        ):
            self.echoes.append(event)
        for command in decision.commands:
            self._perform(command)

    def _perform(self, command: Command) -> None:
        match command:
            case Assign():
                number = next(self._numbers)
                self.asks[number] = (self.now + ANSWER_SECONDS, command)
                self.post(command.instance, lambda: self._assign(command, number))
            case CancelWork():
                self.post(command.instance, lambda: self._cancel(command))
            case AskAgent():
                self.post(command.instance, lambda: self.beat(self.agents[command.instance]))
            case StartTask() | FinishTask() | StoreVerdict():
                self.post(f"store {next(self._numbers)}", lambda: self._write(command))
            case _:
                pass

    # ── letters ──

    def post(self, channel: str, letter: Letter) -> None:
        """Put something on its way, behind what is in the channel."""
        self.letters.setdefault(channel, deque()).append(letter)

    def channels(self) -> list[str]:
        """Channels in which something can arrive."""
        return [name for name in self.letters if self.bus_is_up or name != "reading"]

    def writes(self) -> list[str]:
        """Channels in which a write of the leader's is on its way into the store."""
        return [name for name in self.letters if name.startswith("store")]

    def take_letter(self, channel: str) -> Letter:
        """The next letter of a channel, which leaves it."""
        letters = self.letters[channel]
        letter = letters.popleft()
        if not letters:
            del self.letters[channel]
        return letter

    def deliver_all(self) -> None:
        """Until nothing is under way."""
        while channels := self.channels():
            self.take_letter(channels[0])()

    # ── what the engine does for the core ──

    def _assign(self, work: Assign, number: int) -> None:
        agent = self.agents[work.instance]
        answer: bool | None = None
        if self.reaches(agent):
            if not agent.alive:
                self._answer(number, AssignmentUnanswered(work.key, work.instance, absent=True))
                return
            answer = agent.take(work, self.now)
        if answer is not None:
            kind = AssignmentAccepted if answer else AssignmentRefused
            self._answer(number, kind(work.key, work.instance))

    def _answer(self, number: int, event: Event) -> None:
        def arrive() -> None:
            if self.asks.pop(number, None) is not None:
                self.feed(event)

        self.post(f"answer {number}", arrive)

    def _cancel(self, command: CancelWork) -> None:
        agent = self.agents[command.instance]
        if agent.alive and self.reaches(agent):
            agent.stop(command)

    def _write(self, command: StartTask | FinishTask | StoreVerdict) -> None:
        if self.store.refuses or not self.bus_is_up:
            self.feed(refusal(command))
            return
        match command:
            case StartTask(task, nodes):
                if self.store.swap(task, TaskStatus.RUNNING, nodes):
                    stored = self.store.tasks[task]
                    self.feed(TaskStarted(stored.head, stored.order, nodes))
            case FinishTask(task, status):
                if self.store.swap(task, status):
                    self.feed(TaskEnded(self.store.tasks[task].head))
            case StoreVerdict(key, outcome):
                self.decide(key, outcome)

    def decide(self, key: AttemptKey, outcome: Outcome) -> None:
        """Store an outcome if it is the first; the leader reads it in its turn."""
        if key in self.store.outcomes:
            return
        event = OutcomeStored(key, outcome, len(self.store.outcomes) + 1, self.now)
        self.store.outcomes[key] = event
        self.post("reading", lambda: self.feed(event))

    # ── users ──

    def create(self, task: str, spec: TaskSpec) -> None:
        """A user's task is stored."""
        order = len(self.store.tasks) + 1
        head = TaskHead(id=task, spec=spec, created_at=0)
        self.store.tasks[task] = Stored(head, order)
        self.post("heads", lambda: self.feed(TaskCreated(head, order)))

    def cancel(self, task: str) -> None:
        """A user's cancel is stored, if the task is not over."""
        if self.store.swap(task, TaskStatus.CANCELLED):
            self.post("heads", lambda: self.feed(TaskEnded(self.store.tasks[task].head)))

    # ── agents ──

    def new_agent(self, node: str, spool: dict[str, Held] | None = None) -> Agent:
        """A run of an agent begins; ``spool`` are outcomes that a former one left."""
        instance = f"{node}/{next(self._numbers)}"
        agent = Agent(node, instance, next_beat=self.now, held=dict(spool or {}))
        self.agents[instance] = agent
        return agent

    def living(self, node: str) -> list[Agent]:
        """The runs of agents that go on under a node's name, the oldest first."""
        return [agent for agent in self.agents.values() if agent.alive and agent.node == node]

    def reaches(self, agent: Agent) -> bool:
        """Whether the bus connects an agent with the leader."""
        return self.bus_is_up and agent.node not in self.cut

    def beat(self, agent: Agent, *, leaving: bool = False) -> None:
        """An agent says what it holds, if anybody hears it."""
        agent.next_beat = self.now + HEARTBEAT_SECONDS
        if agent.alive and self.reaches(agent):
            holds = agent.holds(self.now)
            self.feed(AgentHeard(agent.node, agent.instance, holds, HEARTBEAT_SECONDS, leaving))

    def publish(self, agent: Agent, task: str) -> None:
        """Store the outcome of a held attempt, if the store can be reached and takes it."""
        outcome = agent.held[task].outcome
        if outcome is not None and self.reaches(agent) and not self.store.refuses:
            key = AttemptKey(task, agent.node, agent.held[task].attempt)
            agent.settled(task)
            self.decide(key, replace(outcome, instance=agent.instance))

    def vanish(self, node: str) -> None:
        """A node ceases to exist, and whatever runs on it."""
        self.nodes.discard(node)
        for agent in self.living(node):
            agent.alive = False
        self.feed(NodeVanished(node))

    def appear(self, node: str) -> None:
        """A node exists again."""
        self.nodes.add(node)
        self.new_agent(node)
        self.feed(NodeSeen(node, self.labels[node]))

    # ── time ──

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with whatever happens by itself meanwhile."""
        until = self.now + seconds
        while True:
            moment, happen = self._next()
            if moment > until:
                break
            self.now = max(self.now, moment)
            happen()
        self.now = until

    def _next(self) -> tuple[float, Callable[[], None]]:
        moments: list[tuple[float, Callable[[], None]]] = [
            (agent.next_beat, lambda agent=agent: self.beat(agent))  # type: ignore[misc]
            for agent in self.agents.values()
            if agent.alive
        ]
        moments += [
            (deadline, lambda number=number: self._give_up(number))  # type: ignore[misc]
            for number, (deadline, _) in self.asks.items()
        ]
        if self.wake is not None:
            moments.append((self.wake, self._wake_up))
        return min(moments, key=lambda entry: entry[0], default=(float("inf"), self._wake_up))

    def _give_up(self, number: int) -> None:
        _, work = self.asks.pop(number)
        self.feed(AssignmentUnanswered(work.key, work.instance))

    def _wake_up(self) -> None:
        self.wake = None
        self._woken_at = [*self._woken_at[-WAKES_AT_ONCE:], self.now]
        if self._woken_at == [self.now] * (WAKES_AT_ONCE + 1):
            raise AssertionError("the core asks to be woken at the same moment for ever")
        self.feed(Woken())

    # ── the bus ──

    def bus_falls(self, noticed_after: float) -> None:
        """The bus falls silent; the leader notices a little later."""
        since, self.bus_is_up = self.now, False
        self.pass_time(noticed_after)
        self.feed(BusFellSilent(since))

    def bus_returns(self) -> None:
        """The bus is heard again, and with it what waited for it."""
        self.bus_is_up = True
        self.feed(BusHeard())
