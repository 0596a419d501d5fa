"""Core NATS over a connection that is made again for ever: publish, subscribe, call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from common.bus.settings import BusSettings

OnState = Callable[[bool, str], None]
"""Told ``(connected, why)`` at each change, and at each failed try; must not block or raise."""


class Received(NamedTuple):
    """A message as a handler gets it. ``reply`` is empty when no answer is wanted."""

    subject: str
    data: bytes
    reply: str


Handler = Callable[[Received], None]
"""Called in the event loop, one message at a time: must be fast. What it raises is logged and
counted (``handler_faults``), never fatal."""


class Subscription:
    """Interest in a subject; survives reconnections until closed."""

    def close(self) -> None:
        """Take no more messages, those included that wait in memory."""
        raise NotImplementedError


class Connection:
    """One program's connection. Build it with ``connect``, keep ``run`` running."""

    handler_faults: int = 0
    """How many messages made a handler raise."""

    @classmethod
    async def connect(cls, settings: BusSettings, on_state: OnState | None = None) -> Self:
        """Wait until a server takes us, however long it is away.

        Raises BusRefused (wrong password or token, TLS) or NoJetStream as soon as a server says
        so; either text is one line.
        """
        raise NotImplementedError

    async def run(self) -> None:
        """Connect again whenever the connection ends, until ``close``.

        A task of the program's task group; should it ever fail, the program must end with it.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Send what was published (at most a second), then disconnect; ``run`` returns."""
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """Whether a server has us at this moment, as far as is known (up to 9 s late)."""
        raise NotImplementedError

    @property
    def state_text(self) -> str:
        """The state in words: where we are connected to, or why not."""
        raise NotImplementedError

    async def wait_connected(self) -> None:
        """Return as soon as ``connected`` is true."""
        raise NotImplementedError

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send now or raise NotConnected; never kept for a later connection (design D3).

        Sent means handed to the network, in order. Over ``MAX_MESSAGE_BYTES``: ValueError.
        """
        raise NotImplementedError

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Have ``handler`` called for each message on ``subject`` (wildcards allowed).

        Returns once the server knows of it, or at once while not connected.
        """
        raise NotImplementedError

    async def call(self, subject: str, payload: bytes, timeout: float) -> bytes:  # noqa: ASYNC109
        """Send and wait ``timeout`` seconds for the one answer.

        Raises NoResponders (nobody listens; at once), TimedOut, or NotConnected (not sent, or the
        connection ended while waiting).
        """
        raise NotImplementedError

    def ask(
        self,
        subject: str,
        payload: bytes,
        timeout: float,
        on_answer: Callable[[bytes | Exception], None],
    ) -> None:
        """As ``call``, for thousands at once: the answer, or one of its errors, goes to a callback.

        Raises NotConnected when it cannot be sent (the callback is then not called).
        """
        raise NotImplementedError

    async def ping(self, timeout: float) -> float:  # noqa: ASYNC109
        """Hear oneself through the server: the seconds of the round trip.

        Raises TimedOut or NotConnected: then silence of others says nothing about them (D5).
        """
        raise NotImplementedError
