"""The core: ``handle(event, now)`` takes one event in and says what is to be done and what is so.

It owns who gets a place next, task or node, and how a task ends; ``queue.py`` owns pending tasks,
``places.py`` who holds a place, ``in_flight.py`` the attempts in flight, ``run.py`` one task's
nodes. Unknown, late, doubled
and stale events have no effect. Nothing here knows a clock or a network.

A core that has not heard ``Settled`` follows: it takes everything in and decides nothing, however
long that lasts; ``Settled`` makes it the leader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from coordinator.core.changes import (
    AttemptDecided,
    BatchSettled,
    Change,
    NodeMoved,
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
    BusFellSilent,
    BusHeard,
    Event,
    FinishFailed,
    NamesLoaded,
    NodeSeen,
    NodesListed,
    NodeVanished,
    OutcomeStored,
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
from coordinator.core.queue import Pending, Queue, urgency
from coordinator.core.run import Ending, TaskRun
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

    Infinite where the node source can name all nodes: until it has, nothing is selected.
    """


class Decision(NamedTuple):
    """What one event leads to."""

    commands: list[Command]
    """To be carried out, in this order."""
    changes: list[Change]
    """What has become so, in the order in which it did."""


class Core:
    """The state of all unfinished tasks and of the fleet, and what follows from each event.

    ``runs``, ``waiting`` and ``fleet`` are for reading; they change by ``handle`` alone.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self._fleet = Fleet()
        self._runs: dict[str, TaskRun] = {}
        self._commands: list[Command] = []
        self._changes: list[Change] = []
        self._moved: set[tuple[str, str]] = set()
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
        self._places = Places(self.runs, self._timers)
        self._ended: dict[str, None] = {}
        self._vanished = Vanished()
        self._store_is_open = True
        self._wake: float | None = None

    # ── what is so ──

    @property
    def leads(self) -> bool:
        """Whether this core decides; until ``Settled`` it only follows."""
        return self._in_flight.leads

    @property
    def in_flight(self) -> int:
        """Attempts in flight, over all tasks."""
        return len(self._in_flight)

    def accepted_by(self, task: str, node: str) -> str | None:
        """The agent instance that has accepted the attempt in flight on a node, if any."""
        return self._in_flight.accepted_by(task, node)

    @property
    def places_taken(self) -> int:
        """Tasks that hold a place: they work or have something due, or their start is stored."""
        return len(self._places) + len(self._queue.starting)

    def awaits_place(self, task: str) -> bool:
        """Whether a running task has something to do and no place for it."""
        return self._places.queues(task)

    def ending(self, task: str) -> Ending | None:
        """What counts of a task that is cancelled at this moment; None where it never began."""
        run = self._runs.get(task)
        return None if run is None else run.ending()

    # ── events ──

    def handle(self, event: Event, now: float) -> Decision:
        """Take one event in.

        ``now`` is in seconds since 1970, about as the store's clock has it, and never falls.
        """
        self._take_in(event, now)
        if self.leads:
            self._go_on(now)
        self._ask_to_be_woken()
        decision = Decision(self._commands[:], self._changes[:])
        self._commands.clear()
        self._changes.clear()
        self._moved.clear()
        return decision

    def _take_in(self, event: Event, now: float) -> None:  # noqa: C901, PLR0912 - one case an event
        match event:
            case OutcomeStored():
                self._outcome_stored(event, now)
            case AssignmentAccepted():
                self._in_flight.accepted(event, now)
            case AgentHeard():
                self._in_flight.heard(event, now)
            case AssignmentRefused():
                self._in_flight.refused(event, now)
            case AssignmentUnanswered():
                self._in_flight.unanswered(event, now)
            case Woken():
                self._woken(now)
            case TaskCreated():
                self._task_created(event)
            case TaskStarted():
                self._task_started(event)
            case TaskEnded():
                self._task_ended(event)
            case NamesLoaded():
                self._names_loaded(event, now)
            case StartFailed():
                self._queue.start_failed(event.task, now)
            case FinishFailed():
                self._finish_failed(event.task, now)
            case VerdictFailed():
                self._in_flight.verdict_failed(event, now)
            case NodeSeen():
                self._node_seen(event, now)
            case NodeVanished():
                self._node_vanished(event.name)
            case NodesListed():
                self._nodes_listed(now)
            case BusFellSilent():
                self._fleet.clock.stop(event.since, now)
            case BusHeard():
                self._fleet.clock.go_on(now)
            case Settled() if not self.leads:
                self._queue.begin_first_look(now, self.limits.first_look)
                self._in_flight.take_over(now)
                self._places.take_over()
            case StoreClosed():
                self._store_is_open = False
            case StoreOpened():
                self._store_is_open = True

    def _go_on(self, now: float) -> None:
        """Give free places to tasks and nodes, end what is over: the leader's work."""
        self._places.review(now)
        if self._store_is_open:
            self._give_places(now)
            for run in self._places.holding():
                self._fill(run, now)
        for run in self._places.over():
            self._finish(run, now)

    # ── tasks come and go ──

    def _task_created(self, event: TaskCreated) -> None:
        head = event.head
        if head.id in self._runs or head.id in self._ended:
            return
        if self._queue.add(head, event.order, found=event.found):
            self._changes.append(TaskQueued(head, event.found))

    def _names_loaded(self, event: NamesLoaded, now: float) -> None:
        if not self._store_is_open:
            self._queue.start_failed(event.task, now)
        else:
            self._queue.names_loaded(event.task, event.names)

    def _task_started(self, event: TaskStarted) -> None:
        task = event.head.id
        if task not in self._runs and task not in self._ended:
            run = self._runs[task] = TaskRun(event.head, event.nodes, self._note_move)
            self._places.add(task, urgency(event.head, event.order))
            self._changes.append(TaskBegan(event.head))
            for name in sorted(self._vanished.missing_of(run)):
                self._in_flight.remove(run, run.by_name[name])
        self._leave_queue(task)

    def _task_ended(self, event: TaskEnded) -> None:
        task = event.head.id
        self._leave_queue(task)
        if (run := self._runs.get(task)) is not None:
            self._places.remove(task)
            self._in_flight.cancel_task(run)
            del self._runs[task]
        if task not in self._ended:
            self._changes.append(TaskOver(event.head))
        remember(self._ended, task, REMEMBERED_ENDS)

    def _leave_queue(self, task: str) -> None:
        self._queue.remove(task)
        if not self._queue.starting:
            self._vanished.nothing_starts()

    def _give_places(self, now: float) -> None:
        """To tasks that want to start and to those that want to go on, the most urgent first."""
        self._queue.begin()
        self._commands += self._queue.go_on(now)
        while self.places_taken < self.limits.max_concurrent_tasks and not self._queue.is_busy:
            wants = self._places.next_in_queue()
            start = self._queue.start_next(now, None if wants is None else wants.rank)
            if start is not None:
                self._commands.append(start)
            elif self._queue.is_busy:
                return
            elif wants is not None:
                self._places.give(wants.task)
            else:
                return

    # ── nodes begin ──

    def _note_move(self, task: str, node: str) -> None:
        self._places.touch(task)
        if (task, node) not in self._moved:
            self._moved.add((task, node))
            self._changes.append(NodeMoved(task, node))

    def _fill(self, run: TaskRun, now: float) -> None:
        while self._in_flight.has_room(run):
            node = run.candidate(now)
            if node is None:
                break
            self._in_flight.begin(run, node, now)
        due = run.next_retry()
        if due is not None and due > now and due != run.woken_for:
            run.woken_for = due
            self._timers.at(due, Reconsider())

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
        self._in_flight.decided(run, node, number, event.outcome.instance)
        for attempt, step in decided:
            by = event
            if attempt in early:
                outcome, seq, stored_at = early[attempt]
                key = event.key._replace(attempt=attempt)
                by = replace(event, key=key, outcome=outcome, seq=seq, stored_at=stored_at)
            self._changes.append(AttemptDecided(task, name, attempt, step, by))
        if node.batch in run.batch_began and run.is_settled(node.batch):
            seconds = now - run.batch_began.pop(node.batch)
            self._changes.append(BatchSettled(task, node.batch, seconds))

    def _finish(self, run: TaskRun, now: float) -> None:
        if run.finishing or now < run.finish_at or not run.is_over:
            return
        run.finishing = True
        self._commands.append(finish(run))

    def _finish_failed(self, task: str, now: float) -> None:
        run = self._runs.get(task)
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

    def _node_vanished(self, name: str) -> None:
        self._fleet.lose(name)
        self._vanished.note(name, starting=bool(self._queue.starting))
        self._in_flight.vanished(name)

    def _nodes_listed(self, now: float) -> None:
        self._queue.end_first_look(now)
        for run in self._runs.values():
            if run.spec.names_nodes:
                continue  # a name that no node has stays, and fails by that name
            for node in run.nodes:
                if node.name not in self._fleet.nodes:
                    self._in_flight.remove(run, node)

    # ── time ──

    def _woken(self, now: float) -> None:
        self._wake = None
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

    def _ask_to_be_woken(self) -> None:
        when = self._timers.next()
        if when is not None and when != self._wake:
            self._wake = when
            self._commands.append(WakeAt(when))
