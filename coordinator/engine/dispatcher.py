"""Commands to agents: core NATS messages on one connection, so that they keep their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sized
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from common import subjects
from common.bus import BusError, NoResponders, NotConnected
from common.logs import Log
from common.messages import NOT_DECODABLE, AssignedImage, Cancel, Reply, Report
from common.messages import Assign as AssignMessage
from common.reasons import Reason
from coordinator.access.callers import AuthorityAwayError
from coordinator.core.commands import AskAgent, Assign, CancelWork
from coordinator.core.events import (
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    Event,
)
from coordinator.core.task import PullPolicy
from coordinator.engine.task_credentials import CannotBeGivenError, SealedWork
from coordinator.port import StoreAway

log = Log(__name__)

ANSWER_SECONDS = 5.0
"""How long an agent may take to say whether it accepts; a refusal or none is asked again."""
REPORTING_NODES = 1000
"""With more nodes in flight progress comes more seldom, so that reports stay at 1,000 a second."""


SEAL_SECONDS = 15.0
"""How long it may take to make ready what goes along, whoever is asked for it meanwhile."""


class Commands(Protocol):
    """What is needed of the bus; errors as there."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected."""

    def ask(
        self,
        subject: str,
        payload: bytes,
        within: float,
        on_answer: Callable[[bytes | BusError], None],
    ) -> None:
        """Send, and have the answer or its error given to a callback. Raises NotConnected."""


class Seals(Protocol):
    """Who makes ready what goes along with an assignment, for the agent alone."""

    async def seal(self, command: Assign) -> SealedWork:
        """The credentials. Raises CannotBeGivenError, StoreAway and AuthorityAwayError."""


NOTHING_SEALED = SealedWork()


@dataclass(eq=False, slots=True)
class _Sealing:
    """What is being made ready for an assignment, which may be cancelled meanwhile."""

    command: Assign
    is_cancelled: bool = False

    def is_meant_by(self, cancel: CancelWork) -> bool:
        key = self.command.key
        return (
            (key.node, self.command.instance, key.task)
            == (cancel.node, cancel.instance, cancel.task)
        ) and cancel.attempt in {None, key.attempt}


_encode = msgspec.json.Encoder().encode
_decode_reply = msgspec.json.Decoder(Reply).decode


def _not_given(command: Assign, why: CannotBeGivenError) -> Event:
    key, instance = command.key, command.instance
    if why.may_pass:
        return AssignmentUnanswered(key, instance, why=why.text, reason=Reason.UNAUTHORIZED)
    return AssignmentRefused(key, instance, never=why.text)


