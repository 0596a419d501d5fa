"""Who watches what, and the names of what has changed since each of them last looked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

from coordinator.core.changes import NodeMoved
from coordinator.core.events import Event
from coordinator.core.scheduler import Decision
from coordinator.port import Wake


class NameChanges:
    """One subscriber's set of changed names (``port.Changes``)."""

    def __init__(self, wake: Wake, closed: Callable[[NameChanges], None]) -> None:
        self._wake = wake
        self._closed = closed
        self._names: set[str] = set()

    def add(self, names: Iterable[str]) -> None:
        """Remember names, and wake the subscriber if it had nothing to take."""
        asleep = not self._names
        self._names.update(names)
        if asleep and self._names:
            self._wake()

    def take(self) -> Collection[str]:
        """The names so far; the set is empty afterwards."""
        names, self._names = self._names, set()
        return names

    def close(self) -> None:
        """Want no more."""
        self._closed(self)


class LiveChanges:
    """Who watches what (``port.Live``). It outlives replicas and leaders, as streams do."""

    def __init__(self) -> None:
        self._tasks: defaultdict[str, list[NameChanges]] = defaultdict(list)
        self._fleet: list[NameChanges] = []

    def of_task(self, task_id: str, wake: Wake) -> NameChanges:
        """Nodes of one task whose state, or an image's bytes, changed."""
        changes = NameChanges(wake, lambda gone: self._leave(task_id, gone))
        self._tasks[task_id].append(changes)
        return changes

    def of_fleet(self, wake: Wake) -> NameChanges:
        """Nodes that changed in the table of nodes."""
        changes = NameChanges(wake, self._fleet.remove)
        self._fleet.append(changes)
        return changes

    def task_changed(self, task: str, nodes: Iterable[str]) -> None:
        """Some nodes of a task are not what they were."""
        for changes in self._tasks.get(task, ()):
            changes.add(nodes)

    def observe(self, _event: Event, decision: Decision) -> None:
        """Nodes of tasks have moved."""
        for change in decision.changes:
            if isinstance(change, NodeMoved):
                self.task_changed(change.task, [change.node])

    def fleet_changed(self, nodes: Iterable[str]) -> None:
        """Some nodes of the fleet are not what they were, or are gone."""
        for changes in self._fleet:
            changes.add(nodes)

    def _leave(self, task: str, changes: NameChanges) -> None:
        self._tasks[task].remove(changes)
        if not self._tasks[task]:
            del self._tasks[task]
