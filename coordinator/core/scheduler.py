"""The core: one door, ``handle(event, now) -> commands``. Nothing here knows a clock or a network.

It owns the priority queue, how many tasks run, which node begins next and how a task ends;
``flights.py`` owns the attempts in flight, ``run.py`` one task's nodes. Unknown, late, doubled and
stale events have no effect.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from common.reasons import Reason
from coordinator.core.commands import (
    Command,
    FinishTask,
    StartTask,
    TellBatch,
    TellNode,
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
    FinishFailed,
    NodeSeen,
    NodeVanished,
    OutcomeStored,
    Settled,
    StartFailed,
    TaskCreated,
    TaskEnded,
    TaskStarted,
    VerdictFailed,
    Woken,
)
from coordinator.core.fleet import Fleet, Node
from coordinator.core.flights import Flights
from coordinator.core.run import OVER, NodePhase, TaskRun
from coordinator.core.selection import describe, select
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.core.timers import (
    CheckSilence,
    DecideAgain,
    LookAround,
    SendAgain,
    Timers,
)

STORE_AGAIN_SECONDS = 2.0
"""After a store that refused a start or a finish."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows. Seconds and counts; ``max_nodes_in_flight`` 0 is no limit."""

    max_concurrent_tasks: int = 3
    max_nodes_in_flight: int = 0
    agent_wait: float = 60.0
    first_look: float = 10.0
    """From the start on, so long nothing is said to match no node: agents announce themselves."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending task in the queue."""

    head: TaskHead
    order: int
    named: tuple[str, ...] | None


def urgency(head: TaskHead, order: int) -> tuple[int, int]:
    """The order in which tasks get what they need: priority first, then first come first served."""
    return -head.spec.priority, order


