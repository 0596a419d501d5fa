"""One connection in memory, seen from the program: what ``common.bus.session`` is over TCP."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from typing import TYPE_CHECKING, Any, Protocol

from common.bus import session as real
from common.bus.errors import NotConnected, TimedOut
from common.bus.headers import encode as encode_headers
from sandbox.virtual.link import Link, Pipe
from sandbox.virtual.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from common.bus.session import Delivery


class Server(Protocol):
    """What a session needs of the server that took it."""

    url: str
    context: contextvars.Context
    """In which it works; that of no program."""
    on_sent: Callable[[str, str, bytes], None] | None
    """Told the name of a link, and subject and payload of what a program sends there."""

    @property
    def paused(self) -> bool:
        """Whether it stands still."""

    def route(
        self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> None:
        """Take one message to all that want it."""

    def route_late(
        self,
        link: Link,
        subject: str,
        payload: bytes,
        reply: str,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Take a message that others have overtaken, if the server can still hear it."""

    def subscribe(self, session: VirtualSession, number: int, subject: str, queue: str) -> None:
        """Note that a session listens."""

    def unsubscribe(self, session: VirtualSession, number: int) -> None:
        """Note that it does so no more."""

    def detach(self, session: VirtualSession) -> None:
        """Forget a connection that is over."""


