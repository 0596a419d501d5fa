"""The core: ``handle(event, now)`` takes one event in and says what is to be done and what is so.

It owns who gets a place next, task or node, and how a task ends; ``queue.py`` owns pending tasks,
``places.py`` who holds a place, ``in_flight.py`` the attempts in flight, ``run.py`` one task's
nodes. Unknown, late, doubled and stale events have no effect. Nothing here knows a clock or a
network.

A core that has not heard ``Settled`` follows: it takes everything in and decides nothing, however
long that lasts; ``Settled`` makes it the leader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from coordinator.core.attempts import Attempt
from coordinator.core.changes import (
    AttemptDecided,
    BatchSettled,
    Change,
    NodeMoved,
    PauseTurned,
    TaskBegan,
    TaskOver,
    TaskQueued,
)
from coordinator.core.commands import Command, WakeAt
from coordinator.core.ending import finish
from coordinator.core.events import (
    AgentHeard,
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    AttemptTold,
    BusFellSilent,
    BusHeard,
    Event,
    FinishFailed,
    NamesLoaded,
    NodeSeen,
    NodesListed,
    NodeVanished,
    OutcomeStored,
    PauseSet,
    Settled,
    StartFailed,
    StoreClosed,
    StoreOpened,
    TaskCreated,
    TaskEnded,
    TaskStarted,
    VerdictFailed,
    Woken,
)
from coordinator.core.fleet import Fleet, FleetView, Node
from coordinator.core.in_flight import InFlight
from coordinator.core.places import Places
from coordinator.core.queue import BEFORE_ALL, STEPS_AN_EVENT, Pending, Queue, rank
from coordinator.core.run import TaskRun
from coordinator.core.timers import (
    DecideAgain,
    Reconsider,
    SendAgain,
    SilenceCheck,
    StartAgain,
    Timers,
)
from coordinator.core.vanished import Vanished, remember

FINISH_AGAIN_SECONDS = 2.0
FIRST_LOOK_SECONDS = 10.0
REMEMBERED_ENDS = 10_000
"""Ended tasks that a late word of their creation or start does not bring back to life."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows. Seconds and counts; ``max_nodes_in_flight`` 0 is no limit."""

    max_concurrent_tasks: int = 3
    max_nodes_in_flight: int = 0
    agent_wait: float = 60.0
    first_look: float = FIRST_LOOK_SECONDS
    """From the start on, so long nothing is said to match no node: agents announce themselves.
    Infinite where the node source can name all nodes: until it has, nothing is selected."""


class Decision(NamedTuple):
    """What one event leads to."""

    commands: list[Command]
    """To be carried out, in this order."""
    changes: list[Change]
    """What has become so, in the order in which it did."""


