"""Calls that wait for their answer, all of one caller on one inbox.

A subscription for all calls and no task per call: 10 µs instead of the 30 µs of nats-py's
``request`` (measured with 1,000 in flight).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Protocol

from common.bus.errors import BusError, NoResponders, TimedOut
from common.logs import Log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.bus.session import Delivery

log = Log(__name__)

CallResult = bytes | BusError
OnAnswer = Callable[[CallResult], None]

_NO_RESPONDERS = "503"


class PendingCalls:
    """Who waits for what. ``inbox`` is the caller's own; answers come to ``<inbox>.<n>``."""

    def __init__(self, inbox: str) -> None:
        self.inbox = inbox
        self._numbers = itertools.count(1)
        self._waiting: dict[str, OnAnswer] = {}
        self._deadlines: dict[float, _Deadlines] = {}
        """By the seconds that a call may take, of which callers have a few."""

    def expect(self, within: float, on_answer: OnAnswer) -> str:
        """Await an answer for so many seconds; the reply subject that it shall come to."""
        reply = f"{self.inbox}.{next(self._numbers)}"
        self._waiting[reply] = on_answer
        deadlines = self._deadlines.get(within)
        if deadlines is None:
            deadlines = self._deadlines[within] = _Deadlines(within, self._waiting, self._settle)
        deadlines.add(reply)
        return reply

    def drop(self, reply: str) -> None:
        """Forget a call that was not sent."""
        del self._waiting[reply]

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

    def _settle(self, reply: str, answer: CallResult) -> None:
        on_answer = self._waiting.pop(reply, None)
        if on_answer is None:
            return
        try:
            on_answer(answer)
        except Exception as error:  # noqa: BLE001 -- others wait behind it
            log.failure("an answer makes its callback fail", error)


class _Deadlines:
    """Ends calls that all may take equally long: one timer for the oldest of them, and not each."""

    def __init__(
        self,
        within: float,
        waiting: Collection[str],
        settle: Callable[[str, BusError], None],
    ) -> None:
        self._within = within
        self._waiting = waiting
        self._settle = settle
        self._ends: deque[tuple[float, str]] = deque()
        """When which call ends, soonest first; those that were answered are still among them."""

    def add(self, reply: str) -> None:
        """Note a call that begins now."""
        loop = asyncio.get_running_loop()
        if not self._ends:
            loop.call_later(self._within, self._look)
        self._ends.append((loop.time() + self._within, reply))

    def _look(self) -> None:
        loop, ends = asyncio.get_running_loop(), self._ends
        now = loop.time()
        while ends and (ends[0][0] <= now or ends[0][1] not in self._waiting):
            reply = ends.popleft()[1]
            if reply in self._waiting:
                self._settle(reply, TimedOut(f"no answer within {self._within:g} s"))
        if ends:
            loop.call_at(ends[0][0], self._look)


class SendCall(Protocol):
    """Sends a call to a subject, or (None) to the very address that its answer is expected at."""

    def __call__(
        self,
        subject: str | None,
        payload: bytes,
        within: float,
        on_answer: OnAnswer,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Raises NotConnected."""


async def answer_to(
    send: SendCall,
    subject: str | None,
    payload: bytes,
    within: float,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Send a call and wait for its answer. Raises NoResponders, TimedOut, or NotConnected."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    send(subject, payload, within, partial(settle, answer), headers)
    return await answer


def settle(future: asyncio.Future[bytes], answer: CallResult) -> None:
    """Give a future the answer of a call, or raise its error there."""
    if future.done():  # whoever called was cancelled
        return
    if isinstance(answer, BusError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


class OwnInbox:
    """Calls whose answers come to a subject of the caller's choice; survives reconnections."""

    def __init__(self, send: SendCall, on_close: Callable[[], None]) -> None:
        self._send = send
        self._on_close = on_close

    async def call(self, subject: str, payload: bytes, within: float) -> bytes:
        """As ``Connection.call``, but for where the answer comes."""
        return await answer_to(self._send, subject, payload, within)

    def close(self) -> None:
        """Take no more answers: whoever waits for one waits until its time is over."""
        self._on_close()
