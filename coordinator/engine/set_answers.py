"""What is so of warm sets, for whoever asks (``port.Sets``)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from coordinator.core.sets.head import SetHead
from coordinator.core.sets.records import NodeMemory
from coordinator.core.sets.view import SetView
from coordinator.engine.set_looks import looks_of
from coordinator.gate_support import GateSupport
from coordinator.snapshots import SetNodeSnapshot, SetSnapshot, StoredSet


class SetAnswers:
    """Answers from what is stored and what the sets' core knows."""

    def __init__(self, core: SetView, clock: Callable[[], float], gates: GateSupport) -> None:
        self._view = core
        self._clock = clock
        self._gates = gates
        self._stored: dict[str, StoredSet] = {}
        self._gone: set[str] = set()
        """Names under which a tombstone is the newest record."""

    def cold(self, name: str) -> Sequence[str]:
        """The nodes of a set that are not warm."""
        return self._view.cold(name)

    def names(self) -> Sequence[str]:
        """All sets, ordered by name."""
        return sorted(self._stored)

    def head(self, name: str) -> SetHead | None:
        """What was put; None for a set that is not known, whether it is gone or cannot be read."""
        stored = self._stored.get(name)
        return None if stored is None else stored.head

    def is_gone(self, name: str) -> bool:
        """Whether it is known that a set was deleted, and that there is none of the name since."""
        return name in self._gone

    def snapshot(self, name: str) -> SetSnapshot | None:
        """What is known of a set; None for an unknown one."""
        stored = self._stored.get(name)
        if stored is None:
            return None
        now = self._clock()
        tally = self._view.tally(name, now)
        since = {
            each: int(turn.since * 1000)
            for each, state in tally.conditions().items()
            if (turn := self._view.turn(name, each)) is not None and turn.holds == state.holds
        }
        trouble = None if stored.head.gate is None else self._gates.trouble
        window, looks = self._view.window(name, now), looks_of(self._view, stored.head)
        repair = self._view.repair(name)
        return SetSnapshot(stored, tally, since, repair, trouble, window, looks)

    def drift(self, name: str) -> Mapping[str, Mapping[str, int]]:
        """By image of a set that has a tag: the digests that its nodes show; see the port."""
        stored, shown = self._stored.get(name), self._view.drift(name)
        work = () if stored is None else stored.head.spec.work
        return {each.name: shown[each.reference] for each in work if each.reference in shown}

    def memories(
        self, name: str, counts: Callable[[str], bool]
    ) -> Iterator[tuple[str, NodeMemory]]:
        """What is to outlive this coordinator of those nodes of a set that count."""
        return self._view.memories(name, counts)

    def node_names(self, name: str, phases: Collection[str] = ()) -> Sequence[str]:
        """The nodes of a set (in one of these phases), ordered by name."""
        nodes = self._view.nodes(name)
        if not phases:
            return nodes
        now = self._clock()
        return [node for node in nodes if self._view.node(name, node, now).phase in phases]

    def node(self, name: str, node: str) -> SetNodeSnapshot | None:
        """One node of a set; None where it is none."""
        stored = self._stored.get(name)
        if stored is None or name not in self._view.sets_of(node):
            return None
        digests = {
            image.name: self._view.cell(node, image.reference) for image in stored.head.spec.work
        }
        work = stored.head.spec.work if stored.head.pin else ()
        found = {image.name: self._view.pin(node, image.reference) for image in work}
        pins = {image: pin for image, pin in found.items() if pin is not None}
        return SetNodeSnapshot(self._view.node(name, node, self._clock()), digests, pins)

    def images(self, name: str) -> Collection[str]:
        """The references of a set."""
        return [image.reference for image in self._stored[name].head.spec.work]

    def sets_with(self, reference: str) -> Collection[str]:
        """The sets that have a reference."""
        return {
            name
            for name, stored in self._stored.items()
            if any(image.reference == reference for image in stored.head.spec.work)
        }

    def sets_of(self, node: str) -> Sequence[str]:
        """The sets that a node is in."""
        return self._view.sets_of(node)

    def generation(self, node: str) -> str | None:
        """The name of the list of references that a node is to have; None: not known yet."""
        return self._view.generation(node)

    def wanting(self, node: str) -> Mapping[str, list[str]]:
        """The references that a node is to have, each with the sets that say so."""
        wanting: dict[str, list[str]] = {}
        for name in self._view.sets_of(node):
            stored = self._stored.get(name)
            for image in () if stored is None else stored.head.spec.work:
                wanting.setdefault(image.reference, []).append(name)
        return wanting

    def inventory(self, node: str) -> Iterator[tuple[str, bool]]:
        """The references that a node is to have, and whether each is there by its own word."""
        for reference in self._view.wanted(node):
            cell = self._view.cell(node, reference)
            yield reference, cell is not None and cell[0]

    def cell(self, node: str, reference: str) -> tuple[bool, str | None] | None:
        """Whether a wanted reference is on a node, and its digest; None where nobody said."""
        return self._view.cell(node, reference)
