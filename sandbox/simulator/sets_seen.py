"""Warm sets as they are stored, and the tasks that repair them, seen from outside."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import msgspec

from common import subjects
from common.bus import Record
from coordinator.core.sets.head import SetHead
from coordinator.core.task import TaskHead
from sandbox.simulator.laws import Law

UNHEARD_SECONDS = 45.0
"""So long a leader may not know that a set was deleted: a cut, an election, a leader that stood
still and had begun a repair before."""
CALM_SECONDS = 10.0
"""The same, once faults have ceased."""

_decode = msgspec.json.Decoder(SetHead).decode
_SETS = f"$KV.{subjects.SETS_BUCKET}."


class Notes(Protocol):
    """What is needed of the witness."""

    def breaks(self, law: Law, detail: str) -> None:
        """A law is broken."""

    def say(self, who: str, what: object) -> None:
        """Note what happened."""


@dataclass(slots=True)
class SetTruth:
    """All that was ever stored under the name of one set."""

    head: SetHead | None
    """None: it is deleted."""
    revision: int
    at: float
    """When that was stored, by the loop's clock."""
    deletions: int = 0
    ever: frozenset[str] = frozenset()
    """All references that it ever had."""


class SetsSeen:
    """All sets of one history."""

    def __init__(self, witness: Notes, most_repairs: int) -> None:
        """``most_repairs``: tasks that repair sets at once."""
        self._witness = witness
        self._most = most_repairs
        self.known: dict[str, SetTruth] = {}
        self._repairs: dict[str, str] = {}
        """By task that is not over: its set."""
        self.is_calm = False
        """Whether faults have ceased and all has come to rest."""

    @property
    def heads(self) -> dict[str, SetHead]:
        """Sets that are stored."""
        return {name: each.head for name, each in self.known.items() if each.head is not None}

    @property
    def names(self) -> list[str]:
        """Their names."""
        return sorted(self.heads)

    @property
    def unwanted(self) -> frozenset[str]:
        """References that a set had once, and none has now."""
        ever = frozenset().union(*(each.ever for each in self.known.values()))
        return ever.difference(*(head.references for head in self.heads.values()))

    # ── what is stored ──

    def stored(self, record: Record) -> bool:
        """Take in a record, if it is one of the sets' bucket."""
        if not record.subject.startswith(_SETS):
            return False
        name, now = record.subject.removeprefix(_SETS), asyncio.get_running_loop().time()
        head = None if "KV-Operation" in record.headers else _decode(record.data)
        before = self.known.get(name)
        self._witness.say("store", f"set {name} is {head}")
        self.known[name] = SetTruth(
            head,
            record.seq,
            now,
            (0 if before is None else before.deletions) + (head is None),
            (frozenset() if before is None else before.ever)
            | (frozenset() if head is None else frozenset(head.references)),
        )
        return True

    def task_stored(self, head: TaskHead) -> None:
        """A task's head is stored, which may repair a set."""
        if head.set is None:
            return
        if head.status.is_final:
            self._repairs.pop(head.id, None)
        elif head.id not in self._repairs:
            self._repairs[head.id] = head.set
            self._look_at_repair(head.id, head.set)

    def task_removed(self, task: str) -> None:
        """A task is no more."""
        self._repairs.pop(task, None)

    def _look_at_repair(self, task: str, name: str) -> None:
        now, known = asyncio.get_running_loop().time(), self.known.get(name)
        unheard = CALM_SECONDS if self.is_calm else UNHEARD_SECONDS
        if known is None or (known.head is None and now - known.at > unheard):
            self._witness.breaks(Law.SETS_ALONE, f"{task} repairs {name}, which is no set")

    def check_repairs(self, *, is_sure: bool) -> None:
        """See that no more repairs go on than may; where leaders have not just changed."""
        if not is_sure:
            return
        if len(self._repairs) > self._most:
            self._witness.breaks(Law.CAP, f"{self._repairs} repair at once")
        if max(Counter(self._repairs.values()).values(), default=0) > max(1, self._most - 1):
            self._witness.breaks(Law.SETS_ALONE, f"one set takes every place: {self._repairs}")

    # ── what users are told ──

    def put(self, name: str, revision: int) -> None:
        """A user was told that a set is stored."""
        self._witness.say("user", f"set {name} is stored as {revision}")
        known = self.known.get(name)
        if known is None or known.revision < revision:
            self._witness.breaks(Law.PROMISED, f"set {name} is put as {revision}, and not stored")

    def deleted(self, name: str) -> None:
        """A user was told that a set is deleted."""
        self._witness.say("user", f"set {name} is deleted")
        known = self.known.get(name)
        if known is None or not known.deletions:
            self._witness.breaks(Law.PROMISED, f"set {name} is said to be deleted, and is not")
