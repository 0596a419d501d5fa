"""What the API needs of the engine for purges; the rest is in ``port.py``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from coordinator.core.task import Creator, TaskSpec
from coordinator.snapshots import PurgeSnapshot


class TooManyPurges(Exception):  # noqa: N818 -- named by what happened
    """As many purges run at this coordinator as may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} purges run")
        self.most = most


@dataclass(frozen=True, slots=True)
class PurgeOrder:
    """What is to be taken off which nodes."""

    spec: TaskSpec
    """Its images and what it demands of nodes; the rest of it counts for nothing."""
    names: Sequence[str] | None = None
    """Of these nodes alone."""
    dry_run: bool = False
    set: str | None = None
    """The set whose images these were."""


Before = Callable[[], Awaitable[None]]


async def nothing_before() -> None:
    """Begin at once."""


class Purges(Protocol):
    """Purges of the last day."""

    def check_room(self) -> None:
        """Raise TooManyPurges where no further one may run here."""

    async def start(
        self, order: PurgeOrder, creator: Creator | None, before: Before = nothing_before
    ) -> PurgeSnapshot:
        """Store a purge and begin with it; whatever its nodes answer is found later.

        ``before`` is done once it is stored and before anything is removed; where that raises,
        there is no purge. Raises TooManyPurges and StoreAway.
        """

    async def find(self, purge: str) -> PurgeSnapshot | None:
        """A purge, whichever coordinator carries it out; None for none. Raises StoreAway."""