class Core:
    """The state of all unfinished tasks and of the fleet, and what follows from each event.

    ``runs``, ``waiting``, ``fleet`` and ``in_flight`` are for reading; they change by ``handle``.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self._fleet = Fleet()
        self._runs: dict[str, TaskRun] = {}
        self._commands: list[Command] = []
        self._changes: list[Change] = []
        self._timers = Timers(self._fleet.clock)
        self._queue = Queue(self._fleet, self._timers, now + limits.first_look)
        self.runs: Mapping[str, TaskRun] = MappingProxyType(self._runs)
        """Running tasks."""
        self.waiting: Mapping[str, Pending] = MappingProxyType(self._queue.tasks)
        """Pending tasks."""
        self.fleet: FleetView = self._fleet
        self._in_flight = InFlight(
            self.runs,
            self.waiting,
            self._fleet,
            self._timers,
            self._commands.append,
            agent_wait=limits.agent_wait,
            limit=limits.max_nodes_in_flight,
        )
        self.in_flight: Mapping[tuple[str, str], Attempt] = self._in_flight.by_place
        """Every attempt in flight, by its task and node."""
        self.accepted_by = self._in_flight.accepted_by
        self._places = Places(self.runs, self._timers)
        self._ended: dict[str, None] = {}
        self._vanished = Vanished()
        self._store_is_open = True
        self._wake: float | None = None
        self._handlers = self._make_handlers()

    # ── what is so ──

    @property
    def leads(self) -> bool:
        """Whether this core decides; until ``Settled`` it only follows."""
        return self._in_flight.leads

    @property
    def is_behind(self) -> bool:
        """Whether the leader has said what cannot be so before more of the store is read."""
        return self._in_flight.is_behind

    @property
    def places_taken(self) -> int:
        """Users' tasks that hold a place: they work, have something due, or are being started."""
        starting = len(self._queue.starting) - len(self._queue.repairs_starting)
        return self._places.of_users + starting

    def awaits_place(self, task: str) -> bool:
        """Whether a running task has something to do and no place for it."""
        return self._places.queues(task)

    # ── events ──

    def handle(self, event: Event, now: float) -> Decision:
        """Take one event in.

        ``now`` is in seconds since 1970, about as the store's clock has it, and never falls.
        """
        self._handlers[type(event)](event, now)
        if self._in_flight.leads:
            self._go_on(now)
        if len(set(map(type, self._changes))) < len(self._changes):
            self._tell_moves_once()
        if self._timers.changed:
            when = self._timers.next()
            if when is not None and when != self._wake:
                self._wake = when
                self._commands.append(WakeAt(when))
        decision = Decision(self._commands[:], self._changes[:])
        self._commands.clear()
        self._changes.clear()
        return decision

    def _make_handlers(self) -> Mapping[type, Callable[[Any, float], None]]:
        """Who takes which event in."""
        return {
            TaskCreated: self._task_created,
            NamesLoaded: self._names_loaded,
            StartFailed: self._queue.start_failed,
            TaskStarted: self._task_started,
            PauseSet: self._pause_set,
            AssignmentAccepted: self._in_flight.accepted,
            AssignmentRefused: self._in_flight.refused,
            AssignmentUnanswered: self._in_flight.unanswered,
            AttemptTold: self._in_flight.told,
            AgentHeard: self._in_flight.heard,
            OutcomeStored: self._outcome_stored,
            VerdictFailed: self._in_flight.verdict_failed,
            FinishFailed: self._finish_failed,
            TaskEnded: self._task_ended,
            NodeSeen: self._node_seen,
            NodeVanished: self._node_vanished,
            NodesListed: self._nodes_listed,
            Settled: self._settled,
            StoreOpened: self._store_turned,
            StoreClosed: self._store_turned,
            BusFellSilent: self._bus_fell_silent,
            BusHeard: self._bus_heard,
            Woken: self._woken,
        }

    def _go_on(self, now: float) -> None:
        """Give free places to tasks and nodes, end what is over: the leader's work."""
        moved = [change.task for change in self._changes if isinstance(change, NodeMoved)]
        if moved or self._places.touched or self._places.next_retry <= now:
            self._places.review(now, moved)
        if self._store_is_open:
            queue = self._queue
            if queue.queued or queue.aside or queue.choices or self._places.queue:
                self._give_places(now)
            for _, task in tuple(self._places.holding):
                run = self._runs[task]
                if run.at_rest:
                    self._in_flight.fill(run, now)
        for task in tuple(self._places.over):
            self._finish(self._runs[task], now)

    def _tell_moves_once(self) -> None:
        """Leave a node's later moves out: observers look at where it is by now."""
        changes, moved = self._changes[:], set[NodeMoved]()
        self._changes.clear()
        for change in changes:
            if isinstance(change, NodeMoved):
                if change in moved:
                    continue
                moved.add(change)
            self._changes.append(change)

    def _settled(self, _event: Settled, now: float) -> None:
        if not self._in_flight.leads:
            self._queue.begin_first_look(now, self.limits.first_look)
            self._in_flight.take_over(now)
            self._places.take_over()

    def _bus_fell_silent(self, event: BusFellSilent, now: float) -> None:
        self._fleet.clock.stop(event.since, now)
        self._timers.changed = True

    def _bus_heard(self, _event: BusHeard, now: float) -> None:
        self._fleet.clock.go_on(now)
        self._timers.changed = True

    def _store_turned(self, event: StoreOpened | StoreClosed, _now: float) -> None:
        self._store_is_open = isinstance(event, StoreOpened)

    # ── tasks come and go ──

    def _task_created(self, event: TaskCreated, _now: float) -> None:
        head = event.head
        if head.id in self._runs or head.id in self._ended:
            return
        if self._queue.add(head, event.order, found=event.found):
            self._changes.append(TaskQueued(head, event.found))

    def _names_loaded(self, event: NamesLoaded, now: float) -> None:
        if not self._store_is_open:
            self._queue.start_failed(event, now)
        else:
            self._queue.names_loaded(event.task, event.names)

    def _task_started(self, event: TaskStarted, _now: float) -> None:
        task = event.head.id
        self._queue.remove(task)
        if task not in self._runs and task not in self._ended:
            run = self._runs[task] = TaskRun(event.head, event.nodes, self._changes.append)
            self._places.add(task, rank(event.head, event.order))
            self._changes.append(TaskBegan(event.head))
            if self._vanished.names:
                for name in sorted(self._vanished.missing_of(run)):
                    self._in_flight.remove(run, run.by_name[name])
        self._forget_vanished()

    def _pause_set(self, event: PauseSet, _now: float) -> None:
        if (run := self._runs.get(event.head.id)) is not None:
            run.head = event.head
            self._places.touched[event.head.id] = None
            self._changes.append(PauseTurned(event.head.id))

    def _forget_vanished(self) -> None:
        if self._vanished.names and not self._queue.starting:
            self._vanished.nothing_starts()

    def _task_ended(self, event: TaskEnded, _now: float) -> None:
        task = event.head.id
        self._queue.remove(task)
        self._forget_vanished()
        if (run := self._runs.get(task)) is not None:
            self._places.remove(task)
            self._in_flight.cancel_task(run)
            del self._runs[task]
        if task not in self._ended:
            self._changes.append(TaskOver(event.head))
        remember(self._ended, task, REMEMBERED_ENDS)

    def _give_places(self, now: float) -> None:
        """To tasks that want to start or go on, the most urgent first."""
        queue, most = self._queue, self.limits.max_concurrent_tasks
        queue.steps = STEPS_AN_EVENT
        if queue.choices:
            self._commands += queue.go_on(now)
        while (queue.queued and queue.queued[0][0][0] == BEFORE_ALL) or (
            self.places_taken < most and (queue.queued or queue.aside or self._places.queue)
        ):
            wants = self._places.next_in_queue() if self._places.queue else None
            start = queue.start_next(now, None if wants is None else wants.rank)
            if start is not None:
                self._commands.append(start)
            elif wants is not None and not queue.choices and queue.steps > 0:
                self._places.give(wants.task)
            else:
                break
        if queue.choices or (queue.steps <= 0 and self.places_taken < most):
            self._timers.at(now, Reconsider())

    # ── outcomes, and the end ──

    def _outcome_stored(self, event: OutcomeStored, now: float) -> None:
        task, name, number = event.key
        run = self._runs.get(task)
        node = run.by_name.get(name) if run is not None else None
        if run is None or node is None:
            return
        early = dict(node.early)
        decided = run.take_in(
            event.key, event.outcome, seq=event.seq, stored_at=event.stored_at, now=now
        )
        if not decided:
            return
        self._in_flight.decided(run, node, number, event.outcome.instance, now)
        for attempt, step in decided:
            by = event
            if attempt in early:
                outcome, seq, stored_at = early[attempt]
                key = event.key._replace(attempt=attempt)
                by = replace(event, key=key, outcome=outcome, seq=seq, stored_at=stored_at)
            self._changes.append(AttemptDecided(task, name, attempt, step, by))
        if node.batch in run.batch_began and run.unsettled[node.batch] == 0:
            seconds = now - run.batch_began.pop(node.batch)
            self._changes.append(BatchSettled(task, node.batch, seconds))

    def _finish(self, run: TaskRun, now: float) -> None:
        if run.finishing or now < run.finish_at or not run.is_over:
            return
        run.finishing = True
        self._commands.append(finish(run))

    def _finish_failed(self, event: FinishFailed, now: float) -> None:
        run = self._runs.get(event.task)
        if run is not None and run.finishing:
            run.finishing = False
            run.finish_at = now + FINISH_AGAIN_SECONDS
            self._timers.at(run.finish_at, Reconsider())

    # ── nodes come and go ──

    def _node_seen(self, event: NodeSeen, now: float) -> None:
        node = Node(event.labels, event.schedulable, event.problem)
        if self._fleet.nodes.get(event.name) == node:
            return
        self._fleet.see(event.name, node)
        self._vanished.returned(event.name)
        self._queue.node_appeared(node)
        self._in_flight.returned(event.name, now)

    def _node_vanished(self, event: NodeVanished, _now: float) -> None:
        self._fleet.lose(event.name)
        self._vanished.note(event.name, starting=bool(self._queue.starting))
        self._in_flight.vanished(event.name)

    def _nodes_listed(self, _event: NodesListed, now: float) -> None:
        self._queue.end_first_look(now)
        self._in_flight.listed()

    # ── time ──

    def _woken(self, _event: Woken, now: float) -> None:
        self._wake = None
        self._in_flight.woken()
        for timer in self._timers.due(now):
            match timer:
                case SendAgain():
                    self._in_flight.send_again(timer.key, now)
                case SilenceCheck():
                    self._in_flight.check_silence(timer.key, now)
                case DecideAgain():
                    self._in_flight.decide_again(timer.key, now)
                case StartAgain():
                    self._queue.start_again(timer.task)
                case Reconsider():
                    pass  # every event is followed by a look at what can begin or end
