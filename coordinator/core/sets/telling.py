"""What agents are told: the references that their nodes are to have, one message a change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from msgspec.structs import replace

from coordinator.core.sets.decisions import AskInventory, SendPinned, SendWanted
from coordinator.core.sets.diagnosis import AllKnown
from coordinator.core.sets.events import AgentSaid
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.membership import Pinned

TOLD_AT_A_TIME: Final = 200
"""Agents that are told of a change of sets in one go."""


class Telling:
    """Nodes whose agents may have to be told of other references."""

    def __init__(self, known: AllKnown) -> None:
        self._known = known
        self._untold: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._untold)

    def mark(self, nodes: Iterable[str]) -> None:
        """Have these told, in this order, each once."""
        self._untold.update(dict.fromkeys(nodes))

    def forget(self, node: str) -> None:
        """The node is gone."""
        self._untold.pop(node, None)

    def see_pin(self, head: SetHead, now: float) -> float | None:
        """Have agents told that the pin of a set has ended; when it will, where it still holds."""
        if head.pin is None or head.pin.until is None:
            return None
        if head.pin.holds(now):
            return head.pin.until / 1000
        if self._known.membership.end_pin(head.name):
            self.mark(sorted(self._known.membership.of_set.get(head.name, ())))
        return None

    def compare(self, said: AgentSaid) -> AskInventory | None:
        """See whether an agent knows what it is to look for, and this core what it has found."""
        state, wanted = said.inventory, self._known.membership.wanted(said.node)
        if state is None:
            return None
        if self._new_pins(said) is not None:
            self._untold[said.node] = None
        if state.generation is None and not wanted.references:
            return None
        if state.generation != wanted.generation:
            self._untold[said.node] = None
        elif state.hash is not None and not self._known.warmth.is_current(
            said.node, said.instance, state
        ):
            return AskInventory(said.node, said.instance)
        return None

    def some(self) -> list[SendWanted | SendPinned]:
        """What the next agents are to be sent, of those that know other references."""
        nodes = list(islice(self._untold, TOLD_AT_A_TIME))
        for node in nodes:
            del self._untold[node]
        return [message for node in nodes for message in self._messages(node)]

    def _messages(self, node: str) -> Iterator[SendWanted | SendPinned]:
        said, wanted = self._known.said.get(node), self._known.membership.wanted(node)
        if said is None or said.inventory is None:
            return
        told = said.inventory
        if told.generation != wanted.generation and (told.generation or wanted.references):
            told = replace(told, generation=wanted.generation, hash=None)
            yield SendWanted(node, said.instance, wanted)
        if (pinned := self._new_pins(said)) is not None:
            told = replace(told, pins=pinned.hash)
            yield SendPinned(node, said.instance, pinned)
        self._known.said[node] = dataclasses.replace(said, inventory=told)

    def _new_pins(self, said: AgentSaid) -> Pinned | None:
        """What an agent is to pin, where it was told of something else."""
        if said.inventory is None or not said.can_pin:
            return None
        pinned, told = self._known.membership.pinned(said.node), said.inventory.pins
        return None if told == pinned.hash or not (told or pinned.references) else pinned
