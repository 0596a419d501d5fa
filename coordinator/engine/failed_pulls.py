"""Tells whoever wants to know of each image that could not be pulled in an attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from common.reasons import Reason
from coordinator.core.changes import AttemptDecided, Step
from coordinator.core.events import Event
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Decision
from coordinator.nodes.source import FailedPull

_FAILURES = frozenset({Step.RETRYING, Step.FAILED})


class FailedPulls:
    """Observes the core's loop."""

    def __init__(self, runs: Mapping[str, TaskRun], tell: Callable[[FailedPull], None]) -> None:
        self._runs = runs
        self._tell = tell

    def observe(self, _event: Event, decision: Decision) -> None:
        """Tell of every image that failed in an attempt which was decided just now."""
        for change in decision.changes:
            if (
                isinstance(change, AttemptDecided)
                and change.event.live
                and change.step in _FAILURES
            ):
                self._tell_of(change.task, change.node)

    def _tell_of(self, task: str, node: str) -> None:
        run = self._runs.get(task)
        if run is None:
            return
        for image in run.by_name[node].failed_images():
            reason, text = image.reason or Reason.UNKNOWN, image.message or ""
            self._tell(FailedPull(task, node, image.image, reason, text))
