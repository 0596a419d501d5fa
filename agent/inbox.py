"""Takes in what the leader sends, and turns it into events. What is not understood is poison.

Poison is counted, logged once for each kind, answered if an answer is wanted,
and otherwise without effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from agent.events import CommandReceived
from agent.metrics import Metrics
from common import subjects
from common.bus import NotConnected, Received, Subscription
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE, Command, Reply, Report
from common.subjects import AgentAddress

log = Log(__name__)


class Line(Protocol):
    """What the inbox needs of the bus."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected."""

    async def subscribe(self, subject: str, handler: Callable[[Received], None]) -> Subscription:
        """Have each message on a subject handled."""


class Inbox:
    """One agent's ear. Nothing is heard before ``open`` and after ``close``."""

    def __init__(
        self,
        *,
        line: Line,
        address: AgentAddress,
        metrics: Metrics,
        tell: Callable[[CommandReceived], None],
    ) -> None:
        self._line = line
        self._command_subject = subjects.command(*address)
        self._metrics = metrics
        self._tell = tell
        self._decode: Callable[[bytes], Command] = msgspec.json.Decoder(Command).decode
        self._complaints = RateLimitedLog(log)
        self._subscriptions: list[Subscription] = []

    async def open(self) -> None:
        """Hear this instance's own commands, and what is said to all agents."""
        for subject, handler in (
            (self._command_subject, self._command),
            (subjects.REPORT, self._broadcast),
        ):
            self._subscriptions.append(await self._line.subscribe(subject, handler))

    def close(self) -> None:
        """Hear nothing more."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    def answer(self, to: str, reply: Reply) -> None:
        """Answer a command; without a connection there is nobody left who waits for it."""
        try:
            self._line.publish(to, msgspec.json.encode(reply))
        except NotConnected:
            log.debug("an answer is not sent", to=to)

    def _command(self, received: Received) -> None:
        try:
            command = self._decode(received.data)
        except NOT_DECODABLE as error:
            self._poison("command", received, str(error))
        else:
            self._tell(CommandReceived(command, received.reply))

    def _broadcast(self, received: Received) -> None:
        try:
            command = self._decode(received.data)
        except NOT_DECODABLE as error:
            self._poison("broadcast", received, str(error))
            return
        if isinstance(command, Report):
            self._tell(CommandReceived(command))
        else:
            self._poison("broadcast", received, "only a report may be broadcast")

    def _poison(self, kind: str, received: Received, why: str) -> None:
        self._metrics.poison.labels(kind).inc()
        self._complaints.warning(
            kind, "a message is not understood", subject=received.subject, why=why
        )
        if received.reply:
            refusal = f"this agent does not understand the command: {why}"
            self.answer(received.reply, Reply(accepted=False, refusal=refusal))
