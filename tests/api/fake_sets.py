"""Warm sets of the port's promises and nothing else: how their nodes are is made by hand."""

# ruff: noqa: D102 -- the port says what each method is

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from common.text import Text
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.standing import SetCondition, SetNode, Tally
from coordinator.core.sets.windows import Window
from coordinator.core.task import Creator
from coordinator.engine.set_records import head_of, is_so
from coordinator.port import NoSuchSet, SetChanged, TooManySets
from coordinator.set_port import PutSet, SetOrder
from coordinator.snapshots import SetLooks, SetNodeSnapshot, SetSnapshot, StoredSet

PUT_AT = 1_768_576_354_000
"""2026-01-16T15:12:34Z."""
MOST = 3


class FakeSets:
    """``port.Sets`` over dictionaries."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredSet] = {}
        self.states: dict[str, dict[str, SetNode]] = {}
        """By set and node: what a test says of it."""
        self.repairs: dict[str, str] = {}
        self.windows: dict[str, Window] = {}
        self.looks: dict[str, SetLooks] = {}
        self.digests: dict[str, dict[str, int]] = {}
        """By image: what nodes show of it."""
        self.refreshed: list[str] = []
        self._revision = 0
        self.no_gates: Text | None = None
        self.gate_trouble: Text | None = None

    def names(self) -> Sequence[str]:
        return sorted(self.stored)

    def snapshot(self, name: str) -> SetSnapshot | None:
        stored = self.stored.get(name)
        if stored is None:
            return None
        tally = Tally()
        for node in self.states.get(name, {}).values():
            tally.count(node)
        since = dict.fromkeys(SetCondition, PUT_AT + 1)
        trouble = None if stored.head.gate is None else self.gate_trouble
        repair, window = self.repairs.get(name), self.windows.get(name)
        return SetSnapshot(stored, tally, since, repair, trouble, window, self.looks.get(name))

    def node_names(self, name: str, phases: Collection[str] = ()) -> Sequence[str]:
        states = self.states.get(name, {})
        return sorted(n for n, node in states.items() if not phases or node.phase in phases)

    def node(self, name: str, node: str) -> SetNodeSnapshot | None:
        state = self.states.get(name, {}).get(node)
        if state is None:
            return None
        images = self.stored[name].head.spec.work
        return SetNodeSnapshot(state, {image.name: (True, "sha256:1") for image in images})

    async def find(self, name: str) -> StoredSet | None:
        return self.stored.get(name)

    async def put(self, order: SetOrder, creator: Creator | None, match: int | None) -> PutSet:
        old = self.stored.get(order.name)
        if match is not None and match != (0 if old is None else old.revision):
            raise SetChanged
        if old is None and len(self.stored) >= MOST:
            raise TooManySets(MOST)
        if old is not None and is_so(old.head, order):
            return PutSet(old, is_new=False)
        self._revision += 1
        head = head_of(old, order, creator, PUT_AT / 1000)
        self.stored[order.name] = StoredSet(head, self._revision)
        return PutSet(self.stored[order.name], is_new=old is None)

    async def refresh(self, name: str) -> None:
        if name not in self.stored:
            raise NoSuchSet
        self.refreshed.append(name)

    def drift(self, name: str) -> Mapping[str, Mapping[str, int]]:
        images = self.stored[name].head.spec.images
        return {image: self.digests.get(image, {}) for image in images if "@" not in image}

    async def delete(self, name: str, match: int | None) -> None:
        old = self.stored.get(name)
        if old is None:
            raise NoSuchSet
        if match is not None and match != old.revision:
            raise SetChanged
        del self.stored[name]


def _is_so(head: SetHead, order: SetOrder) -> bool:
    wanted = (order.spec, order.paused, order.schedule, order.refresh, order.gate)
    return (head.spec, head.paused, head.schedule, head.refresh, head.gate) == wanted
