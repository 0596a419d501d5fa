"""Lets the node source know of failed pulls, so that it can show them where its admins look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.reasons import Reason
from coordinator.core.commands import Command, TellNode
from coordinator.core.events import Event
from coordinator.core.run import Step, TaskRun
from coordinator.nodes.source import FailedPull, NodeSource

_FAILURES = frozenset({Step.RETRYING, Step.FAILED})


class FailedPulls:
    """An observer of the core."""

    def __init__(self, runs: Mapping[str, TaskRun], source: NodeSource) -> None:
        self._runs = runs
        self._source = source

    def observe(self, _event: Event, commands: Sequence[Command]) -> None:
        """Tell of every image that failed in an attempt which was decided just now."""
        for command in commands:
            if isinstance(command, TellNode) and command.live and command.step in _FAILURES:
                self._tell(command)

    def _tell(self, command: TellNode) -> None:
        run = self._runs.get(command.task)
        if run is None:
            return
        for image in run.by_name[command.node].failed_images():
            reason = image.reason or Reason.UNKNOWN
            text = image.message or ""
            self._source.pull_failed(
                FailedPull(command.task, command.node, image.image, reason, text)
            )
