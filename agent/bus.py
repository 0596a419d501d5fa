"""The parts of the bus that an agent uses, each a Protocol; ``common.bus.Bus`` is all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from common.bus import Received, Subscription


class Publisher(Protocol):
    """Sends messages at most once, without waiting for anybody to receive them."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected; nothing is kept for a later connection."""


class Subscriber(Protocol):
    """Delivers messages that others publish."""

    async def subscribe(self, subject: str, handler: Callable[[Received], None]) -> Subscription:
        """Call ``handler`` for each message on a subject until the subscription is closed."""


class OutcomeStore(Protocol):
    """Keeps one outcome for each attempt; the first one that is written stays."""

    async def wait_connected(self) -> None:
        """Return as soon as there is a connection."""

    async def store(self, subject: str, payload: bytes, *, expect_last: int | None) -> int:
        """Append a record if the subject's last sequence is the expected one; its sequence.

        Raises Conflict where it is another, and BusError where the store cannot be reached or
        refuses.
        """


class AgentBus(Publisher, Subscriber, OutcomeStore, Protocol):
    """Everything that one agent uses of the bus."""
