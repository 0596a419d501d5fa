"""What one core was told, in the laws' own words."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import inf

from common.messages import Outcome
from common.subjects import AttemptKey
from coordinator.core.events import (
    AgentHeard,
    AssignmentUnanswered,
    BusFellSilent,
    BusHeard,
    Event,
    NodeSeen,
    NodeVanished,
    OutcomeStored,
    Settled,
    StoreClosed,
    StoreOpened,
    TaskCreated,
    TaskEnded,
    TaskStarted,
    VerdictFailed,
)
from coordinator.core.run import retry_delay
from coordinator.core.task import TaskHead
from tests.core.model_agents import HEARTBEAT_SECONDS
from tests.core.reference import Standing, standing

RESTART_GRACE = 1.0
CONNECTED_SECONDS = 3 * HEARTBEAT_SECONDS


@dataclass
class Sight:
    """When an instance was first and last heard, in audible time."""

    first: float
    last: float
    at: float
    """The last time by the engine's clock, so that nobody passes for present who is not."""


@dataclass
class Hearsay:
    """What one core was told, in the laws' own words."""

    first_look: float
    look_ends: float = inf
    """When the first look is over."""
    found: set[str] = field(default_factory=set)
    """Tasks that were pending when the core began."""
    pending: dict[str, tuple[TaskHead, int]] = field(default_factory=dict)
    running: dict[str, tuple[TaskHead, int]] = field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    starting: set[str] = field(default_factory=set)
    outcomes: defaultdict[tuple[str, str], dict[int, Outcome]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    due: dict[AttemptKey, float] = field(default_factory=dict)
    """When an attempt may begin at the earliest."""
    highest: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """The highest sequence of a task's outcomes that count."""
    told: set[AttemptKey] = field(default_factory=set)
    verdicts: set[AttemptKey] = field(default_factory=set)
    """Verdicts on their way into the store."""
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    vanished: set[str] = field(default_factory=set)
    """Nodes that ceased to exist and are not back."""
    sights: defaultdict[str, dict[str, Sight]] = field(default_factory=lambda: defaultdict(dict))
    ever_heard: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    excused: set[tuple[str, str, int | None]] = field(default_factory=set)
    """Work (instance, task, attempt) that the core has ordered to stop."""
    flying: dict[tuple[str, str], float] = field(default_factory=dict)
    """Nodes that hold a place, and since when in audible time."""
    shown: dict[AttemptKey, float] = field(default_factory=dict)
    """When the only agent of a node last listed an attempt, in audible time."""
    deaf_since: float | None = None
    deaf_total: float = 0.0
    settling: bool = True
    settled_at: float = 0.0
    """In audible time."""
    store_is_open: bool = True

    def audible(self, now: float) -> float:
        """Seconds during which the leader could hear somebody."""
        return (now if self.deaf_since is None else self.deaf_since) - self.deaf_total

    def standing(self, task: str, node: str) -> Standing:
        """A node by the outcomes that were read."""
        head, _ = self.running[task]
        return standing(head.spec, self.outcomes[task, node])

    def conflict(self, node: str, now: float) -> bool:
        """Whether two instances have spoken in turns, and neither is silent by now."""
        heard = [s for s in self.sights[node].values() if now <= s.at + CONNECTED_SECONDS]
        return any(
            a is not b and a.last > b.first + RESTART_GRACE and b.last > a.first + RESTART_GRACE
            for a in heard
            for b in heard
        )

    def selected(self, head: TaskHead) -> list[str]:
        """The nodes that a task is for by now, sorted."""
        wanted = head.spec.node_selector.items()
        return sorted(name for name, labels in self.nodes.items() if wanted <= labels.items())

    def startable(self, now: float) -> list[str]:
        """Pending tasks that need not wait for the end of the first look."""
        return [
            task
            for task, (head, _) in self.pending.items()
            if now >= self.look_ends or (self.selected(head) and task not in self.found)
        ]

    # ── events ──

    def take_in(self, event: Event, now: float) -> None:
        """One event that the core is told."""
        match event:
            case TaskCreated(head, order, found):
                if head.id not in self.running and head.id not in self.over:
                    if found and head.id not in self.pending:
                        self.found.add(head.id)
                    self.pending[head.id] = (head, order)
            case TaskStarted(head, order, nodes):
                self._leaves_queue(head.id)
                if head.id not in self.over:
                    self.running[head.id] = (head, order)
                    self.members[head.id] = nodes
            case TaskEnded(head):
                self._leaves_queue(head.id)
                self.running.pop(head.id, None)
                self.over.add(head.id)
            case OutcomeStored():
                self._take_outcome(event, now)
            case VerdictFailed(key):
                self.verdicts.discard(key)
            case _:
                self._take_in_fleet(event, now)
                self._take_in_circumstance(event, now)

    def _take_in_fleet(self, event: Event, now: float) -> None:
        match event:
            case AgentHeard():
                self._hear(event, now)
            case AssignmentUnanswered(key, instance, True):
                self.sights[key.node].pop(instance, None)
            case NodeSeen(name, labels):
                self.nodes[name] = dict(labels)
                self.vanished.discard(name)
            case NodeVanished(name):
                self.nodes.pop(name, None)
                self.vanished.add(name)
                self.sights.pop(name, None)
            case _:
                pass

    def _take_in_circumstance(self, event: Event, now: float) -> None:
        match event:
            case BusFellSilent(since):
                self.deaf_since = since
            case BusHeard() if self.deaf_since is not None:
                self.deaf_total += now - self.deaf_since
                self.deaf_since = None
            case Settled():
                self.settling = False
                self.settled_at = self.audible(now)
                self.look_ends = now + self.first_look
            case StoreClosed():
                self.store_is_open = False
            case StoreOpened():
                self.store_is_open = True
            case _:
                pass

    def _leaves_queue(self, task: str) -> None:
        self.pending.pop(task, None)
        self.starting.discard(task)

    def _take_outcome(self, event: OutcomeStored, now: float) -> None:
        task, node, attempt = event.key
        self.verdicts.discard(event.key)
        if task not in self.running or attempt in self.outcomes[task, node]:
            return
        before = self.standing(task, node)
        self.outcomes[task, node][attempt] = event.outcome
        after = self.standing(task, node)
        if after.attempts > before.attempts:
            self.highest[task] = max(self.highest[task], event.seq)
            delay = retry_delay(self.running[task][0].spec, attempt)
            self.due[AttemptKey(task, node, attempt + 1)] = min(event.stored_at, now) + delay

    def _hear(self, event: AgentHeard, now: float) -> None:
        sights = self.sights[event.node]
        if event.instance in self.left:
            return
        if event.leaving:
            self.left.add(event.instance)
            sights.pop(event.instance, None)
            return
        self.ever_heard.add(event.instance)
        sight = sights.get(event.instance)
        time = self.audible(now)
        if sight is None or now > sight.at + CONNECTED_SECONDS:
            sight = sights[event.instance] = Sight(time, time, now)
        sight.last, sight.at = time, now
        if len(sights) == 1:
            for hold in event.holds:
                key = AttemptKey(hold.task, event.node, hold.attempt)
                self.shown[key] = time
