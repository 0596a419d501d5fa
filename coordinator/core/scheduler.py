"""The core: one door, ``handle(event, now) -> commands``. Nothing here knows a clock or a network.

It owns how many tasks run, which node begins next and how a task ends; ``queue.py`` owns pending
tasks, ``flights.py`` the attempts in flight, ``run.py`` one task's nodes. Unknown, late, doubled
and stale events have no effect.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass

from common.reasons import Reason
from coordinator.core.commands import Command, FinishTask, TellBatch, TellNode, WakeAt
from coordinator.core.events import (
    AgentHeard,
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    BusFellSilent,
    BusHeard,
    Event,
    FinishFailed,
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
from coordinator.core.fleet import Fleet, Node
from coordinator.core.flights import Flights
from coordinator.core.node_run import NodePhase
from coordinator.core.queue import Queue, Urgency, urgency
from coordinator.core.run import TaskRun
from coordinator.core.selection import describe
from coordinator.core.task import TaskStatus
from coordinator.core.timers import Judge, LookAround, SendAgain, StartAgain, Timers

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


class Core:
    """What decides."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.fleet = Fleet()
        self.runs: dict[str, TaskRun] = {}
        self._out: list[Command] = []
        self._timers = Timers(self.fleet.clock)
        self._queue = Queue(self.fleet, self._timers, now + limits.first_look)
        self.waiting = self._queue.tasks
        self._flights = Flights(
            self.runs,
            self.waiting,
            self.fleet,
            self._timers,
            self._out.append,
            agent_wait=limits.agent_wait,
            limit=limits.max_nodes_in_flight,
        )
        self._ranked: list[tuple[Urgency, str]] = []
        self._ended: dict[str, None] = {}
        self._vanished_meanwhile: set[str] = set()
        """Nodes that ceased to exist while a start that may name them was being stored."""
        self._settling = True
        self._store_is_open = True
        self._wake: float | None = None

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event in; returns what is to be done, in this order.

        ``now`` is in seconds since 1970, about as the store's clock has it, and never falls.
        """
        self._take_in(event, now)
        if not self._settling:
            self._go_on(now)
        self._ask_to_be_woken()
        out = self._out[:]
        self._out.clear()
        return out

    def _take_in(self, event: Event, now: float) -> None:  # noqa: C901, PLR0912 - the one door
        match event:
            case OutcomeStored():
                self._outcome_stored(event, now)
            case AssignmentAccepted():
                self._flights.accepted(event, now)
            case AgentHeard():
                self._flights.heard(event, now, settling=self._settling)
            case AssignmentRefused():
                self._flights.refused(event, now)
            case AssignmentUnanswered():
                self._flights.unanswered(event, now)
            case Woken():
                self._woken(now)
            case TaskCreated():
                self._task_created(event)
            case TaskStarted():
                self._task_started(event)
            case TaskEnded():
                self._task_ended(event.head.id)
            case StartFailed():
                self._queue.start_failed(event.task, now)
            case FinishFailed():
                self._finish_failed(event.task, now)
            case VerdictFailed():
                self._flights.verdict_failed(event, now)
            case NodeSeen():
                self._node_seen(event, now)
            case NodeVanished():
                self._node_vanished(event.name)
            case NodesListed():
                self._nodes_listed(now)
            case BusFellSilent():
                self.fleet.clock.stop(event.since, now)
            case BusHeard():
                self.fleet.clock.go_on(now)
            case Settled() if self._settling:
                self._settling = False
                self._queue.begin_first_look(now, self.limits.first_look)
            case StoreClosed():
                self._store_is_open = False
            case StoreOpened():
                self._store_is_open = True

    def _go_on(self, now: float) -> None:
        if self._store_is_open:
            self._start_tasks(now)
        for _, task in self._ranked:
            run = self.runs[task]
            if self._store_is_open:
                self._fill(run, now)
            self._finish(run, now)

    # ── tasks come and go ──

    def _task_created(self, event: TaskCreated) -> None:
        if event.head.id not in self.runs and event.head.id not in self._ended:
            self._queue.add(event.head, event.order, event.named, found=event.found)

    def _task_started(self, event: TaskStarted) -> None:
        task = event.head.id
        if task not in self.runs and task not in self._ended:
            run = self.runs[task] = TaskRun(event.head, event.nodes)
            insort(self._ranked, (urgency(event.head, event.order), task))
            for name in sorted(self._vanished_meanwhile & run.by_name.keys()):
                self._flights.remove(run, run.by_name[name])
        self._leave_queue(task)

    def _task_ended(self, task: str) -> None:
        self._leave_queue(task)
        run = self.runs.pop(task, None)
        if run is not None:
            self._ranked = [entry for entry in self._ranked if entry[1] != task]
            self._flights.cancel_task(run)
        self._ended[task] = None
        if len(self._ended) > REMEMBERED_ENDS:
            del self._ended[next(iter(self._ended))]

    def _leave_queue(self, task: str) -> None:
        self._queue.remove(task)
        if not self._queue.starting:
            self._vanished_meanwhile.clear()

    def _start_tasks(self, now: float) -> None:
        while len(self.runs) + len(self._queue.starting) < self.limits.max_concurrent_tasks:
            start = self._queue.start_next(now)
            if start is None:
                return
            self._out.append(start)

    # ── nodes begin ──

    def _fill(self, run: TaskRun, now: float) -> None:
        while self._flights.has_room(run):
            node = run.candidate(now)
            if node is None:
                break
            self._flights.begin(run, node, now)
        due = run.next_retry()
        if due is not None and due > now and due != run.woken_for:
            run.woken_for = due
            self._timers.at(due, LookAround())

    # ── outcomes, and the end ──

    def _outcome_stored(self, event: OutcomeStored, now: float) -> None:
        task, name, attempt = event.key
        run = self.runs.get(task)
        if run is None:
            return
        changes = run.take_in(
            event.key, event.outcome, seq=event.seq, stored_at=event.stored_at, now=now
        )
        if not changes:
            return
        node = run.by_name[name]
        self._flights.landed(run, node, attempt, event.outcome.instance)
        for change in changes:
            self._out.append(TellNode(task, name, change.attempt, change.step, event.live))
        if node.batch in run.batch_began and run.is_settled(node.batch):
            seconds = now - run.batch_began.pop(node.batch)
            self._out.append(TellBatch(task, node.batch, seconds))

    def _finish(self, run: TaskRun, now: float) -> None:
        if run.finishing or now < run.finish_at or not run.is_over:
            return
        run.finishing = True
        status = run.verdict()
        words = _closing_words(run, status)
        self._out.append(FinishTask(run.head.id, status, run.counts(), run.results_seq, words))

    def _finish_failed(self, task: str, now: float) -> None:
        run = self.runs.get(task)
        if run is not None and run.finishing:
            run.finishing = False
            run.finish_at = now + FINISH_AGAIN_SECONDS
            self._timers.at(run.finish_at, LookAround())

    # ── nodes come and go ──

    def _node_seen(self, event: NodeSeen, now: float) -> None:
        node = Node(event.labels, event.schedulable, event.problem)
        if self.fleet.nodes.get(event.name) == node:
            return
        self.fleet.see(event.name, node)
        self._vanished_meanwhile.discard(event.name)
        for run in self.runs.values():
            if event.name in run.by_name:
                run.by_name[event.name].gone = False
        self._queue.node_appeared(node)
        self._flights.available(event.name, now)

    def _node_vanished(self, name: str) -> None:
        self.fleet.lose(name)
        if self._queue.starting:
            self._vanished_meanwhile.add(name)
        for run in self.runs.values():
            if name in run.by_name:
                self._flights.remove(run, run.by_name[name])

    def _nodes_listed(self, now: float) -> None:
        self._queue.end_first_look(now)
        for run in self.runs.values():
            if run.spec.names_nodes:
                continue  # a name that no node has stays, and fails by that name
            for node in run.nodes:
                if node.name not in self.fleet.nodes:
                    self._flights.remove(run, node)

    # ── time ──

    def _woken(self, now: float) -> None:
        self._wake = None
        for timer in self._timers.due(now):
            match timer:
                case SendAgain():
                    self._flights.send_again(timer.key, now)
                case Judge():
                    self._flights.judge(timer.key, now)
                case StartAgain():
                    self._queue.start_again(timer.task)
                case LookAround():
                    pass  # being at the door is enough

    def _ask_to_be_woken(self) -> None:
        when = self._timers.next()
        if when is not None and when != self._wake:
            self._wake = when
            self._out.append(WakeAt(when))


def _closing_words(run: TaskRun, status: TaskStatus) -> str | None:
    """Why a task ended as it did, in one sentence; None where there is nothing to say."""
    if not run.nodes:
        selection = describe(run.spec)
        return f"No node matches {selection}." if selection else "There is no node."
    if run.total == 0:
        return "Every node of the task ceased to exist before it was done."
    failed = run.in_phase[NodePhase.FAILED]
    if not failed:
        return None
    allowed = run.allowed_failures()
    words = f"{failed} of {run.total} nodes failed; at most {allowed} may."
    if status is TaskStatus.COMPLETED:
        return words
    return f"{words} Most often: {_commonest_reason(run)}."


def _commonest_reason(run: TaskRun) -> Reason:
    reasons: Counter[Reason] = Counter()
    for node in run.nodes:
        if node.phase is NodePhase.FAILED:
            reasons.update({image.reason or Reason.UNKNOWN for image in node.failed_images()})
            if node.reason is not None:
                reasons[node.reason] += 1
    return reasons.most_common(1)[0][0]
