"""Which nodes of a set have become warm, or cold, by what is known now."""

from __future__ import annotations

from coordinator.core.sets.decisions import NodeCooled, NodeWarmed, SetChange
from coordinator.core.sets.diagnosis import AllKnown


class Judging:
    """Keeps ``AllKnown.cold``, and says what has changed."""

    def __init__(self, known: AllKnown) -> None:
        self._known = known

    def of_node(self, node: str, now: float, *, is_news: bool) -> list[SetChange]:
        """See of which sets a node has all images.

        ``is_news``: its agent has just said what is there; an image may have vanished.
        """
        changes: list[SetChange] = []
        for name in self._known.membership.of_node.get(node, ()):
            if self._has_cooled(name, node, changes) and is_news:
                self._known.records.vanished(name, node, now)
                changes.append(NodeCooled(name, node, self._known.seen_in(name, node)))
        return changes

    def of_set(self, name: str, but: str | None) -> list[SetChange]:
        """See which nodes of a set have all images, now that other digests are outdated.

        ``but``: a node of which it is known that it has just got another image than it shows.
        """
        changes: list[SetChange] = []
        for node in sorted(self._known.membership.of_set.get(name, ())):
            if self._has_cooled(name, node, changes) and node != but:
                changes.append(NodeCooled(name, node, self._known.seen_in(name, node)))
        return changes

    def _has_cooled(self, name: str, node: str, changes: list[SetChange]) -> bool:
        """See whether a node is warm; whether it was, and is known to be so no longer."""
        known, cold = self._known, self._known.cold[name]
        was_warm = node not in cold
        has_all = known.has_all(name, node)
        if has_all:
            if cold.pop(node, None):
                changes.append(NodeWarmed(name, node, known.seen_in(name, node)))
            known.records.warm(name, node)
            return False
        cold[node] = has_all is False
        return was_warm and has_all is False
