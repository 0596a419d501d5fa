"""When to try again, and when to give up: a decision, made without a clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from ips_client import answers
from ips_client.answers import PASSING, Answer
from ips_client.errors import IpsError, ServerUnreachable, Unavailable
from ips_client.requests import Request
from ips_client.server import Session
from ips_client.talk import LinkFailure, Pause, Talk, clock, send

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 3.0
_GATEWAY_TIMEOUT: Final = 504


def spread() -> float:
    """A number from 0.5 to 1: many clients that lost one server do not come back as one."""
    return 0.5 + os.urandom(1)[0] / 512


class Retries:
    """One run of failures. Delays double from ``FIRST_DELAY`` to ``LONGEST_DELAY``."""

    def __init__(self, patience: float, chance: Callable[[], float] = spread) -> None:
        self._patience = patience
        self._chance = chance
        self._failures = 0
        self._since = 0.0

    def succeed(self) -> None:
        """All is well: the next failure is a first one."""
        self._failures = 0

    def delay(self, error: IpsError, now: float) -> float:
        """Seconds until the next try. Raises the error where it is no use, or patience ends."""
        if not self._failures:
            self._since = now
        wish = FIRST_DELAY * 2 ** min(self._failures, 16)
        delay: float = max(min(wish, LONGEST_DELAY) * self._chance(), _wanted_delay(error))
        if _is_lasting(error) or now + delay > self._since + self._patience:
            raise error
        self._failures += 1
        return delay

    def pause(self, error: IpsError) -> Talk[None]:
        """Wait for the next try, or raise the error."""
        yield Pause(self.delay(error, (yield from clock())))


def _is_lasting(error: IpsError) -> bool:
    if isinstance(error, ServerUnreachable):
        return isinstance(error.__cause__, LinkFailure) and error.__cause__.lasting
    return not isinstance(error, Unavailable) or _is_final(error)


def _is_final(error: Unavailable) -> bool:
    """A gateway's 504 passes; the service's own says that it has waited for somebody in vain."""
    problem = error.problem
    return problem.status == _GATEWAY_TIMEOUT and "messageCode" in problem.document


def _wanted_delay(error: IpsError) -> float:
    return error.retry_after if isinstance(error, Unavailable) else 0.0


def unreachable(session: Session, failure: LinkFailure) -> ServerUnreachable:
    """The user's word for a connection that failed."""
    error = ServerUnreachable(f"{session.server.url} does not answer: {failure}")
    error.__cause__ = failure
    return error


def ask_once(session: Session, request: Request, within: float) -> Talk[Answer]:
    """One try. Raises ServerUnreachable, Unavailable and UnexpectedAnswer."""
    try:
        answer = yield from send(request, within)
    except LinkFailure as failure:
        raise unreachable(session, failure) from failure
    if answer.status in PASSING:
        raise answers.error(answer)
    return answer


def ask(session: Session, request: Request) -> Talk[tuple[Answer, bool]]:
    """Try until the server answers or patience ends; whether more than one try was needed."""
    retries, again = Retries(session.patience), False
    while (answer := (yield from _try(session, request, retries))) is None:
        again = True
    return answer, again


def _try(session: Session, request: Request, retries: Retries) -> Talk[Answer | None]:
    try:
        return (yield from ask_once(session, request, session.timeout))
    except (ServerUnreachable, Unavailable) as error:
        yield from retries.pause(error)
        return None
