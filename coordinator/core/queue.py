"""Pending tasks, in the order in which they start: priority first, then first come first served.

A task that matches no node is put aside until one appears, or until the first look is over: agents
announce themselves, so a coordinator that has just started cannot say yet that there is none.
Names of nodes that a task was created with (up to 10,000) are not kept here: they are asked for
when its turn comes, and are let go as soon as the nodes are chosen.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import Final

from coordinator.core.commands import LoadNames, StartTask
from coordinator.core.events import NamesLoaded, StartFailed
from coordinator.core.fleet import Fleet, Node
from coordinator.core.packed import FEW, keep, unpack
from coordinator.core.selection import LabelQuery, Selection, demands
from coordinator.core.task import TaskHead
from coordinator.core.timers import Reconsider, StartAgain, Timers

START_AGAIN_SECONDS = 2.0
STEPS_AN_EVENT = 2_000
"""Looks at nodes that follow from one event: some milliseconds. The rest follows from the next."""
ASIDE_LOOKED_AT = 100
"""Tasks put aside that are looked at when a node appears; the others wait for the first look."""
DEMANDS_OF_ASIDE = 100
"""A task that demands more waits for the first look as well."""


class Stage(Enum):
    """How far a pending task is."""

    QUEUED = auto()
    ASIDE = auto()
    """Nothing matches, and the first look is not over."""
    LOADING = auto()
    """Its turn has come, and its names are being read."""
    CHOOSING = auto()
    """Its turn has come, and its nodes are being looked at."""
    STARTING = auto()
    """Its start is on its way into the store."""
    REFUSED = auto()
    """The store refused its start, which is tried again soon; it keeps its place."""


class Pending:
    """A task that has not started. Its head is kept packed where it is large."""

    __slots__ = (
        "_head",
        "created_at",
        "demands",
        "found",
        "is_repair",
        "names_nodes",
        "order",
        "stage",
        "urgency",
    )

    def __init__(self, head: TaskHead, order: int, *, found: bool = False) -> None:
        """``found``: whether it was there when the core began."""
        demanded = head.spec.node_selector or head.spec.match_expressions
        is_small = len(head.spec.images) <= FEW and not demanded
        self._head = head if is_small else keep(head)
        self.order = order
        self.found = found
        self.stage = Stage.QUEUED
        self.created_at = head.created_at
        self.urgency = urgency(head, order)
        self.names_nodes = head.spec.names_nodes
        self.is_repair = head.set is not None
        self.demands = demands(head.spec) if demanded else 0

    @property
    def head(self) -> TaskHead:
        """All of it."""
        return unpack(self._head) if isinstance(self._head, bytes) else self._head


@dataclass(slots=True)
class _Choice:
    """A task whose nodes are being looked at."""

    task: str
    selection: Selection
    names: tuple[str, ...] | None


Urgency = tuple[int, int]
BEFORE_ALL: Final = -1000
"""The urgency of a repair of a set, which waits for none of the places of others."""


def rank(head: TaskHead, order: int) -> Urgency:
    """The order in which running tasks get what they need; the smallest is the most urgent."""
    return -head.spec.priority, order


def urgency(head: TaskHead, order: int) -> Urgency:
    """The order in which tasks start; the smallest is the most urgent."""
    return (-head.spec.priority if head.set is None else BEFORE_ALL), order


class Queue:
    """The pending tasks, and which of them is to start next."""

    def __init__(self, fleet: Fleet, timers: Timers, first_look_ends: float) -> None:
        self.tasks: dict[str, Pending] = {}
        self.starting: set[str] = set()
        """Tasks that hold one of the places of running ones already."""
        self.repairs_starting: set[str] = set()
        """Those among them that need none."""
        self._fleet = fleet
        self._timers = timers
        self._first_look_ends = first_look_ends
        self.queued: list[tuple[Urgency, str]] = []
        """Those that are queued, sorted; nothing else stays in here, however long nobody starts."""
        self.aside: dict[str, None] = {}
        """Tasks that match nothing as yet."""
        self.choices: deque[_Choice] = deque()
        """Tasks whose nodes are being looked at."""
        self.steps = 0
        """Looks at nodes that are left for this event."""

    @property
    def is_busy(self) -> bool:
        """Whether nothing more can be chosen now; what is left is gone on with at once."""
        return bool(self.choices) or self.steps <= 0

    def add(self, head: TaskHead, order: int, *, found: bool = False) -> bool:
        """A task is created, or was ``found`` when the core began; False where it is known."""
        if head.id in self.tasks:
            return False
        self.tasks[head.id] = Pending(head, order, found=found)
        self._enqueue(head.id)
        return True

    def remove(self, task: str) -> None:
        """A task has started, or was cancelled before."""
        pending = self.tasks.pop(task, None)
        if pending is not None and pending.stage is Stage.QUEUED:
            del self.queued[bisect_left(self.queued, (pending.urgency, task))]
        if pending is not None and pending.stage is Stage.CHOOSING:
            self.choices = deque(choice for choice in self.choices if choice.task != task)
        self.starting.discard(task)
        self.repairs_starting.discard(task)
        self.aside.pop(task, None)

    def _enqueue(self, task: str) -> None:
        pending = self.tasks[task]
        pending.stage = Stage.QUEUED
        insort(self.queued, (pending.urgency, task))

    # ── starting ──

    def start_next(self, now: float, before: Urgency | None = None) -> StartTask | LoadNames | None:
        """Let the most urgent task that can start do so; None where none can.

        ``before``: the urgency of a running task that wants the place, and gets it where no
        pending one is more urgent. One that names nodes holds its place while its names are read
        (``names_loaded``).
        """
        if self.aside and now >= self._first_look_ends:
            self._look_again(list(self.aside))
        while self.queued and not self.is_busy and (before is None or self.queued[0][0] < before):
            _, task = self.queued.pop(0)
            pending = self.tasks[task]
            if pending.names_nodes:
                pending.stage = Stage.LOADING
                self.starting.add(task)
                if pending.is_repair:
                    self.repairs_starting.add(task)
                return LoadNames(task)
            if now < self._first_look_ends and not self._may_be_certain(pending):
                self._put_aside(pending)
                self.steps -= 1
                continue
            self._choose(task, None)
            for start in self.go_on(now):
                return start
        return None

    def names_loaded(self, task: str, names: tuple[str, ...]) -> None:
        """The names of a task are read: its nodes are chosen among them."""
        pending = self.tasks.get(task)
        if pending is not None and pending.stage is Stage.LOADING:
            self._choose(task, names)

    def _choose(self, task: str, names: tuple[str, ...] | None) -> None:
        """Begin to look at nodes; the task holds its place meanwhile."""
        pending = self.tasks[task]
        pending.stage = Stage.CHOOSING
        self.starting.add(task)
        selection = Selection(pending.head.spec, self._fleet.nodes, names, self.steps)
        self.steps = selection.steps
        self.choices.append(_Choice(task, selection, names))

    def go_on(self, now: float) -> Iterator[StartTask]:
        """Look at more nodes; the tasks whose nodes are chosen by that."""
        while self.choices:
            choice = self.choices[0]
            if choice.selection.left and self.steps > 0:
                self.steps = choice.selection.go_on(self.steps)
            if choice.selection.left:
                return
            self.choices.popleft()
            if start := self._chosen(choice, now):
                yield start

    def _chosen(self, choice: _Choice, now: float) -> StartTask | None:
        """A task starts, or is put aside and gives its place back."""
        pending, nodes = self.tasks[choice.task], choice.selection.found
        if now < self._first_look_ends and not self._is_certain(pending, nodes, choice.names):
            self.starting.discard(choice.task)
            self._put_aside(pending)
            return None
        pending.stage = Stage.STARTING
        most = pending.head.spec.max_nodes
        if most is not None and len(nodes) > most:
            nodes = []  # the task fails, and says so
        return StartTask(choice.task, tuple(nodes))

    def _may_be_certain(self, pending: Pending) -> bool:
        """Whether nodes that match now are enough for a task that names none.

        Whoever creates a task sees which nodes are there; one that was found does not know that the
        coordinator was started anew, and that its agents are on their way back.
        """
        return not pending.found and self._first_look_ends < math.inf

    def _is_certain(
        self, pending: Pending, nodes: list[str], names: tuple[str, ...] | None
    ) -> bool:
        """Whether the first look cannot change what is selected for the better."""
        if names is None:
            return bool(nodes) and self._may_be_certain(pending)
        # Whether a named node that has not announced itself matches is not known yet.
        return not pending.demands or all(name in self._fleet.nodes for name in names)

    def _put_aside(self, pending: Pending) -> None:
        if not self.aside and self._first_look_ends < math.inf:
            self._timers.at(self._first_look_ends, Reconsider())
        pending.stage = Stage.ASIDE
        self.aside[pending.head.id] = None

    def node_appeared(self, node: Node) -> None:
        """Tasks that were put aside may have something to do now."""
        if self.aside and node.schedulable and self._first_look_ends < math.inf:
            looked_at = list(islice(self.aside, ASIDE_LOOKED_AT))
            self._look_again([task for task in looked_at if self._is_for(self.tasks[task], node)])

    def begin_first_look(self, now: float, seconds: float) -> None:
        """From now on agents are heard; a source that can name all nodes says so by itself."""
        if self._first_look_ends < math.inf and seconds < math.inf:
            self._first_look_ends = now + seconds
            if self.aside:
                self._timers.at(self._first_look_ends, Reconsider())

    def end_first_look(self, now: float) -> None:
        """All nodes are known."""
        self._first_look_ends = min(self._first_look_ends, now)

    def _is_for(self, pending: Pending, node: Node) -> bool:
        if pending.names_nodes or pending.demands > DEMANDS_OF_ASIDE:
            return False
        return self._may_be_certain(pending) and LabelQuery(pending.head.spec).matches(node.labels)

    def _look_again(self, tasks: list[str]) -> None:
        for task in tasks:
            self.aside.pop(task, None)
            self.tasks[task].stage = Stage.QUEUED
        self.queued += [(self.tasks[task].urgency, task) for task in tasks]
        self.queued.sort()

    # ── a store that refuses ──

    def start_failed(self, event: StartFailed | NamesLoaded, now: float) -> None:
        """The store refused a start, or takes none by now: try again soon."""
        pending = self.tasks.get(event.task)
        if pending is not None and pending.stage in {Stage.LOADING, Stage.STARTING}:
            pending.stage = Stage.REFUSED
            self._timers.at(now + START_AGAIN_SECONDS, StartAgain(event.task))

    def start_again(self, task: str) -> None:
        """Queue a task anew whose start was refused."""
        pending = self.tasks.get(task)
        if pending is not None and pending.stage is Stage.REFUSED:
            self.starting.discard(task)
            self.repairs_starting.discard(task)
            self._enqueue(task)
