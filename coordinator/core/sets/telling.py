"""What agents are told: the references that their nodes are to have, one message a change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from itertools import islice
from typing import Final

from msgspec.structs import replace

from coordinator.core.sets.decisions import AskInventory, SendWanted
from coordinator.core.sets.diagnosis import AllKnown
from coordinator.core.sets.events import AgentSaid

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

    def compare(self, said: AgentSaid) -> AskInventory | None:
        """See whether an agent knows what it is to look for, and this core what it has found."""
        state, wanted = said.inventory, self._known.membership.wanted(said.node)
        if state is None or (state.generation is None and not wanted.references):
            return None
        if state.generation != wanted.generation:
            self._untold[said.node] = None
        elif state.hash is not None and not self._known.warmth.is_current(
            said.node, said.instance, state
        ):
            return AskInventory(said.node, said.instance)
        return None

    def some(self) -> list[SendWanted]:
        """What the next agents are to be sent, of those that know other references."""
        nodes = list(islice(self._untold, TOLD_AT_A_TIME))
        for node in nodes:
            del self._untold[node]
        return [message for node in nodes if (message := self._message(node)) is not None]

    def _message(self, node: str) -> SendWanted | None:
        said, wanted = self._known.said.get(node), self._known.membership.wanted(node)
        if said is None or said.inventory is None:
            return None
        generation = said.inventory.generation
        if generation == wanted.generation or (generation is None and not wanted.references):
            return None
        told = replace(said.inventory, generation=wanted.generation, hash=None)
        self._known.said[node] = dataclasses.replace(said, inventory=told)
        return SendWanted(node, said.instance, wanted)
