"""Receives commands and turns them into events for the ledger.

A message that cannot be decoded, or that may not come this way, is rejected: observers are told,
whoever waits for an answer gets a refusal, and nothing else happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from agent.bus import Publisher, Subscriber
from agent.events import CommandReceived
from agent.notices import MessageRejected, Notice, ReplyDropped
from common import subjects
from common.bus import NotConnected, Received, Subscription
from common.messages import NOT_DECODABLE, Command, Reply, Report
from common.reasons import clip
from common.subjects import AgentAddress


class CommandBus(Publisher, Subscriber, Protocol):
    """What the inbox uses of the bus: commands in, replies out."""


class Inbox:
    """One agent's subscriptions. Nothing is received before ``open`` and after ``close``."""

    def __init__(
        self,
        *,
        bus: CommandBus,
        address: AgentAddress,
        emit: Callable[[CommandReceived], None],
        notify: Callable[[Notice], None],
    ) -> None:
        self._bus = bus
        self._command_subject = subjects.command(*address)
        self._emit = emit
        self._notify = notify
        self._decode: Callable[[bytes], Command] = msgspec.json.Decoder(Command).decode
        self._subscriptions: list[Subscription] = []

    async def open(self) -> None:
        """Subscribe to this instance's own commands and to what is sent to all agents."""
        for subject, handler in (
            (self._command_subject, self._command),
            (subjects.REPORT, self._broadcast),
        ):
            self._subscriptions.append(await self._bus.subscribe(subject, handler))

    def close(self) -> None:
        """Take all subscriptions back."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    def reply(self, to: str, reply: Reply) -> None:
        """Answer a command. Without a connection the answer is dropped: nobody waits for it."""
        try:
            self._bus.publish(to, msgspec.json.encode(reply))
        except NotConnected:
            self._notify(ReplyDropped(to))

    def _command(self, received: Received) -> None:
        try:
            command = self._decode(received.data)
        except NOT_DECODABLE as error:
            self._reject("command", received, str(error))
        else:
            self._emit(CommandReceived(command, received.reply))

    def _broadcast(self, received: Received) -> None:
        try:
            command = self._decode(received.data)
        except NOT_DECODABLE as error:
            self._reject("broadcast", received, str(error))
            return
        if isinstance(command, Report):
            self._emit(CommandReceived(command))
        else:
            self._reject("broadcast", received, "only a report may be broadcast")

    def _reject(self, kind: str, received: Received, why: str) -> None:
        self._notify(MessageRejected(kind, received.subject, clip(why)))
        if received.reply:
            refusal = f"this agent does not understand the command: {why}"
            self.reply(received.reply, Reply(accepted=False, refusal=clip(refusal)))
