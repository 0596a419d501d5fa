"""The parts of the bus that an agent uses, each a Protocol; ``common.bus.Bus`` is all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from common.bus import OwnInbox, Received, Subscription


class Publisher(Protocol):
    """Sends messages at most once, without waiting for anybody to receive them."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected; nothing is kept for a later connection."""


class Subscriber(Protocol):
    """Delivers messages that others publish."""

    async def subscribe(self, subject: str, handler: Callable[[Received], None]) -> Subscription:
        """Call ``handler`` for each message on a subject until the subscription is closed."""


class Calls(Protocol):
    """Asks others, each answer on an inbox of the agent's own."""

    async def wait_connected(self) -> None:
        """Return as soon as there is a connection."""

    def open_inbox(self, inbox: str) -> OwnInbox:
        """Have answers to calls come to ``<inbox>.<n>``, until it is closed."""


class AgentBus(Publisher, Subscriber, Calls, Protocol):
    """Everything that one agent uses of the bus."""
