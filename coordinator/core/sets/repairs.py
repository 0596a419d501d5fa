"""Tasks that repair sets and are not over, and not more of all than the limit says.

A set has one; beside it a further one for nodes that are not in it, as long as a place stays free
for another set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from coordinator.core.sets.records import LONGEST_BACK_OFF_SECONDS, back_off


class InVain(NamedTuple):
    """Repairs of a set that were of no use."""

    times: int
    """How often in a row one had no node, or was cancelled."""
    until: float
    """Until when (seconds since 1970) it rests."""

    def bounded(self, now: float) -> InVain:
        """The same, resting no longer than what begins to rest at this moment can."""
        return InVain(self.times, min(self.until, now + LONGEST_BACK_OFF_SECONDS))


class Repairs:
    """By set. A repair counts from the moment that it is asked for."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._asked: set[str] = set()
        """Sets whose repair is being stored."""
        self._outdated: set[str] = set()
        """Those of them that have become other ones meanwhile."""
        self._tasks: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """Each that is not over, the oldest first."""
        self._sets: dict[str, str] = {}
        self._dropped: set[str] = set()
        """Tasks that repair what is no longer wanted."""
        self._in_vain: dict[str, InVain] = {}
        self.unsaved: set[str] = set()
        """Sets that rest, or rest no more, which was not so before."""

    @property
    def are_full(self) -> bool:
        """Whether as many run as may."""
        return self._taken >= self.most

    @property
    def _taken(self) -> int:
        return len(self._asked) + len(self._sets)

    def may_begin(self, name: str, running: Container[str]) -> bool:
        """Whether a set may have another repair; ``running``: tasks whose nodes are known."""
        if not self.has_one(name):
            return not self.are_full
        are_known = name not in self._asked and all(t in running for t in self._tasks[name])
        return are_known and self._taken + 1 < self.most

    @property
    def names(self) -> AbstractSet[str]:
        """Sets that are being repaired."""
        return self._tasks.keys()

    def task(self, name: str) -> str | None:
        """The oldest repair of a set; None where there is none, or it is being stored."""
        return next(iter(self.tasks(name)), None)

    def tasks(self, name: str) -> Collection[str]:
        """All repairs of a set that are not over, the oldest first."""
        return self._tasks.get(name, ())

    def has_one(self, name: str) -> bool:
        """Whether a set has a repair that is not over, or is being stored."""
        return name in self._asked or bool(self._tasks.get(name))

    def asked(self, name: str) -> None:
        """One is to be stored."""
        self._asked.add(name)

    def refused(self, name: str) -> None:
        """It was not stored."""
        self._asked.discard(name)
        self._outdated.discard(name)

    def known(self, name: str, task: str) -> bool:
        """A task of a set is not over; whether it is to be cancelled, and was not to be before."""
        is_outdated = name in self._outdated and task not in self._sets
        self.refused(name)  # what was asked for is here
        self._tasks[name][task] = None
        self._sets[task] = name
        return is_outdated and self.drop_one(task)

    def drop(self, name: str) -> list[str]:
        """A set is another one, or gone; its repairs, which are to be cancelled."""
        tasks = list(self._tasks.get(name, ()))
        self._dropped.update(tasks)
        self._outdated.update(self._asked & {name})
        return tasks

    def drop_one(self, task: str) -> bool:
        """One of a set's repairs is not to go on; whether that is news."""
        is_news = task in self._sets and task not in self._dropped
        if is_news:
            self._dropped.add(task)
        return is_news

    @property
    def dropped(self) -> list[str]:
        """Repairs that are to be cancelled and are not over, sorted."""
        return sorted(self._dropped & self._sets.keys())

    def was_dropped(self, task: str) -> bool:
        """Whether a repair that is over now was to be cancelled."""
        if task not in self._dropped:
            return False
        self._dropped.remove(task)
        return True

    def over(self, task: str) -> str | None:
        """A task is over; the set that it repaired."""
        name = self._sets.pop(task, None)
        if name is not None:
            self._tasks[name].pop(task, None)
            if not self._tasks[name]:
                del self._tasks[name]
        return name

    # ── repairs that are of no use ──

    def rests_until(self, name: str) -> float:
        """Before this time (seconds since 1970) a set is not repaired again."""
        rest = self._in_vain.get(name)
        return 0.0 if rest is None else rest.until

    def rest(self, name: str) -> InVain | None:
        """Why a set rests, where its repairs were of no use."""
        return self._in_vain.get(name)

    def in_vain(self, name: str, now: float) -> None:
        """A repair of a set had no node at all, or was cancelled."""
        before = self._in_vain.get(name)
        times = 1 if before is None else before.times + 1
        self._in_vain[name] = InVain(times, now + back_off(times))
        self.unsaved.add(name)

    def of_use(self, name: str) -> None:
        """A repair of a set had nodes, or the set is another one."""
        if self._in_vain.pop(name, None) is not None:
            self.unsaved.add(name)

    def adopt(self, name: str, noted: InVain) -> None:
        """Take over what the leader has stored, where it is not older than what is known here."""
        if self.rests_until(name) < noted.until:
            self._in_vain[name] = noted

    def forget_noted(self, name: str, noted: InVain | None) -> None:
        """The leader has stored that it is over, where nothing newer is known here."""
        if noted is not None and self.rests_until(name) <= noted.until:
            self._in_vain.pop(name, None)
