"""Who watches what, and the names of what has changed since each of them last looked."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from coordinator.core.changes import NodeMoved
from coordinator.core.events import Event
from coordinator.core.scheduler import Decision
from coordinator.port import Wake

SPARE_ENTRIES: Final = 1000
"""Entries of a log that are out of date before it is put in order."""


class NameChanges:
    """One subscriber's place in a log (``port.Changes``): 1,000 that never look cost no more."""

    def __init__(self, log: ChangeLog, wake: Wake, closed: Callable[[], None]) -> None:
        self._log = log
        self._wake = wake
        self._closed = closed
        self._asleep = True
        self.position = log.end
        """Everything up to here has been taken."""

    def look(self) -> None:
        """Something has changed: wake the subscriber if it had nothing to take."""
        if self._asleep:
            self._asleep = False
            self._wake()

    def take(self, most: int) -> set[str]:
        """So many of the names that changed since the last time, those that wait longest."""
        names, self.position = self._log.after(self.position, most)
        self._asleep = self.position == self._log.end
        return names

    def close(self) -> None:
        """Want no more."""
        self._log.subscribers.remove(self)
        self._closed()


class ChangeLog:
    """Names in the order of their last change, once for all who watch the same."""

    def __init__(self) -> None:
        self.subscribers: list[NameChanges] = []
        self.end = 0
        """How many changes there were."""
        self._latest: dict[str, int] = {}
        self._entries: list[tuple[int, str]] = []
        """Numbers and names; an entry whose name has changed since is out of date."""

    def note(self, names: Iterable[str]) -> None:
        """These have changed."""
        before = self.end
        for name in names:
            self.end += 1
            self._latest[name] = self.end
            self._entries.append((self.end, name))
        if self.end == before:
            return
        if len(self._entries) > 2 * len(self._latest) + SPARE_ENTRIES:
            self._put_in_order()
        for subscriber in self.subscribers:
            subscriber.look()

    def _put_in_order(self) -> None:
        """Keep each name once, and only what somebody has yet to take."""
        taken = min(subscriber.position for subscriber in self.subscribers)
        self._latest = {name: number for name, number in self._latest.items() if number > taken}
        self._entries = sorted((number, name) for name, number in self._latest.items())

    def after(self, position: int, most: int) -> tuple[set[str], int]:
        """At most so many names that have changed after a position, and where to go on."""
        names = set[str]()
        start = bisect_right(self._entries, position, key=lambda entry: entry[0])
        for index in range(start, len(self._entries)):
            number, name = self._entries[index]
            if self._latest[name] == number:
                if len(names) == most:
                    return names, number - 1
                names.add(name)
        return names, self.end


class LiveChanges:
    """Who watches what (``port.Live``). It outlives replicas and leaders, as streams do.

    A log is there for as long as somebody watches.
    """

    def __init__(self) -> None:
        self._tasks: defaultdict[str, ChangeLog] = defaultdict(ChangeLog)
        self._fleet = ChangeLog()

    def of_task(self, task_id: str, wake: Wake) -> NameChanges:
        """Nodes of one task whose state, or an image's bytes, changed."""
        return _subscribed(self._tasks[task_id], wake, lambda: self._leave(task_id))

    def of_fleet(self, wake: Wake) -> NameChanges:
        """Nodes that changed in the table of nodes."""
        return _subscribed(self._fleet, wake, self._leave_fleet)

    def task_changed(self, task: str, nodes: Iterable[str]) -> None:
        """Some nodes of a task are not what they were."""
        if task in self._tasks:
            self._tasks[task].note(nodes)

    def observe(self, _event: Event, decision: Decision) -> None:
        """Nodes of tasks have moved."""
        for change in decision.changes:
            if isinstance(change, NodeMoved):
                self.task_changed(change.task, [change.node])

    def fleet_changed(self, nodes: Iterable[str]) -> None:
        """Some nodes of the fleet are not what they were, or are gone."""
        if self._fleet.subscribers:
            self._fleet.note(nodes)

    def _leave(self, task: str) -> None:
        if not self._tasks[task].subscribers:
            del self._tasks[task]

    def _leave_fleet(self) -> None:
        if not self._fleet.subscribers:
            self._fleet = ChangeLog()


def _subscribed(log: ChangeLog, wake: Wake, closed: Callable[[], None]) -> NameChanges:
    changes = NameChanges(log, wake, closed)
    log.subscribers.append(changes)
    return changes