class VirtualSession:
    """From the moment in which the server took us to the end of the connection."""

    def __init__(self, server: Server, link: Link, number: int) -> None:
        self.url = server.url
        self.number = number
        """Unique among all sessions of the server."""
        self.loop = asyncio.get_running_loop()
        self.link = link
        self.ended: asyncio.Future[str] = self.loop.create_future()
        self._server = server
        self._handlers: dict[int, Callable[[Delivery], None]] = {}
        self._there = Pipe(self.loop, link, server.context)
        self._back = Pipe(self.loop, link, link.context)
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[asyncio.Future[Any], asyncio.TimerHandle]] = {}
        self._giving_up: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._is_held = False
        self._is_stopped = False

    @property
    def alive(self) -> bool:
        """Whether messages can be sent."""
        return not self.ended.done()

    # ── what the program does ────────────────────────────────────────────────────────────────

    def send_message(
        self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> None:
        """Send behind what was sent before. Raises NotConnected, or ValueError for no subject."""
        real.check_message(subject, payload)
        if headers:
            encode_headers(headers)
            headers = dict(headers)
        self._check_alive(len(payload))
        if self._server.on_sent is not None:
            self._server.on_sent(self.link.name, subject, payload)
        if self.link.certain:
            self._there.send(self._server.route, subject, payload, reply, headers)
            return
        for late in self.link.fates():
            if late:
                self.loop.call_later(
                    late, self._server.route_late, self.link, subject, payload, reply, headers
                )
            else:
                self._there.send(self._server.route, subject, payload, reply, headers)

    def listen(
        self, number: int, subject: str, handler: Callable[[Delivery], None], queue: str = ""
    ) -> None:
        """Subscribe under a number that is unique in this session."""
        self._check_alive(0)
        self._handlers[number] = handler
        self._there.send(self._server.subscribe, self, number, subject, queue)

    async def heard(self, within: float) -> None:
        """Wait until the server has taken in all that was sent. Raises TimedOut, NotConnected."""
        self._check_alive(0)
        if self._is_clear:  # nothing is under way: one turn, as for any answer
            await asyncio.sleep(0)
            if self.alive and self._is_clear:
                return
        await self.ask(_nothing, within)

    def forget(self, number: int) -> None:
        """Take back ``listen``."""
        if self._handlers.pop(number, None) is not None and self.alive:
            self._there.send(self._server.unsubscribe, self, number)

    async def hang_up(self) -> None:
        """Disconnect; what was sent arrives."""
        self.leave()

    def leave(self) -> None:
        """The same, at once."""
        self._there.send(self._server.detach, self)
        self._end("it was closed")

    def ask(
        self, operation: Callable[[], Any], within: float, size: int = 0
    ) -> asyncio.Future[Any]:
        """Have the server do something; what it returns, or the fault that it answers with.

        The future raises TimedOut or NotConnected. Raises NotConnected itself.
        """
        self._check_alive(size)
        answer: asyncio.Future[Any] = self.loop.create_future()
        if self._is_clear:
            self.loop.call_soon(self._ask_at_once, operation, answer, within)
        else:
            self._ask(operation, answer, within)
        return answer

    @property
    def _is_clear(self) -> bool:
        """Whether a question and its answer need one turn, and no time."""
        return self._there.clear and self._back.clear and not self.link.deaf

    def _ask_at_once(
        self, operation: Callable[[], Any], answer: asyncio.Future[Any], within: float
    ) -> None:
        """The usual case, without anything that may have to wait: it is most of a virtual day."""
        if self.ended.done():
            if not answer.done():
                answer.set_exception(self._lost())
        elif not self._is_clear:
            self._ask(operation, answer, within)
        else:
            result = _result_of(operation)
            if result is LOST:
                self._await_answer(answer, within)
            elif not answer.done():  # whoever asked was cancelled
                answer.set_result(result)

    def _ask(
        self, operation: Callable[[], Any], answer: asyncio.Future[Any], within: float
    ) -> None:
        self._there.send(self._operate, operation, self._await_answer(answer, within))

    def _await_answer(self, answer: asyncio.Future[Any], within: float) -> int:
        number = next(self._numbers)
        deadline = self.loop.call_later(within, self._expire, number, within)
        self._asked[number] = answer, deadline
        return number

    def tell(self, operation: Callable[[], None]) -> None:
        """Have the server do something without an answer, unless the connection is over."""
        if self.alive:
            self._there.send(operation)

    def _check_alive(self, size: int) -> None:
        if self.ended.done():
            raise NotConnected("not connected")
        if self._is_held:
            if self._unsent > real.UNSENT_LIMIT:
                raise NotConnected(
                    f"the server has not taken the last {real.UNSENT_LIMIT >> 20} MiB"
                )
            self._unsent += size

    # ── what the server does ─────────────────────────────────────────────────────────────────

    def _operate(self, operation: Callable[[], Any], number: int) -> None:
        answer = _result_of(operation)
        if answer is not LOST:
            self.deliver(self._answered, number, answer)

    def deliver(self, receive: Callable[..., None], *args: Any) -> None:
        """Have something received here, in order; for the server, at a turn of its own."""
        if self.ended.done() or self.link.deaf:
            return
        if self._back.clear:
            self.link.context.run(receive, *args)
        else:
            self._back.send(receive, *args)

    def deliver_message(self, number: int, delivery: Delivery) -> None:
        """Have a message handled by the subscription with a number."""
        if self.link.certain:
            self.deliver(self._handle, number, delivery)
            return
        for late in self.link.fates():
            if late:
                self.loop.call_later(
                    late, self._handle, number, delivery, context=self.link.context
                )
            else:
                self.deliver(self._handle, number, delivery)

    def _handle(self, number: int, delivery: Delivery) -> None:
        handler = self._handlers.get(number)
        if handler is not None:
            handler(delivery)

    def _answered(self, number: int, answer: Any) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            future, deadline = asked
            deadline.cancel()
            if not future.done():  # whoever asked was cancelled
                future.set_result(answer)

    def _expire(self, number: int, within: float) -> None:
        future, _ = self._asked.pop(number)
        if not future.done():
            future.set_exception(TimedOut(f"no answer within {within:g} s"))

    # ── the connection itself ────────────────────────────────────────────────────────────────

    def hold(self) -> None:
        """Nothing gets through; after two pings without an answer the program gives it up."""
        if self._is_held:
            return
        self._is_held = True
        self._there.hold()
        self._back.hold()
        if self.alive:
            pings = real.PINGS_UNANSWERED + self.link.random.random()
            patience = real.PING_SECONDS * pings
            self._giving_up = self.loop.call_later(patience, self._give_up)

    def go_on(self) -> None:
        """Undo ``hold``, unless something else still holds it."""
        if self.link.is_cut or self._server.paused:
            return
        self._is_held = False
        self._unsent = 0
        self._there.go_on()
        if not self._is_stopped:
            self._back.go_on()
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def stop_reading(self) -> None:
        """The program stands still: what it is told waits."""
        self._is_stopped = True
        self._back.hold()

    def read_again(self) -> None:
        """Undo ``stop_reading``."""
        self._is_stopped = False
        if not self._is_held:
            self._back.go_on()

    def _give_up(self) -> None:
        if self.link.is_cut:
            self._there.empty()  # it never left this machine
        self._there.send(self._server.detach, self)
        self._end("stale connection")

    def break_off(self, why: str) -> None:
        """End it from outside; what is under way is lost."""
        self._there.close()
        self._server.detach(self)
        self._end(why)

    def _end(self, why: str) -> None:
        if self.ended.done():
            return
        if self._giving_up is not None:
            self._giving_up.cancel()
        self._handlers.clear()
        self._back.close()
        self.ended.set_result(why)
        asked, self._asked = self._asked, {}
        for future, deadline in asked.values():
            deadline.cancel()
            if not future.done():
                future.set_exception(self._lost())

    def _lost(self) -> NotConnected:
        return NotConnected(f"the connection to NATS is lost: {self.ended.result()}")


def _result_of(operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except Refused as refusal:
        return refusal.fault


def _nothing() -> None:
    """What a ping has the server do."""


LOST = object()
"""In place of an answer that never arrives."""
