"""Core NATS over a connection that is made again for ever: publish, subscribe, call."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from common.backoff import Backoff
from common.bus.calls import OnAnswer, OwnInbox, PendingCalls, answer_to
from common.bus.errors import BusRefused, NotConnected, TimedOut
from common.bus.session import Delivery, check_subject
from common.bus.settings import parse_server
from common.bus.transport import Transport
from common.logs import Log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.bus.settings import BusSettings, Server

log = Log(__name__)

OnState = Callable[[bool, str], None]
"""Told ``(connected, why)`` at each change, and at each failed try; must not block or raise."""

STABLE_SECONDS = 5.0
"""A connection that ends sooner counts as one more failed try."""
CLOSE_SECONDS = 1.0
"""How long ``close`` waits for the server to take what was published."""
REACH_SECONDS = 2.0
"""Until a server is reached, at the first try: an address whose machine is gone says nothing, and
the next try may be of another one behind the same name."""
REACH_DOUBLINGS = 2
"""How often it is doubled, where the network is slow."""
SUBSCRIBE_SECONDS = 2.0
"""How long ``subscribe`` waits for the server to have heard of it."""
SAY_AGAIN_SECONDS = 30.0
"""How often the log repeats that the same thing keeps the bus away."""


class Received(NamedTuple):
    """A message as a handler gets it. ``reply`` is empty when no answer is wanted."""

    subject: str
    data: bytes
    reply: str


Handler = Callable[[Received], None]
"""Called in the event loop, one message at a time: must be fast. What it raises is logged and
counted (``handler_faults``), never fatal."""


class Subscription:
    """Interest in a subject; survives reconnections until closed."""

    def __init__(
        self, subject: str, handler: Handler, on_close: Callable[[], None], queue: str = ""
    ) -> None:
        self.subject = subject
        self.handler = handler
        self.queue = queue
        self._on_close = on_close

    def close(self) -> None:
        """Take no more messages."""
        self._on_close()


_Session = TypeVar("_Session", bound=Transport)


class Connection(ABC, Generic[_Session]):
    """One program's connection. ``establish`` it once, keep ``run`` running.

    ``source`` draws pauses and names, so that a run can be repeated; without one they are random.
    """

    def __init__(
        self,
        settings: BusSettings,
        on_state: OnState | None = None,
        source: random.Random | None = None,
    ) -> None:
        self.handler_faults = 0
        """How many messages made a handler raise."""
        self._settings = settings
        self._servers = [parse_server(text) for text in settings.servers]
        self._on_state = on_state
        self._session: _Session | None = None
        self._up = asyncio.Event()
        self._state_text = "not connected yet"
        self._said: tuple[str, float] = ("", 0.0)
        name = secrets.token_hex(11) if source is None else f"{source.getrandbits(88):022x}"
        self._calls = PendingCalls(f"{settings.inbox}.{name}")
        self._numbers = itertools.count(1)
        self._inboxes = {next(self._numbers): self._calls}
        self._subscriptions: dict[int, Subscription] = {}
        self._shuffle = random.shuffle if source is None else source.shuffle
        self._backoff = Backoff(settings.backoff_ceiling, source)
        self._closed = False
        self._running: asyncio.Timeout | None = None

    # ── the connection ───────────────────────────────────────────────────────────────────────

    async def establish(self) -> None:
        """Wait until a server takes us, however long it is away.

        Raises BusRefused (wrong password or token, TLS) or NoJetStream as soon as a server says
        so; either text is one line.
        """
        await self._dial(first=True)
        try:
            await self._greet()
        except BaseException:
            await self.close()
            raise

    async def run(self) -> None:
        """Connect again whenever the connection ends, until ``close``.

        A task of the program's task group; should it ever fail, the program must end with it.
        """
        try:
            async with asyncio.timeout(None) as self._running:
                while not self._closed:
                    await self._until_lost()
                    await self._dial(first=False)
        except TimeoutError:
            if not self._closed:
                raise
        finally:
            self._running = None

    async def close(self) -> None:
        """Send what was published (at most a second), then disconnect; ``run`` returns."""
        if self._closed:
            return
        with contextlib.suppress(NotConnected, TimedOut):
            await self.session.heard(CLOSE_SECONDS)
        self._closed = True
        if self._running is not None:
            self._running.reschedule(asyncio.get_running_loop().time())
        if self._session is not None:
            await self._session.hang_up()

    @property
    def connected(self) -> bool:
        """Whether a server has us at this moment, as far as is known (up to 9 s late)."""
        return self._session is not None and self._session.alive

    @property
    def state_text(self) -> str:
        """The state in words: where we are connected to, or why not."""
        return self._state_text

    async def wait_connected(self) -> None:
        """Return as soon as ``connected`` is true."""
        while not self.connected:
            await self._up.wait()
            await asyncio.sleep(0)

    @abstractmethod
    async def _open(self, server: Server, within: float) -> _Session:
        """Connect to one server, once, if it is reached within so many seconds.

        Raises BusRefused or NotConnected.
        """

    async def _greet(self) -> None:
        """Make sure, once, that the server offers what this kind of connection needs."""

    async def _until_lost(self) -> None:
        if self._session is not None:
            since = _now()
            await asyncio.wait([self._session.ended])
            if _now() - since > STABLE_SECONDS:
                self._backoff.reset()

    async def _dial(self, *, first: bool) -> None:
        """Try one server after another until one takes us, with full jitter in between.

        Only at the program's first start a refusal is final: later it may be a server that has
        not read its new configuration yet.
        """
        self._shuffle(self._servers)
        for number, server in enumerate(itertools.cycle(self._servers)):
            await asyncio.sleep(self._backoff.next())
            try:
                within = REACH_SECONDS * 2 ** min(number // len(self._servers), REACH_DOUBLINGS)
                self._take(await self._open(server, within))
            except BusRefused as error:
                if first:
                    raise
                self._tell(connected=False, text=str(error))
            except NotConnected as error:
                self._tell(connected=False, text=str(error))
            else:
                return

    def _take(self, session: _Session) -> None:
        """Make a fresh session the current one; every subscription is on it before any message."""
        for number, calls in self._inboxes.items():
            session.listen(number, f"{calls.inbox}.*", calls.receive)
        for number, subscription in self._subscriptions.items():
            self._listen(session, number, subscription)
        self._session = session
        session.ended.add_done_callback(self._lost)
        self._up.set()
        self._tell(connected=True, text=f"connected to {session.url}")

    def _lost(self, ended: asyncio.Future[str]) -> None:
        self._up.clear()
        self._tell(connected=False, text=f"the connection to NATS is lost: {ended.result()}")
        for calls in self._inboxes.values():
            calls.fail_all(NotConnected(self._state_text))

    def _tell(self, *, connected: bool, text: str) -> None:
        self._state_text = text
        said, when = self._said
        if text != said or _now() - when > SAY_AGAIN_SECONDS:
            self._said = (text, _now())
            if connected:
                log.info("the bus is connected", state=text)
            elif not self._closed:
                log.warning("the bus is away", why=text)
        if self._on_state is not None:
            self._on_state(connected, text)

    @property
    def inbox(self) -> str:
        """The subject under which everything is for this program alone."""
        return self._calls.inbox

    def next_number(self) -> int:
        """Draw a number for ``Session.listen``, for this package alone."""
        return next(self._numbers)

    @property
    def session(self) -> _Session:
        """The live session, for this package alone. Raises NotConnected."""
        if self._closed:
            raise NotConnected("the bus is closed")
        if self._session is None or self._session.ended.done():
            raise NotConnected(self._state_text)
        return self._session

    # ── messages ─────────────────────────────────────────────────────────────────────────────

    def publish(
        self,
        subject: str,
        payload: bytes,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send now or raise NotConnected; never kept for a later connection.

        Decisions: commands are not stored.

        Sent means handed to the network, in order. Over ``MAX_MESSAGE_BYTES``: ValueError.
        """
        self.session.send_message(subject, payload, reply, headers)

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Have ``handler`` called for each message on ``subject`` (wildcards allowed).

        Of all who name the same ``queue``, one gets it. Returns once the server knows of it, or at
        once while not connected.
        """
        check_subject(subject)
        if queue:
            check_subject(queue)
        number = next(self._numbers)
        subscription = Subscription(subject, handler, partial(self._unsubscribe, number), queue)
        self._subscriptions[number] = subscription
        try:
            session = self.session
            self._listen(session, number, subscription)
            await session.heard(SUBSCRIBE_SECONDS)
        except (NotConnected, TimedOut):
            return subscription
        except BaseException:
            subscription.close()
            raise
        return subscription

    def _listen(self, session: _Session, number: int, subscription: Subscription) -> None:
        handle = partial(self._handle, subscription)
        session.listen(number, subscription.subject, handle, subscription.queue)

    def _unsubscribe(self, number: int) -> None:
        if self._subscriptions.pop(number, None) is not None and self._session is not None:
            self._session.forget(number)

    def _handle(self, subscription: Subscription, delivery: Delivery) -> None:
        try:
            subscription.handler(Received(delivery.subject, delivery.data, delivery.reply))
        except Exception as error:  # noqa: BLE001 -- one poison message is no end of the bus
            self.handler_faults += 1
            log.failure("a message makes its handler fail", error, subject=delivery.subject)

    async def call(
        self,
        subject: str,
        payload: bytes,
        within: float,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send and wait ``within`` seconds for the one answer.

        Raises NoResponders (nobody listens; at once), TimedOut, or NotConnected (not sent, or the
        connection ended while waiting).
        """
        return await answer_to(
            partial(self._send_call, self._calls), subject, payload, within, headers
        )

    def ask(
        self,
        subject: str,
        payload: bytes,
        within: float,
        on_answer: OnAnswer,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """As ``call``, for thousands at once: the answer, or one of its errors, goes to a callback.

        Raises NotConnected when it cannot be sent (the callback is then not called).
        """
        self._send_call(self._calls, subject, payload, within, on_answer, headers)

    def open_inbox(self, inbox: str) -> OwnInbox:
        """Have answers to calls come to ``<inbox>.<n>``, until it is closed.

        For programs that speak for several, each with an inbox that only it may hear.
        """
        check_subject(inbox)
        calls, number = PendingCalls(inbox), next(self._numbers)
        self._inboxes[number] = calls
        if self._session is not None and self.connected:
            self._session.listen(number, f"{inbox}.*", calls.receive)
        return OwnInbox(partial(self._send_call, calls), partial(self._close_inbox, number))

    def _close_inbox(self, number: int) -> None:
        if self._inboxes.pop(number, None) is not None and self._session is not None:
            self._session.forget(number)

    async def ping(self, within: float) -> float:
        """Hear oneself through the server: the seconds of the round trip.

        Raises TimedOut or NotConnected: then silence of others says nothing about them
        (decisions: silence counts only while the leader is heard).
        """
        since = _now()
        await answer_to(partial(self._send_call, self._calls), None, b"", within)
        return _now() - since

    def _send_call(
        self,
        calls: PendingCalls,
        subject: str | None,
        payload: bytes,
        within: float,
        on_answer: OnAnswer,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Send to a subject, or to the very address that the answer is expected at (None)."""
        session = self.session
        reply = calls.expect(within, on_answer)
        try:
            session.send_message(subject or reply, payload, reply, headers)
        except BaseException:
            calls.drop(reply)
            raise


def _now() -> float:
    """Seconds by the clock of the running loop, which may be a virtual one."""
    return asyncio.get_running_loop().time()
