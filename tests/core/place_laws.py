"""The laws of places: who holds one of those that the operator allows, judged from outside."""

from __future__ import annotations

from math import inf

from coordinator.core.commands import Command, StartTask
from coordinator.core.events import AgentHeard, Event, Settled, StartFailed, TaskStarted
from coordinator.core.node_run import UNSETTLED, NodePhase
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Core
from coordinator.core.task import Rollout, TaskHead
from tests.core.hearsay import Hearsay
from tests.core.news import demand


def urgency(entry: tuple[TaskHead, int]) -> tuple[int, int]:
    """Smaller is more urgent."""
    head, order = entry
    return -head.spec.priority, order


class PlaceLaws:
    """The judge of one core's places."""

    def __init__(self, core: Core, said: Hearsay, most: int) -> None:
        self._core = core
        self._said = said
        self._most = most
        self.held: set[str] = set()
        """Tasks that hold a place: they work, have something due, are over, or start."""
        self._refused: set[str] = set()
        """Tasks whose start was refused; when their place is given anew is not known here."""

    def judge(self, event: Event, commands: list[Command], now: float) -> None:
        """Who has a place after an event, and whether the right ones have got one."""
        started = {c.task for c in commands if isinstance(c, StartTask)}
        if isinstance(event, StartFailed):
            self._refused.add(event.task)
        self._refused -= started
        self._give_back(now)
        new = {task for task, run in self._core.runs.items() if self._works(run, now)} - self.held
        forced = self._goes_on(event, new)
        self.held |= forced
        granted = (new - forced) | started
        self.held |= granted
        self._refused &= self.held
        if granted:
            taken = self.held - self._refused
            demand(len(taken) <= self._most, "no more places than allowed", taken, granted)
        if self._said.store_is_open:
            self._judge_waiting(granted, now)

    def _give_back(self, now: float) -> None:
        """Who is over, or has nothing in flight and nothing due, holds no place."""
        runs = self._core.runs
        for task in list(self.held):
            run = runs.get(task)
            if run is None and task not in self._said.pending:
                self.held.discard(task)
            if run is not None and not (run.in_flight or run.is_over or has_candidate(run, now)):
                self.held.discard(task)

    def _works(self, run: TaskRun, now: float) -> bool:
        """Whether a task has a node in flight, or would have if the cap on all nodes let it."""
        queues = self._core.awaits_place(run.head.id)
        return run.in_flight > 0 or (has_candidate(run, now) and not queues)

    def _goes_on(self, event: Event, new: set[str]) -> set[str]:
        """Work that was begun by another leader has its place, whatever the limit."""
        if isinstance(event, AgentHeard):
            return new & {hold.task for hold in event.holds}
        if isinstance(event, TaskStarted):
            return {event.head.id} & self._core.runs.keys()
        if isinstance(event, Settled):
            return new | {t for t, run in self._core.runs.items() if has_candidate(run, -inf)}
        return set()

    def _judge_waiting(self, granted: set[str], now: float) -> None:
        said = self._said
        waiting = {
            task: said.running[task]
            for task, run in self._core.runs.items()
            if task not in self.held and has_candidate(run, now)
        }
        waiting |= {
            task: said.pending[task] for task in said.startable(now) if task not in self.held
        }
        for task, entry in waiting.items():
            demand(len(self.held) >= self._most, "no place stays free", task, self.held)
            for other in granted:
                of_other = said.running.get(other) or said.pending[other]
                demand(urgency(of_other) < urgency(entry), "the most urgent first", other, task)


def has_candidate(run: TaskRun, now: float) -> bool:
    """Whether a node of a task could begin now, if there is a place."""
    if any(node.retry_at is not None and node.retry_at <= now for node in run.nodes):
        return True
    waiting = next((node for node in run.nodes if node.phase is NodePhase.WAITING), None)
    if waiting is None:
        return False
    before = [node for node in run.nodes[: waiting.index] if node.phase is not NodePhase.REMOVED]
    if run.spec.rollout is Rollout.ROLLING or not before or before[-1].batch == waiting.batch:
        return True
    last = before[-1].batch
    return all(node.phase not in UNSETTLED for node in run.nodes if node.batch == last)
