"""Which running tasks hold one of the places of which ``max_concurrent_tasks`` gives so many.

A task with nothing in flight and nothing due gives its place back. When a retry is due it queues
for one again, beside the pending tasks and by the same urgency. Work that an agent holds already
has a place, whatever the limit, and so has a repair of a set: of those the sets' core counts.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import NamedTuple

from coordinator.core.run import TaskRun
from coordinator.core.selection import demands
from coordinator.core.timers import Reconsider, Timers

RESTING_NODES = 100_000
"""Nodes of all tasks that rest: each is kept in memory, and more tasks begin meanwhile. Those
of tasks that are paused count, and keep none of these from resting."""
LEAST_NODES = 100
"""A task that rests counts as so many at least, because it costs something by itself."""

Rank = tuple[int, int]
"""The order in which tasks get what they need; the smallest is the most urgent."""


class Stand(Enum):
    """Whether a running task holds a place, and if not, why."""

    HOLDS = auto()
    QUEUES = auto()
    """Something is due, and it has no place for it."""
    RESTS = auto()
    """Every node that is not over waits for a retry, or for the end of a pause."""
    OVER = auto()
    """Nothing is left to do but to store its end, which needs no place."""


class Ranked(NamedTuple):
    """A task and its urgency; the most urgent first."""

    rank: Rank
    task: str


class Places:
    """Who holds a place, who queues for one and who rests; of running tasks only."""

    def __init__(self, runs: Mapping[str, TaskRun], timers: Timers) -> None:
        self._runs = runs
        self._timers = timers
        self._ranks: dict[str, Ranked] = {}
        self._stands: dict[str, Stand] = {}
        self.holding: list[Ranked] = []
        """Tasks that hold a place, the most urgent first."""
        self.queue: list[Ranked] = []
        """Tasks that have something to do and no place, the most urgent first."""
        self.of_users = 0
        """Tasks that hold a place and are no repairs of sets, which need none."""
        self._resting_nodes = 0
        self._retries: list[tuple[float, str]] = []
        """When which task that rests may have something to do; entries may be out of date."""
        self.next_retry = math.inf
        """When the next of them is due."""
        self.touched: dict[str, None] = {}
        """Tasks that may have to stand elsewhere since the last review."""
        self.over: dict[str, None] = {}
        """Tasks of which no node has anything left to do."""

    # ── what is so ──

    def next_in_queue(self) -> Ranked | None:
        """The most urgent task that has something to do and no place."""
        return self.queue[0] if self.queue else None

    def queues(self, task: str) -> bool:
        """Whether a running task has something to do and no place."""
        return self._stands.get(task) is Stand.QUEUES

    # ── tasks come and go ──

    def add(self, task: str, rank: Rank) -> None:
        """A task runs; it has had its place since its start was asked for."""
        self._ranks[task] = Ranked(rank, task)
        self._enter(task, Stand.HOLDS)
        run = self._runs[task]
        if run.is_over or run.head.paused:
            self.touched[task] = None

    def take_over(self) -> None:
        """What ran under another leader goes on, even more of it than may run by now.

        Only who had nothing but retries to wait for had no place, and queues when one is due.
        """
        for task, run in self._runs.items():
            if not (run.in_flight or run.is_over or run.has_work(-math.inf)):
                self._queue(task)
            self.touched[task] = None

    def remove(self, task: str) -> None:
        """A task runs no more."""
        self._leave(task)
        del self._stands[task], self._ranks[task]
        self.touched.pop(task, None)
        self.over.pop(task, None)

    def give(self, task: str) -> None:
        """A task that queues gets a place."""
        self._put(task, Stand.HOLDS)

    # ── where tasks stand ──

    def review(self, now: float, moved: Iterable[str]) -> None:
        """Put every task where it stands by now; a node has ``moved`` of each of these."""
        touched, self.touched = self.touched, {}
        touched.update(dict.fromkeys(moved))
        while self._retries and self._retries[0][0] <= now:
            touched[heapq.heappop(self._retries)[1]] = None
        self.next_retry = self._retries[0][0] if self._retries else math.inf
        for task in touched:
            if (run := self._runs.get(task)) is not None:
                self._review(run, now)

    def _review(self, run: TaskRun, now: float) -> None:
        task = run.head.id
        holds = self._stands[task] is Stand.HOLDS
        if run.is_over:
            self.over[task] = None
        if holds and (run.in_flight or run.is_over):
            return
        if run.in_flight:
            self._put(task, Stand.HOLDS)
        elif run.is_over:
            self._put(task, Stand.OVER)
        elif not run.has_work(now):
            self._rest(run)
        elif not holds:
            self._queue(task)

    def _rest(self, run: TaskRun) -> None:
        task, due = run.head.id, run.next_retry
        holds = self._stands[task] is Stand.HOLDS
        if run.head.paused:  # for how long is a user's to say; others go on meanwhile
            self._put(task, Stand.RESTS)
            return
        if due is None or (holds and self._resting_nodes + _cost(run) > RESTING_NODES):
            return
        self._put(task, Stand.RESTS)
        heapq.heappush(self._retries, (due, task))
        self.next_retry = self._retries[0][0]
        self._timers.at(due, Reconsider())

    def _queue(self, task: str) -> None:
        """Something is due: whoever needs no place goes on at once."""
        self._put(task, Stand.HOLDS if self._is_repair(task) else Stand.QUEUES)

    def _is_repair(self, task: str) -> bool:
        return self._runs[task].head.set is not None

    def _put(self, task: str, stand: Stand) -> None:
        if self._stands[task] is not stand:
            self._leave(task)
            self._enter(task, stand)

    def _enter(self, task: str, stand: Stand) -> None:
        self._stands[task] = stand
        if stand is Stand.HOLDS:
            insort(self.holding, self._ranks[task])
            self.of_users += not self._is_repair(task)
        elif stand is Stand.QUEUES:
            insort(self.queue, self._ranks[task])
        elif stand is Stand.RESTS:
            self._resting_nodes += _cost(self._runs[task])

    def _leave(self, task: str) -> None:
        stand = self._stands[task]
        if stand is Stand.RESTS:
            self._resting_nodes -= _cost(self._runs[task])
        elif stand is not Stand.OVER:
            if stand is Stand.HOLDS:
                self.of_users -= not self._is_repair(task)
            ranked = self.holding if stand is Stand.HOLDS else self.queue
            del ranked[bisect_left(ranked, self._ranks[task])]


def _cost(run: TaskRun) -> int:
    """Nodes, and as much for each label that it demands."""
    return max(LEAST_NODES, len(run.nodes) + demands(run.spec))