class Core:
    """What decides."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.fleet = Fleet()
        self.waiting: dict[str, Waiting] = {}
        self.runs: dict[str, TaskRun] = {}
        self._starting: set[str] = set()
        self._orders: dict[str, int] = {}
        self._queue: list[tuple[tuple[int, int], str]] = []
        self._nothing_matched: dict[str, int] = {}
        self._first_look_ends = now + limits.first_look
        self._settling = True
        self._wake: float | None = None
        self._out: list[Command] = []
        self._timers = Timers(self.fleet.clock)
        self._flights = Flights(
            self.runs, self.fleet, self._timers, self._out.append, limits.agent_wait
        )

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event in; ``now`` is in seconds and never falls. Returns what is to be done."""
        self._take_in(event, now)
        if not self._settling:
            self._start_tasks(now)
            for run in self._in_order():
                self._fill(run, now)
                self._finish(run)
        self._ask_to_be_woken()
        out = self._out[:]
        self._out.clear()
        return out

    def _take_in(self, event: Event, now: float) -> None:  # noqa: C901, PLR0912 - the one door
        match event:
            case OutcomeStored():
                self._outcome_stored(event, now)
            case AssignmentAccepted():
                self._flights.accepted(event)
            case AgentHeard():
                self._flights.heard(event, now, settling=self._settling, room=self._has_room)
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
                self._start_failed(event.task, now)
            case FinishFailed():
                self._timers.at(now + STORE_AGAIN_SECONDS, LookAround(event.task))
            case VerdictFailed():
                self._flights.verdict_failed(event, now)
            case NodeSeen():
                self._node_seen(event, now)
            case NodeVanished():
                self._node_vanished(event.name)
            case BusFellSilent():
                self.fleet.clock.stop(event.since)
            case BusHeard():
                self.fleet.clock.go_on(now)
            case Settled():
                self._settling = False

    # ── tasks come and go ──

    def _task_created(self, event: TaskCreated) -> None:
        task = event.head.id
        if task in self.waiting or task in self.runs:
            return
        self.waiting[task] = Waiting(event.head, event.order, event.named)
        heapq.heappush(self._queue, (urgency(event.head, event.order), task))

    def _task_started(self, event: TaskStarted) -> None:
        task = event.head.id
        self._leave_queue(task)
        if task not in self.runs:
            self.runs[task] = TaskRun(event.head, event.nodes)
            self._orders[task] = event.order

    def _task_ended(self, task: str) -> None:
        self._leave_queue(task)
        run = self.runs.pop(task, None)
        self._orders.pop(task, None)
        if run is not None:
            self._flights.cancel_task(run)

    def _leave_queue(self, task: str) -> None:
        self.waiting.pop(task, None)
        self._starting.discard(task)
        self._nothing_matched.pop(task, None)

    def _start_failed(self, task: str, now: float) -> None:
        if task in self._starting:
            self._timers.at(now + STORE_AGAIN_SECONDS, LookAround(task))

    def _start_tasks(self, now: float) -> None:
        put_off = []
        while (
            self._queue and len(self.runs) + len(self._starting) < self.limits.max_concurrent_tasks
        ):
            entry = heapq.heappop(self._queue)
            waiting = self.waiting.get(entry[1])
            if waiting is None or entry[1] in self._starting:
                continue  # cancelled while it waited
            nodes = self._nodes_for(waiting, now)
            if nodes is None:
                put_off.append(entry)
                continue
            self._starting.add(entry[1])
            self._out.append(StartTask(entry[1], tuple(nodes)))
        for entry in put_off:
            heapq.heappush(self._queue, entry)

    def _nodes_for(self, waiting: Waiting, now: float) -> list[str] | None:
        """The task's nodes, or None where it is too early to say that there are none."""
        task, early = waiting.head.id, now < self._first_look_ends
        if early and self._nothing_matched.get(task) == self.fleet.version:
            return None
        nodes = select(waiting.head.spec, self.fleet.schedulable(), waiting.named)
        if nodes or not early:
            return nodes
        self._nothing_matched[task] = self.fleet.version
        self._timers.at(self._first_look_ends, LookAround())
        return None

    # ── nodes begin ──

    def _in_order(self) -> Iterator[TaskRun]:
        runs = self.runs.values()
        return iter(sorted(runs, key=lambda run: urgency(run.head, self._orders[run.head.id])))

    def _has_room(self, run: TaskRun) -> bool:
        limit = self.limits.max_nodes_in_flight
        if limit and sum(other.in_flight for other in self.runs.values()) >= limit:
            return False
        return run.in_flight < run.spec.batch_size

    def _fill(self, run: TaskRun, now: float) -> None:
        while self._has_room(run):
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
        run = self.runs.get(event.key.task)
        if run is None:
            return
        step = run.take_in(
            event.key, event.outcome, seq=event.seq, stored_at=event.stored_at, now=now
        )
        if step is None:
            return
        self._flights.landed(event.key.task, event.key.node)
        self._out.append(TellNode(*event.key, step=step, live=event.live))
        batch = run.by_name[event.key.node].batch
        if batch in run.batch_began and run.is_settled(batch):
            seconds = now - run.batch_began.pop(batch)
            self._out.append(TellBatch(event.key.task, batch, seconds))

    def _finish(self, run: TaskRun) -> None:
        if run.finishing or not run.is_over:
            return
        run.finishing = True
        status = run.verdict()
        command = FinishTask(
            run.head.id, status, run.counts(), run.results_seq, _closing_words(run, status)
        )
        self._out.append(command)

    # ── nodes come and go ──

    def _node_seen(self, event: NodeSeen, now: float) -> None:
        self.fleet.see(event.name, Node(event.labels, event.schedulable))
        self._flights.available(event.name, now)

    def _node_vanished(self, name: str) -> None:
        if not self.fleet.lose(name):
            return
        for run in self.runs.values():
            node = run.by_name.get(name)
            if node is not None and node.phase not in OVER and not node.deciding:
                self._flights.remove(run, node)

    # ── time ──

    def _woken(self, now: float) -> None:
        self._wake = None
        for timer in self._timers.due(now):
            match timer:
                case SendAgain():
                    self._flights.send_again(timer.key, now)
                case CheckSilence():
                    self._flights.check_silence(timer.key, now)
                case DecideAgain():
                    self._flights.decide_again(timer.verdict)
                case LookAround():
                    self._look_again(timer.task)

    def _look_again(self, task: str | None) -> None:
        if task in self.runs:
            self.runs[task].finishing = False
        elif task in self._starting:
            self._starting.discard(task)
            waiting = self.waiting[task]
            heapq.heappush(self._queue, (urgency(waiting.head, waiting.order), task))

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
