"""What has lately become of nodes in sets, as every replica sees it: one may have to tell of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from coordinator.core.sets.decisions import NodeCooled, NodeWarmed, SetDecision
from coordinator.core.sets.events import SetEvent
from coordinator.engine.loop import Kinds

NODE_CHANGES: Final = (NodeWarmed, NodeCooled)
MOST_RECENT: Final = 5000
RECENT_SECONDS: Final = 60.0
"""Longer than a leader can be dead before the next one leads."""


class RecentChanges:
    """Observes the loop of the sets' core."""

    def __init__(
        self,
        clock: Callable[[], float],
        observe: Callable[[Callable[[SetEvent, SetDecision], None], Kinds], None],
    ) -> None:
        """``observe`` has this one see what becomes of nodes."""
        self._clock = clock
        observe(self._observe, NODE_CHANGES)
        self._changes: deque[tuple[float, NodeWarmed | NodeCooled]] = deque(maxlen=MOST_RECENT)

    def _observe(self, _event: SetEvent, decision: SetDecision) -> None:
        now = self._clock()
        for change in decision.changes:
            if isinstance(change, NODE_CHANGES):
                self._changes.append((now, change))
        while self._changes and self._changes[0][0] < now - RECENT_SECONDS:
            self._changes.popleft()

    def take(self) -> Iterator[NodeWarmed | NodeCooled]:
        """All of the last minute, in their order; they are forgotten."""
        oldest = self._clock() - RECENT_SECONDS
        while self._changes:
            when, change = self._changes.popleft()
            if when >= oldest:
                yield change
