"""Why a task that is not over does not go on, in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from common.text import Text
from common.texts import TASK_QUEUED, TASK_STARTING
from coordinator.core.attempts import Attempt
from coordinator.core.fleet import FleetView
from coordinator.core.node_run import NodePhase
from coordinator.core.queue import Pending
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Limits


class Known(Protocol):
    """What is needed of the core."""

    @property
    def limits(self) -> Limits:
        """What the operator allows."""

    @property
    def fleet(self) -> FleetView:
        """Who is there."""

    @property
    def runs(self) -> Mapping[str, TaskRun]:
        """The running tasks."""

    @property
    def waiting(self) -> Mapping[str, Pending]:
        """The pending tasks."""

    @property
    def in_flight(self) -> Mapping[tuple[str, str], Attempt]:
        """Every attempt in flight, by its task and node."""

    @property
    def places_taken(self) -> int:
        """Tasks that work, have something due or are starting."""

    def awaits_place(self, task: str) -> bool:
        """Whether a running task has something to do and no place for it."""


class WhyWaiting:
    """Looks at the core and at the node source."""

    def __init__(
        self, core: Known, clock: Callable[[], float], trouble: Callable[[], Text | None]
    ) -> None:
        """``trouble``: why the nodes are not known or may be out of date, where that is so."""
        self._core = core
        self._clock = clock
        self._trouble = trouble

    def __call__(self, task: str) -> Text | None:
        """Why a task does not go on; None where it does, or where it is over or unknown."""
        run = self._core.runs.get(task)
        if run is not None and self._core.awaits_place(task):
            return self._taken_places()
        if run is not None:
            return self._awaited_agent(run)
        if task not in self._core.waiting:
            return None
        trouble = self._trouble()
        if trouble is not None:
            return trouble
        return self._taken_places() or TASK_STARTING()

    def _taken_places(self) -> Text | None:
        """Where all places are taken, by how many; None while one is free."""
        taken, most = self._core.places_taken, self._core.limits.max_concurrent_tasks
        return TASK_QUEUED(running=taken, most=most) if taken >= most else None

    def _awaited_agent(self, run: TaskRun) -> Text | None:
        """What the first node lacks that has a place: its agent, or what that is to be given."""
        if not run.in_phase[NodePhase.ASSIGNED]:
            return None
        fleet, now = self._core.fleet, self._clock()
        for node in run.nodes:
            if node.phase is not NodePhase.ASSIGNED:
                continue
            if fleet.agent_for(node.name, now) is None:
                return fleet.why_unavailable(node.name)
            attempt = self._core.in_flight.get((run.head.id, node.name))
            if attempt is not None and attempt.held_up is not None:
                return attempt.held_up
        return None