class Dispatcher:
    """Sends what the core wants sent, and brings the answers back as events."""

    def __init__(
        self,
        bus: Commands,
        epoch: int,
        feed: Callable[[Event], None],
        in_flight: Sized,
        deposed: Callable[[int], None],
        clock: Callable[[], float],
        on_accepted: Callable[[float], None],
        seals: Seals,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """``in_flight``: the attempts, kept by the core; ``deposed`` is told a newer epoch.

        ``on_accepted`` is told after how many seconds an agent has accepted.
        """
        self._bus = bus
        self._epoch = epoch
        self._feed = feed
        self._in_flight = in_flight
        self._deposed = deposed
        self._on_accepted = on_accepted
        self._clock = clock
        self._seals = seals
        self._spawn = spawn
        self._sealing: set[_Sealing] = set()
        self._open = 0
        self._nothing_open = asyncio.Event()
        self._nothing_open.set()

    async def answered(self) -> None:
        """Wait until no answer is awaited any more."""
        await self._nothing_open.wait()

    def report(self) -> None:
        """Ask every agent to say now what it holds."""
        self._bus.publish(subjects.REPORT, _encode(Report(epoch=self._epoch)))

    def ask(self, command: AskAgent) -> None:
        """Have one agent say now what it holds."""
        try:
            subject = subjects.command(command.node, command.instance)
            self._bus.publish(subject, _encode(Report(epoch=self._epoch)))
        except NotConnected:
            log.debug("not connected: nobody is asked")

    def assign(self, command: Assign) -> None:
        """Send an assignment; answered by an event, at the latest after ``ANSWER_SECONDS``.

        Credentials that its task names are looked up first.
        """
        if command.spec.has_credentials:
            self._begin()
            self._spawn(self._assign_sealed(command))
        else:
            self._send(command, NOTHING_SEALED)

    async def _assign_sealed(self, command: Assign) -> None:
        sealing = _Sealing(command)
        self._sealing.add(sealing)
        try:
            async with asyncio.timeout(SEAL_SECONDS):
                work = await self._seals.seal(command)
        except CannotBeGivenError as why:
            log.info("work cannot be given", task=command.key.task, node=command.key.node, why=why)
            self._feed(_not_given(command, why))
        except (StoreAway, AuthorityAwayError) as why:
            log.warning("credentials cannot be looked up", task=command.key.task, why=why)
            self._feed(AssignmentUnanswered(command.key, command.instance, why=why.text))
        except TimeoutError:
            log.warning("credentials take too long", task=command.key.task)
            self._feed(AssignmentUnanswered(command.key, command.instance))
        except Exception as why:  # noqa: BLE001 -- one task's fault ends no other's work
            log.failure("credentials cannot be sealed", why, task=command.key.task)
            self._feed(AssignmentUnanswered(command.key, command.instance))
        else:
            if sealing.is_cancelled:  # sent now it would come after its cancel
                self._feed(AssignmentUnanswered(command.key, command.instance))
            else:
                self._send(command, work)
        finally:
            self._sealing.discard(sealing)
            self._end()

    def _begin(self) -> None:
        self._open += 1
        self._nothing_open.clear()

    def _end(self) -> None:
        self._open -= 1
        if not self._open:
            self._nothing_open.set()

    def _send(self, command: Assign, work: SealedWork) -> None:
        key, instance = command.key, command.instance
        message = AssignMessage(
            epoch=self._epoch,
            task=key.task,
            attempt=key.attempt,
            images=[
                AssignedImage(
                    name=image.name,
                    reference=image.reference,
                    credentials=work.keys.get(image.reference, ""),
                )
                for image in command.images
            ],
            always_pull=command.spec.image_pull_policy is PullPolicy.ALWAYS,
            pull_timeout_seconds=command.spec.pull_timeout_seconds,
            progress_seconds=max(1.0, len(self._in_flight) / REPORTING_NODES),
            sealed=work.sealed,
        )
        subject, sent_at = subjects.command(key.node, instance), self._clock()

        def answered(answer: bytes | BusError) -> None:
            self._end()
            event = self._event_for(command, answer)
            if isinstance(event, AssignmentAccepted):
                self._on_accepted(self._clock() - sent_at)
            self._feed(event)

        try:
            self._bus.ask(subject, _encode(message), ANSWER_SECONDS, answered)
            self._begin()
        except NotConnected:
            self._feed(AssignmentUnanswered(key, instance))
        except ValueError as why:  # too large for a message, or no subject: this task's own fault
            log.failure("work cannot be sent", why, task=key.task, node=key.node)
            self._feed(AssignmentUnanswered(key, instance))

    def _event_for(self, command: Assign, answer: bytes | BusError) -> Event:
        key, instance = command.key, command.instance
        if isinstance(answer, BusError):
            return AssignmentUnanswered(key, instance, absent=isinstance(answer, NoResponders))
        try:
            reply = _decode_reply(answer)
        except NOT_DECODABLE:
            log.warning("an agent's reply cannot be decoded", node=key.node)
            return AssignmentUnanswered(key, instance)
        if reply.accepted:
            return AssignmentAccepted(key, instance)
        if reply.epoch > self._epoch:
            self._deposed(reply.epoch)
        log.info("assignment refused", task=key.task, node=key.node, why=reply.refusal)
        return AssignmentRefused(key, instance)

    def cancel(self, command: CancelWork) -> None:
        """Tell an agent to stop; if this is lost, its next heartbeat brings it up again."""
        for sealing in self._sealing:
            sealing.is_cancelled |= sealing.is_meant_by(command)
        message = Cancel(epoch=self._epoch, task=command.task, attempt=command.attempt)
        try:
            self._bus.publish(subjects.command(command.node, command.instance), _encode(message))
        except NotConnected:
            log.debug("not connected: a cancel waits for the next heartbeat")
