"""Pending tasks, in the order in which they start: priority first, then first come first served.

A task that matches no node is put aside until one appears, or until the first look is over: agents
announce themselves, so a coordinator that has just started cannot say yet that there is none.
Names of nodes that a task was created with (up to 10,000) are not kept here: they are asked for
when its turn comes, and are let go as soon as the nodes are chosen.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from enum import Enum, auto

from coordinator.core.commands import LoadNames, StartTask
from coordinator.core.fleet import Fleet, Node
from coordinator.core.selection import matches, select
from coordinator.core.task import TaskHead
from coordinator.core.timers import Reconsider, StartAgain, Timers

START_AGAIN_SECONDS = 2.0


class Stage(Enum):
    """How far a pending task is."""

    QUEUED = auto()
    ASIDE = auto()
    """Nothing matches, and the first look is not over."""
    LOADING = auto()
    """Its turn has come, and its names are being read."""
    STARTING = auto()
    """Its start is on its way into the store."""
    REFUSED = auto()
    """The store refused its start, which is tried again soon; it keeps its place."""


@dataclass(slots=True)
class Pending:
    """A task that has not started."""

    head: TaskHead
    order: int
    found: bool = False
    """Whether it was there when the core began."""
    stage: Stage = Stage.QUEUED


Urgency = tuple[int, int]


def urgency(head: TaskHead, order: int) -> Urgency:
    """The order in which tasks get what they need; the smallest is the most urgent."""
    return -head.spec.priority, order


class Queue:
    """The pending tasks, and which of them is to start next."""

    def __init__(self, fleet: Fleet, timers: Timers, first_look_ends: float) -> None:
        self.tasks: dict[str, Pending] = {}
        self.starting: set[str] = set()
        """Tasks that hold one of the places of running ones already."""
        self._fleet = fleet
        self._timers = timers
        self._first_look_ends = first_look_ends
        self._queue: list[tuple[Urgency, str]] = []
        """Those that are queued, sorted; nothing else stays in here, however long nobody starts."""
        self._aside: set[str] = set()

    def add(self, head: TaskHead, order: int, *, found: bool = False) -> bool:
        """A task is created, or was ``found`` when the core began; False where it is known."""
        if head.id in self.tasks:
            return False
        self.tasks[head.id] = Pending(head, order, found)
        self._enqueue(head.id)
        return True

    def remove(self, task: str) -> None:
        """A task has started, or was cancelled before."""
        pending = self.tasks.pop(task, None)
        if pending is not None and pending.stage is Stage.QUEUED:
            entry = (urgency(pending.head, pending.order), task)
            del self._queue[bisect_left(self._queue, entry)]
        self.starting.discard(task)
        self._aside.discard(task)

    def _enqueue(self, task: str) -> None:
        pending = self.tasks[task]
        pending.stage = Stage.QUEUED
        insort(self._queue, (urgency(pending.head, pending.order), task))

    # ── starting ──

    def start_next(self, now: float, before: Urgency | None = None) -> StartTask | LoadNames | None:
        """Let the most urgent task that can start do so; None where none can.

        ``before``: the urgency of a running task that wants the place, and gets it where no
        pending one is more urgent. One that names nodes holds its place while its names are read
        (``names_loaded``).
        """
        if self._aside and now >= self._first_look_ends:
            self._look_again(list(self._aside))
        while self._queue and (before is None or self._queue[0][0] < before):
            _, task = self._queue.pop(0)
            pending = self.tasks[task]
            if pending.head.spec.names_nodes:
                pending.stage = Stage.LOADING
                self.starting.add(task)
                return LoadNames(task)
            start = self._choose_nodes(pending, None, now)
            if start is not None:
                return start
        return None

    def names_loaded(self, task: str, names: tuple[str, ...], now: float) -> StartTask | None:
        """The names of a task are read: it starts, or is put aside and gives its place back."""
        pending = self.tasks.get(task)
        if pending is None or pending.stage is not Stage.LOADING:
            return None
        self.starting.discard(task)
        return self._choose_nodes(pending, names, now)

    def _choose_nodes(
        self, pending: Pending, names: tuple[str, ...] | None, now: float
    ) -> StartTask | None:
        nodes = select(pending.head.spec, self._fleet.nodes, names)
        if now < self._first_look_ends and not self._is_certain(pending, nodes, names):
            self._put_aside(pending)
            return None
        pending.stage = Stage.STARTING
        self.starting.add(pending.head.id)
        most = pending.head.spec.max_nodes
        if most is not None and len(nodes) > most:
            nodes = []  # the task fails, and says so
        return StartTask(pending.head.id, tuple(nodes))

    def _is_certain(
        self, pending: Pending, nodes: list[str], names: tuple[str, ...] | None
    ) -> bool:
        """Whether the first look cannot change what is selected for the better."""
        if names is None:
            # Whoever creates a task sees which nodes are there; one that was found does not know
            # that the coordinator was started anew, and that its agents are on their way back.
            return bool(nodes) and not pending.found and self._first_look_ends < math.inf
        # Whether a named node that has not announced itself matches is not known yet.
        selects = pending.head.spec.node_selector or pending.head.spec.match_expressions
        return not selects or all(name in self._fleet.nodes for name in names)

    def _put_aside(self, pending: Pending) -> None:
        if not self._aside and self._first_look_ends < math.inf:
            self._timers.at(self._first_look_ends, Reconsider())
        pending.stage = Stage.ASIDE
        self._aside.add(pending.head.id)

    def node_appeared(self, node: Node) -> None:
        """Tasks that were put aside may have something to do now."""
        if self._aside and node.schedulable and self._first_look_ends < math.inf:
            self._look_again([task for task in self._aside if self._is_for(self.tasks[task], node)])

    def begin_first_look(self, now: float, seconds: float) -> None:
        """From now on agents are heard; a source that can name all nodes says so by itself."""
        if self._first_look_ends < math.inf and seconds < math.inf:
            self._first_look_ends = now + seconds
            if self._aside:
                self._timers.at(self._first_look_ends, Reconsider())

    def end_first_look(self, now: float) -> None:
        """All nodes are known."""
        self._first_look_ends = min(self._first_look_ends, now)

    @staticmethod
    def _is_for(pending: Pending, node: Node) -> bool:
        spec = pending.head.spec
        return not spec.names_nodes and matches(spec, node.labels)

    def _look_again(self, tasks: list[str]) -> None:
        for task in tasks:
            self._aside.discard(task)
            self._enqueue(task)

    # ── a store that refuses ──

    def start_failed(self, task: str, now: float) -> None:
        """The store refused a start, or the names for it: try again soon."""
        pending = self.tasks.get(task)
        if pending is not None and pending.stage in {Stage.LOADING, Stage.STARTING}:
            pending.stage = Stage.REFUSED
            self._timers.at(now + START_AGAIN_SECONDS, StartAgain(task))

    def start_again(self, task: str) -> None:
        """Queue a task anew whose start was refused."""
        pending = self.tasks.get(task)
        if pending is not None and pending.stage is Stage.REFUSED:
            self.starting.discard(task)
            self._enqueue(task)
