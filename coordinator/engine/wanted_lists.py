"""What agents are sent about warm sets: the references their nodes are to have, and questions."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Protocol

import msgspec

from common import subjects
from common.bus import NotConnected
from common.inventory import Ask, InventoryQuestion, wants
from coordinator.core.sets.decisions import AskInventory, SendWanted

KEPT_LISTS: Final = 64
"""Encoded lists of references that are kept for the next node."""
_ASK: Final[InventoryQuestion] = Ask()


class SetBus(Protocol):
    """What is needed of the bus."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected."""


class WantedLists:
    """Sends lists and questions; whatever is lost shows in the agent's next heartbeat."""

    def __init__(self, bus: SetBus) -> None:
        self._bus = bus
        self._lists: dict[str, list[bytes]] = {}

    def tell(self, command: SendWanted) -> None:
        """Send an agent the references that its node is to have."""
        payloads = self._lists.get(command.wanted.generation)
        if payloads is None:
            payloads = [msgspec.json.encode(want) for want in wants(command.wanted.references)]
            while len(self._lists) >= KEPT_LISTS:
                del self._lists[next(iter(self._lists))]
            self._lists[command.wanted.generation] = payloads
        for payload in payloads:
            self._send(command.node, command.instance, payload)

    def ask(self, command: AskInventory) -> None:
        """Have an agent say all that is there."""
        self._send(command.node, command.instance, msgspec.json.encode(_ASK))

    def _send(self, node: str, instance: str, payload: bytes) -> None:
        with suppress(NotConnected):
            self._bus.publish(subjects.query(node, instance), payload)
