"""Core NATS without its store: what an agent uses, who has no right to speak with JetStream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from common.bus.connection import Connection
from common.bus.errors import NoJetStream
from common.bus.session import Session

if TYPE_CHECKING:
    from common.bus.connection import OnState
    from common.bus.settings import BusSettings, Server


class CoreNats(Connection[Session]):
    """``Connection`` over TCP."""

    @classmethod
    async def connect(cls, settings: BusSettings, on_state: OnState | None = None) -> Self:
        """Build one and ``establish`` it."""
        bus = cls(settings, on_state)
        await bus.establish()
        return bus

    async def _open(self, server: Server, within: float) -> Session:
        return await Session.dial(self._settings, server, within)

    async def _greet(self) -> None:
        if self.session.lacks_jetstream:
            raise jetstream_off(self.state_text)


def jetstream_off(state: str) -> NoJetStream:
    """Say that a server cannot store; ``state`` is where we are connected to."""
    return NoJetStream(f"{state}, but its JetStream is off: start nats-server with -js")
