"""Which of the unfinished blobs that containerd lists are being downloaded, and which only wait.

Up to 2.0 a blob is listed once its download begins: the limit of three is an image's own. From 2.1
on it is a node's: whatever waits for a place is listed beside what has one, and so is what a former
pull has left. Then only bytes prove a place, or the order: places are given first come, first
served (golang.org/x/sync/semaphore).
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator

    from agent.runtime.containerd import Ingest

PLACES = 3
"""``max_concurrent_downloads`` as containerd ships it."""
MOVES_SECONDS = 30.0
"""So long after its last MiB a download is taken for one that goes on."""
_ORDER_SECONDS = 1.0
"""What is listed so much later has queued later, too."""


@dataclass(slots=True)
class _Blob:
    """An unfinished blob, as it was seen; when it was begun on the wall's clock."""

    offset: int
    started: float
    moved_at: float | None = None


@dataclass(slots=True)
class _Turn:
    """A pull that runs: when it began, and its unfinished blobs as it saw them last."""

    began: float
    names: Collection[str] = field(default_factory=frozenset)
    proven: set[str] = field(default_factory=set)
    """Those that got bytes in this pull."""


class Slots:
    """The downloads of one node.

    ``now`` is in seconds on a clock that never goes back; ``wall`` tells those since 1970.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.of_node = True
        """Whether all images of the node share the places, as far as is known."""
        self._wall = wall
        self._blobs: dict[str, _Blob] = {}
        self._turns: dict[str, _Turn] = {}

    @property
    def running(self) -> Container[str]:
        """The leases of the pulls that run."""
        return self._turns.keys()

    @contextmanager
    def turn(self, lease: str) -> Iterator[None]:
        """A pull runs as long as the block does."""
        if not self._turns:
            self._blobs = {}  # what was seen long ago may have moved in between
        turn = self._turns[lease] = _Turn(self._wall())
        try:
            yield
        finally:
            if self._turns.get(lease) is turn:
                del self._turns[lease]

    def see(self, ingests: Iterable[Ingest], now: float) -> None:
        """Take in what the node lists as unfinished."""
        before, self._blobs = self._blobs, {}
        for each in ingests:
            blob = before.get(each.name) or _Blob(each.offset, each.started)
            self._blobs[each.name] = blob
            if blob.offset != each.offset:
                blob.offset, blob.moved_at = each.offset, now
                for turn in self._turns.values():
                    turn.proven.add(each.name)

    def claim(self, lease: str, names: Collection[str]) -> None:
        """Take in which of them belong to a pull."""
        if turn := self._turns.get(lease):
            turn.names = names

    def may_be_taken(self, lease: str, others: Collection[str], now: float) -> bool:
        """Whether it has to be known which of the others are really pulled by somebody."""
        return self.of_node and not self._is_proven(lease) and not self._moving(others, now)

    def has_one(self, lease: str, others: Collection[str], now: float) -> bool:
        """Whether one of a pull's blobs has a place. ``others``: all that are not its own."""
        if not self.of_node or self._is_proven(lease):
            return True
        return not self._moving(others, now) and len(self._before(lease, others)) < PLACES

    def _is_proven(self, lease: str) -> bool:
        """Whether bytes came to one of them in this pull, or to one that queued behind it."""
        turn = self._turns[lease]
        starts = [self._blobs[name].started for name in turn.proven if name in self._blobs]
        latest = max(starts, default=0.0)
        return any(
            name in turn.proven or turn.began <= self._blobs[name].started < latest - _ORDER_SECONDS
            for name in turn.names
            if name in self._blobs
        )

    def _moving(self, others: Collection[str], now: float) -> bool:
        times = (self._blobs[name].moved_at for name in others if name in self._blobs)
        return any(moved is not None and now - moved < MOVES_SECONDS for moved in times)

    def _before(self, lease: str, others: Collection[str]) -> set[str]:
        """The others that may have come first: of pulls that are older, or nobody's here."""
        leases = list(self._turns)
        later = leases[leases.index(lease) + 1 :]
        queued = {name for each in later for name in self._turns[each].names}
        return set(others) - queued
