"""What is so of sets and their nodes, for whoever asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from common.inventory import PinState
from coordinator.core.sets.diagnosis import AllKnown, diagnose, look_over
from coordinator.core.sets.freshness import LookFailure, Refreshed
from coordinator.core.sets.records import NodeMemory
from coordinator.core.sets.standing import SetCondition, SetNode, Tally, Turn
from coordinator.core.sets.turns import Turns
from coordinator.core.sets.windows import Window


class SetView:
    """Answers from what is known."""

    def __init__(self, known: AllKnown, turns: Turns) -> None:
        self._known = known
        self._turns = turns

    def tally(self, name: str, now: float) -> Tally:
        """How many nodes of a set are how. Raises KeyError for an unknown set."""
        return look_over(self._known, name, now).tally

    def nodes(self, name: str) -> list[str]:
        """The nodes of a set, sorted."""
        return sorted(self._known.membership.of_set.get(name, ()))

    def node(self, name: str, node: str, now: float) -> SetNode:
        """How one of them is. Raises KeyError."""
        return diagnose(self._known, name, node, now)

    def is_heard(self, name: str, node: str) -> bool:
        """Whether it is known which images of a set are on one of its nodes."""
        return self._known.cold[name].get(node, True)

    def judged_from(self, name: str) -> float:
        """When a set may be judged (seconds since 1970): who is to be heard has been by then."""
        return self._turns.judged_from(name)

    def cold(self, name: str) -> list[str]:
        """The nodes of a set that are not warm; none of an unknown one."""
        return list(self._known.cold.get(name, ()))

    def sets_of(self, node: str) -> tuple[str, ...]:
        """The sets that a node is in."""
        return self._known.membership.of_node.get(node, ())

    def cell(self, node: str, reference: str) -> tuple[bool, str | None] | None:
        """Whether a wanted reference is on a node, and its digest; None where nobody said."""
        return self._known.warmth.cell(node, reference)

    def wanted(self, node: str) -> tuple[str, ...]:
        """The references that a node is to have, for all of its sets."""
        return self._known.membership.wanted(node).references

    def pin(self, node: str, reference: str) -> PinState | None:
        """Whether a reference that is there is pinned, where it is to be."""
        return self._known.warmth.pin(node, reference)

    def generation(self, node: str) -> str | None:
        """The name of that list; None for a node of which nobody has said which labels it has."""
        known = self._known.membership
        return known.wanted(node).generation if known.is_seen(node) else None

    def look(self, name: str) -> tuple[str | None, float | None, LookFailure | None]:
        """The look at a set's tags that runs, when the next is due, and how the last failed."""
        freshness, head = self._known.freshness, self._known.membership.head(name)
        due = None if head is None else freshness.due(head)
        return freshness.task(name), due, freshness.failure(name)

    def refreshed(self, name: str) -> Refreshed:
        """What is known of a set's tags."""
        return self._known.freshness.known(name)

    def drift(self, name: str) -> dict[str, Counter[str]]:
        """By tag of a set: the digests that its nodes have, and how many have each."""
        return self._known.shown(name)

    def memories(
        self, name: str, counts: Callable[[str], bool]
    ) -> Iterator[tuple[str, NodeMemory]]:
        """What is remembered of those nodes of a set that count, beyond what is on them."""
        for node in filter(counts, self._known.records.remembered(name)):
            if memory := self._known.records.memory(name, node):
                yield node, memory

    def turn(self, name: str, condition: SetCondition) -> Turn | None:
        """Since when a condition is as it is; None where no leader has judged the set yet."""
        return self._turns.get(name, condition)

    def window(self, name: str, now: float) -> Window | None:
        """The windows of a set; None of one that may always pull."""
        head = self._known.membership.head(name)
        return None if head is None else self._known.windows.of(head, now)

    def repair(self, name: str) -> str | None:
        """The task that repairs a set at this moment."""
        return self._known.repairs.task(name)
