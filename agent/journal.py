"""The agent's log of its work, from what it is told and what it does about it."""

from __future__ import annotations

from collections.abc import Sequence

from agent.events import CommandReceived, Event, OutcomeFound, OutcomeSettled, PullEnded
from agent.instructions import Answer, Deliver, Discard, Instruction, StartPull, StopPull
from common.logs import Log
from common.messages import Assign, Cancel, Command, ImageOutcome, ImageState

log = Log(__name__)


def record(event: Event, instructions: Sequence[Instruction]) -> None:
    """Log an event and what comes of it."""
    _event(event)
    for instruction in instructions:
        _instruction(event, instruction)


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
        case CommandReceived(command), Answer(_, reply):
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
