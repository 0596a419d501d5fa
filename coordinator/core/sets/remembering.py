"""What is to be stored of sets and their nodes, and what is taken over of what was stored."""

from __future__ import annotations

from dataclasses import replace

from coordinator.core.sets.decisions import NodesRemembered, SetChange, SetRested
from coordinator.core.sets.diagnosis import AllKnown
from coordinator.core.sets.events import NodesNoted, SetNoted
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.memory import Rest
from coordinator.core.sets.records import NOTHING_REMEMBERED, NodeMemory


class Remembering:
    """Over all that is known."""

    def __init__(self, known: AllKnown) -> None:
        self._known = known

    def rest(self, head: SetHead) -> Rest:
        """Why a set is left alone for a while."""
        failure, in_vain = (
            self._known.freshness.failure(head.name),
            self._known.repairs.rest(head.name),
        )
        return Rest(head.generation, failure, in_vain)

    def changes(self) -> list[SetChange]:
        """What is to be stored since this was last asked."""
        known, changes = self._known, list[SetChange]()
        resting = known.repairs.unsaved | known.freshness.unsaved
        known.repairs.unsaved.clear()
        known.freshness.unsaved.clear()
        for name in sorted(resting):
            if (head := known.membership.head(name)) is not None:
                changes.append(SetRested(name, self.rest(head)))
        for name, nodes in known.records.take_unsaved().items():
            if known.membership.head(name) is not None:
                changes.append(NodesRemembered(name, nodes))
        return changes

    def all(self) -> list[SetChange]:
        """All that is to be stored by whoever begins to lead."""
        known, changes = self._known, list[SetChange]()
        for name in sorted(known.membership.names):
            head = known.membership.head(name)
            if head is not None:
                changes.append(SetRested(name, self.rest(head)))
            if nodes := known.records.remembered(name):
                changes.append(NodesRemembered(name, frozenset(nodes)))
        return changes

    def adopt_rest(self, head: SetHead, event: SetNoted, now: float) -> None:
        """Take over what the leader has stored of a set.

        No time of it is believed beyond what can be noted ``now``: a clock that was wrong, or a
        record that is damaged, would keep the set alone for ever.
        """
        rest = event.rest.bounded(now)
        repairs, freshness = self._known.repairs, self._known.freshness
        is_same = rest.generation == head.generation
        if rest.in_vain is None:
            repairs.forget_noted(head.name, event.before.in_vain)
        elif is_same:
            repairs.adopt(head.name, rest.in_vain)
        is_older = event.refreshed.looked_at < freshness.known(head.name).looked_at
        if rest.look_failure is None:
            freshness.forget_noted(head.name, event.before.look_failure)
        elif is_same and not is_older:  # else a look has succeeded after it
            freshness.adopt_failure(head.name, rest.look_failure)

    def adopt_nodes(self, head: SetHead, event: NodesNoted, now: float) -> None:
        """Take over what the leader has stored of nodes; whoever is warm is no newcomer.

        Times are believed as in ``adopt_rest``.
        """
        known, name = self._known, head.name
        is_old = event.generation < head.generation
        for node in event.nodes.keys() | event.before.keys():
            noted = event.nodes.get(node, NOTHING_REMEMBERED).bounded(now)
            is_member = node in known.membership.of_set.get(name, ())
            is_warm = is_member and node not in known.cold[name]
            if is_old:
                noted = NodeMemory(is_new=noted.is_new)
            if self._is_of_another_agent(node, noted):
                noted = replace(noted, failure=None)
            if is_warm:
                noted = NodeMemory(vanished=noted.vanished)
            known.records.adopt(name, node, noted, event.before.get(node, NOTHING_REMEMBERED))

    def _is_of_another_agent(self, node: str, noted: NodeMemory) -> bool:
        """Whether a node failed by an agent, or with credentials, that it has no more."""
        said, failure = self._known.said.get(node), noted.failure
        return said is not None and failure is not None and failure.served_by != said.served_by
