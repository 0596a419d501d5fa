"""What is asked of whoever keeps warm sets; a part of ``port.py``, whose errors it raises."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from common.text import Text
from coordinator.core.sets.gate import SetGate
from coordinator.core.sets.head import Refresh, Schedule
from coordinator.core.task import Creator, TaskSpec
from coordinator.snapshots import SetNodeSnapshot, SetSnapshot, StoredSet


@dataclass(frozen=True, slots=True)
class SetOrder:
    """What a user wants of a set."""

    name: str
    spec: TaskSpec
    paused: bool = False
    schedule: Schedule | None = None
    refresh: Refresh | None = None
    gate: SetGate | None = None


@dataclass(frozen=True, slots=True)
class PutSet:
    """What a put came to."""

    stored: StoredSet
    is_new: bool


class Sets(Protocol):
    """Every warm set. What is not ``async`` answers from memory at once."""

    @property
    def no_gates(self) -> Text | None:
        """Why no set can have a gate here; None where it can."""

    def names(self) -> Sequence[str]:
        """All sets, ordered by name."""

    def snapshot(self, name: str) -> SetSnapshot | None:
        """What is known of a set; None for an unknown one."""

    def node_names(self, name: str, phases: Collection[str] = ()) -> Sequence[str]:
        """The nodes of a set (in one of these phases), ordered by name."""

    def node(self, name: str, node: str) -> SetNodeSnapshot | None:
        """One of them; None where it is none."""

    async def find(self, name: str) -> StoredSet | None:
        """A set, read from the store where it is not known here. Raises StoreAway."""

    async def put(self, order: SetOrder, creator: Creator | None, match: int | None) -> PutSet:
        """Store a set, or do nothing where it is so already; when this returns it is stored.

        ``match``: only over this revision (0: only where there is none). Raises SetChanged,
        TooManySets and StoreAway.
        """

    async def refresh(self, name: str) -> None:
        """Have a set's tags looked at again; when this returns that is stored.

        Raises NoSuchSet and StoreAway.
        """

    def drift(self, name: str) -> Mapping[str, Mapping[str, int]]:
        """By image of a set that has a tag: the digests that its nodes show, each with how many."""

    async def delete(self, name: str, match: int | None) -> None:
        """Delete a set; its images stay. Raises NoSuchSet, SetChanged and StoreAway."""
