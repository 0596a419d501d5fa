"""Writes the agent's log, from its events, what comes of them, and its notices."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from agent.events import CommandReceived, Event, OutcomeFound, OutcomeSettled, PullEnded
from agent.instructions import Deliver, Discard, Instruction, SendReply, StartPull, StopPull
from agent.notices import (
    AlreadyDecided,
    MessageRejected,
    Notice,
    OutcomeCut,
    OutcomeRefused,
    OutcomeSetAside,
    OutcomeUnreadable,
    ReplyDropped,
    RuntimeConnected,
    RuntimeDisconnected,
    SpoolRefused,
    SpoolUnreadable,
    StoreFailed,
    SweepPostponed,
)
from common.logs import Log, RateLimitedLog
from common.messages import Assign, Cancel, Command, ImageOutcome, ImageState

log = Log(__name__)


class Journal:
    """Logs one agent. ``clock``, in seconds, limits how often rejected messages are logged."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._rejections = RateLimitedLog(log, clock=clock)

    def handled(self, event: Event, instructions: Sequence[Instruction]) -> None:
        """Log an event and what comes of it."""
        _event(event)
        for instruction in instructions:
            _instruction(event, instruction)

    def noticed(self, notice: Notice) -> None:
        """Log what happened beside the ledger."""
        match notice:
            case MessageRejected(kind, subject, why):
                self._rejections.warning(
                    kind, "a message is not understood", subject=subject, why=why
                )
            case RuntimeConnected(runtime):
                log.info("the container runtime answers", runtime=runtime)
            case RuntimeDisconnected(why):
                log.warning("the container runtime is away", why=why)
            case SweepPostponed(why):
                log.info("what is left half pulled cannot be swept yet", why=why)
            case ReplyDropped(subject):
                log.debug("an answer is not sent", to=subject)
            case _:
                _outcome_notice(notice)


def _outcome_notice(notice: Notice) -> None:
    match notice:
        case SpoolUnreadable(why):
            log.warning("outcomes of a former run cannot be read", why=why)
        case OutcomeUnreadable(file, why):
            log.warning("an outcome cannot be read and is set aside", file=file, why=why)
        case OutcomeCut(key):
            log.warning("an outcome was too large: words of it are cut", task=key.task)
        case OutcomeSetAside(key, why):
            log.error("an outcome cannot be sent and is dropped", task=key.task, why=why)
        case OutcomeRefused(key, why):
            log.error("an outcome is refused and is dropped", task=key.task, why=why)
        case SpoolRefused(key, why):
            log.warning("an outcome is kept in memory only", task=key.task, why=why)
        case StoreFailed(key, why):
            log.warning("an outcome cannot be stored yet", task=key.task, why=why)
        case AlreadyDecided(key):
            log.debug("already decided", task=key.task, attempt=key.attempt)


def _event(event: Event) -> None:
    match event:
        case CommandReceived(Cancel(task=task, attempt=attempt)):
            log.info("cancel received", task=task, attempt=attempt or "all")
        case PullEnded(outcome):
            _ending(outcome)
        case OutcomeFound(key):
            log.info("outcome of a former run found", task=key.task, attempt=key.attempt)
        case OutcomeSettled(key):
            log.debug("outcome stored", task=key.task, attempt=key.attempt)


def _ending(outcome: ImageOutcome) -> None:
    fields = {
        name: value
        for name in ("image", "digest", "bytes", "seconds", "reason", "message")
        if (value := getattr(outcome, name)) is not None
    }
    if outcome.state is ImageState.FAILED:
        log.warning("pull failed", **fields)
    else:
        log.info("pull over", state=outcome.state, **fields)


def _instruction(event: Event, instruction: Instruction) -> None:
    match event, instruction:
        case CommandReceived(command), SendReply(_, reply):
            _answer(command, refusal=reply.refusal)
        case _, StartPull(reference, always):
            log.info("pull started", image=reference, always=always)
        case _, StopPull(reference, reason):
            log.info("stopping a pull", image=reference, reason=reason)
        case _, Deliver(key, outcome):
            failed = sum(image.state is ImageState.FAILED for image in outcome.images)
            log.info("attempt over", task=key.task, attempt=key.attempt, failed=failed)
        case _, Discard(key):
            log.info("an outcome is not wanted any more", task=key.task, attempt=key.attempt)


def _answer(command: Command, refusal: str) -> None:
    if refusal:
        task = getattr(command, "task", "")
        log.warning("command refused", task=task, epoch=command.epoch, why=refusal)
    elif isinstance(command, Assign):
        images = len(command.images)
        log.info("assignment accepted", task=command.task, attempt=command.attempt, images=images)
