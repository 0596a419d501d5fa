"""Calls that wait for their answer, all on one inbox.

A subscription for all calls and no task per call: 10 µs instead of the 30 µs of nats-py's
``request`` (measured with 1,000 in flight).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from common.bus.errors import BusError, NoResponders, TimedOut
from common.logs import Log

if TYPE_CHECKING:
    from common.bus.session import Delivery

log = Log(__name__)

CallResult = bytes | BusError
OnAnswer = Callable[[CallResult], None]

_NO_RESPONDERS = "503"


class PendingCalls:
    """Who waits for what. ``inbox`` is this program's own; answers come to ``<inbox>.<n>``."""

    def __init__(self, inbox: str) -> None:
        self.inbox = inbox
        self._numbers = itertools.count(1)
        self._waiting: dict[str, tuple[OnAnswer, asyncio.TimerHandle]] = {}

    def expect(self, within: float, on_answer: OnAnswer) -> str:
        """Await an answer for so many seconds; the reply subject that it shall come to."""
        reply = f"{self.inbox}.{next(self._numbers)}"
        deadline = asyncio.get_running_loop().call_later(within, self._expire, reply, within)
        self._waiting[reply] = (on_answer, deadline)
        return reply

    def drop(self, reply: str) -> None:
        """Forget a call that was not sent."""
        _, deadline = self._waiting.pop(reply)
        deadline.cancel()

    def receive(self, delivery: Delivery) -> None:
        """Take what came to the inbox; what nobody waits for any more is ignored."""
        headers = delivery.headers
        if headers and headers.get("Status") == _NO_RESPONDERS:
            self._settle(delivery.subject, NoResponders("nobody listens there"))
        else:
            self._settle(delivery.subject, delivery.data)

    def fail_all(self, error: BusError) -> None:
        """Answer every call with an error: the connection that it was sent on is no more."""
        for reply in list(self._waiting):
            self._settle(reply, error)

    def _expire(self, reply: str, within: float) -> None:
        self._settle(reply, TimedOut(f"no answer within {within:g} s"))

    def _settle(self, reply: str, answer: CallResult) -> None:
        call = self._waiting.pop(reply, None)
        if call is None:
            return
        on_answer, deadline = call
        deadline.cancel()
        try:
            on_answer(answer)
        except Exception as error:  # noqa: BLE001 -- others wait behind it
            log.failure("an answer makes its callback fail", error)


def settle(future: asyncio.Future[bytes], answer: CallResult) -> None:
    """Give a future the answer of a call, or raise its error there."""
    if future.done():  # whoever called was cancelled
        return
    if isinstance(answer, BusError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
