"""Which nodes are in which sets, by their labels, and which references each is to have for that.

Nodes that are in the same sets share one list of references. Labels that no set asks about make no
difference, so that thousands of nodes are looked at once for each kind of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from common.inventory import generation_of, pins_hash
from coordinator.core.selection import LabelQuery
from coordinator.core.sets.head import SetHead

Names = tuple[str, ...]
"""Sets, sorted by name."""
MOST_KINDS: Final = 20_000
"""Kinds of nodes that are remembered."""


class Wanted:
    """The references that some nodes are to have: sorted, each once."""

    __slots__ = ("_positions", "_rows", "generation", "references")

    def __init__(self, references: Iterable[str]) -> None:
        self.references: tuple[str, ...] = tuple(sorted(set(references)))
        self.generation: str = generation_of(self.references)
        self._positions = {name: place for place, name in enumerate(self.references)}
        self._rows: dict[tuple[str, ...], tuple[int, ...] | None] = {}

    def position(self, reference: str) -> int | None:
        """Where a reference stands in the list."""
        return self._positions.get(reference)

    def positions(self, references: tuple[str, ...]) -> tuple[int, ...] | None:
        """Where several do; None where one is missing."""
        if references not in self._rows:
            found = [self._positions.get(reference) for reference in references]
            known = tuple(place for place in found if place is not None)
            self._rows[references] = known if len(known) == len(references) else None
        return self._rows[references]


NOTHING: Final = Wanted(())


class Pinned:
    """The references that some nodes are to have pinned: the longest claimed first, each once."""

    __slots__ = ("hash", "references")

    def __init__(self, references: Iterable[str]) -> None:
        self.references: tuple[str, ...] = tuple(dict.fromkeys(references))
        self.hash: str = pins_hash(self.references)


NO_PINS: Final = Pinned(())


class _SetQuery:
    """A set and what it asks of labels."""

    def __init__(self, head: SetHead) -> None:
        self.head = head
        self.references = head.references
        self.query = LabelQuery(head.spec)
        self.labels = {
            *head.spec.node_selector,
            *(requirement.key for requirement in head.spec.match_expressions),
        }


class Membership:
    """Sets and nodes. ``of_node`` and ``of_set`` are for reading."""

    def __init__(self) -> None:
        self._sets: dict[str, _SetQuery] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        self._keys: Names = ()
        """Labels that any set asks about."""
        self._kinds: dict[tuple[str | None, ...], Names] = {}
        """The sets of nodes, by the values of these labels."""
        self._wanted: dict[Names, Wanted] = {}
        self._ended_pins: set[str] = set()
        """Sets whose pins have come to their end."""
        self._pinned: dict[Names, Pinned] = {}
        self.of_node: dict[str, Names] = {}
        self.of_set: defaultdict[str, set[str]] = defaultdict(set)

    @property
    def names(self) -> AbstractSet[str]:
        """Every set."""
        return self._sets.keys()

    def head(self, name: str) -> SetHead | None:
        """A set as it is stored."""
        asked = self._sets.get(name)
        return None if asked is None else asked.head

    def references(self, name: str) -> tuple[str, ...]:
        """What a set is about."""
        return self._sets[name].references

    def is_seen(self, node: str) -> bool:
        """Whether it is known which sets a node is in."""
        return node in self._labels

    def wanted(self, node: str) -> Wanted:
        """What a node is to have."""
        names = self.of_node.get(node, ())
        if not names:
            return NOTHING
        if names not in self._wanted:
            every = [reference for name in names for reference in self._sets[name].references]
            self._wanted[names] = Wanted(every)
        return self._wanted[names]

    def pinned(self, node: str) -> Pinned:
        """What of that is to be pinned."""
        names = self.of_node.get(node, ())
        if names not in self._pinned:
            pinning = [self._sets[name] for name in names if self._pins(name)]
            pinning.sort(key=lambda each: (each.head.created_at, each.head.name))
            every = [reference for each in pinning for reference in each.references]
            self._pinned[names] = Pinned(every) if every else NO_PINS
        return self._pinned[names]

    def _pins(self, name: str) -> bool:
        return self._sets[name].head.pin is not None and name not in self._ended_pins

    # ── what changes ──

    def end_pin(self, name: str) -> bool:
        """The pin of a set has come to its end; whether that is news."""
        if name not in self._sets or not self._pins(name):
            return False
        self._ended_pins.add(name)
        self._pinned.clear()
        return True

    def put(self, head: SetHead) -> list[str]:
        """A set is there, or is another one; the nodes whose wanted references may be others."""
        before = set(self.of_set.get(head.name, ()))
        self._sets[head.name] = _SetQuery(head)
        self._ended_pins.discard(head.name)
        return self._anew(before, head.name)

    def note(self, head: SetHead) -> None:
        """A set is as it was in all that is of concern here."""
        self._sets[head.name].head = head

    def drop(self, name: str) -> list[str]:
        """A set is there no more; the nodes that were in it."""
        before = self.of_set.pop(name, set())
        self._sets.pop(name, None)
        self._ended_pins.discard(name)
        return self._anew(before, name)

    def _anew(self, before: set[str], name: str) -> list[str]:
        self._keys = tuple(sorted({key for asked in self._sets.values() for key in asked.labels}))
        self._kinds.clear()
        self._wanted.clear()
        self._pinned.clear()
        for node, labels in self._labels.items():
            self._place(node, labels)
        return sorted(before | self.of_set.get(name, set()))

    def see(self, node: str, labels: Mapping[str, str]) -> bool:
        """A node is there, or has other labels; whether it is in other sets by that."""
        self._labels[node] = labels
        return self._place(node, labels)

    def lose(self, node: str) -> Names:
        """A node has ceased to exist; the sets that it was in."""
        self._labels.pop(node, None)
        names = self.of_node.pop(node, ())
        for name in names:
            self.of_set[name].discard(node)
        return names

    def _place(self, node: str, labels: Mapping[str, str]) -> bool:
        before, now = self.of_node.get(node, ()), self._sets_of(labels)
        if before == now:
            return False
        for name in set(before).difference(now):
            self.of_set[name].discard(node)
        for name in set(now).difference(before):
            self.of_set[name].add(node)
        self.of_node[node] = now
        return True

    def _sets_of(self, labels: Mapping[str, str]) -> Names:
        kind = tuple(labels.get(key) for key in self._keys)
        names = self._kinds.get(kind)
        if names is None:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            matching = (n for n, asked in self._sets.items() if asked.query.matches(labels))
            names = self._kinds[kind] = tuple(sorted(matching))
        return names
