"""What agents hold without a place for it here, while another leads.

A follower's word to stop such work reaches nobody; when it leads, it looks at all of it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.messages import Hold
from coordinator.core.fleet import Fleet


class Unplaced:
    """The holds of each instance as it listed them last, by node; bounded by what is heard."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._holds: dict[str, dict[str, Sequence[Hold]]] = {}

    def note(self, node: str, instance: str, holds: Sequence[Hold]) -> None:
        """An instance holds this, and nothing else, without a place."""
        listed = {**self._holds.get(node, {}), instance: holds}
        known = {i: h for i, h in listed.items() if h and self._fleet.has_sighted(node, i)}
        if known:
            self._holds[node] = known
        else:
            self.forget(node)

    def forget(self, node: str) -> None:
        """A node has ceased to exist."""
        self._holds.pop(node, None)

    def take_all(self) -> Iterator[tuple[str, str, Hold]]:
        """Everything, as (node, instance, hold); nothing is left."""
        everything, self._holds = self._holds, {}
        for node, instances in everything.items():
            for instance, holds in instances.items():
                for hold in holds:
                    yield node, instance, hold
