"""One pretended nats-server in memory: who is connected, who listens, and what goes wrong with it.

Everything arrives in the loop's next turn at the earliest and in the order of its connection;
where two servers could differ in order, this one has always the same. Its streams are in
``jetstream``.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import random
from typing import TYPE_CHECKING, NamedTuple

from common.bus.errors import NotConnected
from common.bus.session import DIAL_SECONDS, Delivery
from sandbox.virtual import json_api
from sandbox.virtual.jetstream import JetStream
from sandbox.virtual.link import Link
from sandbox.virtual.session import VirtualSession
from sandbox.virtual.subject_tree import SubjectTree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EPOCH = 1_767_225_600.0
"""What a calendar says when a virtual run begins: 2026-01-01, in seconds since 1970."""
_CACHE_LIMIT = 20_000
_INBOX = "_INBOX."
_NO_RESPONDERS: Mapping[str, str] = {"Status": "503"}


class _Interest(NamedTuple):
    """One subscription of one session."""

    session: VirtualSession
    number: int
    queue: str


class VirtualServer:
    """Runs from the start. ``jetstream`` holds what it stores, over restarts.

    ``epoch``: its wall clock is that many seconds ahead of the loop's. ``max_file_store``: bytes
    that all streams together may hold. ``seed`` determines which member of a queue gets a message,
    and each link's random source.
    """

    def __init__(
        self, *, seed: int | str = 0, epoch: float = EPOCH, max_file_store: int | None = None
    ) -> None:
        self.url = "nats://memory:4222"
        self.context = contextvars.Context()
        self.on_sent: Callable[[str, str, bytes], None] | None = None
        self.jetstream = JetStream(self.now, max_file_store)
        self._awake = asyncio.Event()
        self._awake.set()
        self._seed = seed
        self._epoch = epoch
        self._random = random.Random(f"{seed}/server")  # noqa: S311 -- repeatable
        self._runs = True
        self._links: dict[str, Link] = {}
        self._numbers = itertools.count(1)
        self._sessions: dict[int, VirtualSession] = {}
        self._interests: dict[tuple[int, int], tuple[str, _Interest]] = {}
        self._tree: SubjectTree[_Interest] = SubjectTree()
        self._matches: dict[str, list[_Interest]] = {}

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return not self._awake.is_set()

    def now(self) -> float:
        """Its wall clock: seconds since 1970."""
        return self._epoch + asyncio.get_running_loop().time()

    def move_clock(self, seconds: float) -> None:
        """Set its wall clock forward, or back."""
        self._epoch += seconds

    def link(self, name: str) -> Link:
        """The way to it of the program with a name; the same for all its connections."""
        if name not in self._links:
            source = random.Random(f"{self._seed}/link/{name}")  # noqa: S311 -- repeatable
            self._links[name] = Link(name, source)
        return self._links[name]

    @property
    def links(self) -> list[Link]:
        """All that were asked for, in that order."""
        return list(self._links.values())

    # ── its own life ─────────────────────────────────────────────────────────────────────────

    def kill(self) -> None:
        """End it, as SIGKILL does: what is stored stays, all else is lost."""
        self._runs = False
        self._awake.set()
        for session in list(self._sessions.values()):
            session.break_off("unexpected EOF")

    def start(self) -> None:
        """Run again after ``kill``."""
        self._runs = True

    def restart(self) -> None:
        """End it and run again at once."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stand still, as in SIGSTOP: connections stay open and nobody answers."""
        self._awake.clear()
        for session in self._sessions.values():
            session.hold()

    def resume(self) -> None:
        """Go on after ``pause``; what was sent meanwhile arrives."""
        self._awake.set()
        for session in list(self._sessions.values()):
            session.go_on()

    # ── connections ──────────────────────────────────────────────────────────────────────────

    async def accept(self, link: Link) -> VirtualSession:
        """Take a program in. Raises NotConnected if that cannot be, at once or after 10 s."""
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await asyncio.sleep(2 * link.one_way())
                while link.is_cut or self.paused:
                    await link.open.wait()
                    await self._awake.wait()
        except TimeoutError:
            raise NotConnected(f"NATS at {self.url} is not reachable: no answer in time") from None
        if not self._runs:
            raise NotConnected(f"NATS at {self.url} is not reachable: Connection refused")
        session = VirtualSession(self, link, next(self._numbers))
        self._sessions[session.number] = link.session = session
        return session

    def detach(self, session: VirtualSession) -> None:
        """Forget a connection that is over, with all that it listened to and read."""
        if self._sessions.pop(session.number, None) is None:
            return
        for key in [key for key in self._interests if key[0] == session.number]:
            self._withdraw(key)
        self.jetstream.forget_reader(session)

    # ── messages ─────────────────────────────────────────────────────────────────────────────

    def subscribe(self, session: VirtualSession, number: int, subject: str, queue: str) -> None:
        """Note that a session listens."""
        interest = _Interest(session, number, queue)
        self._interests[session.number, number] = subject, interest
        self._tree.add(subject, interest)
        self._matches.clear()

    def unsubscribe(self, session: VirtualSession, number: int) -> None:
        """Note that it does so no more."""
        self._withdraw((session.number, number))

    def _withdraw(self, key: tuple[int, int]) -> None:
        found = self._interests.pop(key, None)
        if found is not None:
            self._tree.remove(*found)
            self._matches.clear()

    def route_late(
        self,
        link: Link,
        subject: str,
        payload: bytes,
        reply: str,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Take a message that others have overtaken, if the server can still hear it."""
        if self._runs and not self.paused and not link.is_cut:
            self.route(subject, payload, reply, headers)

    def route(
        self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> None:
        """Take one message to all that want it."""
        if subject.startswith("$JS.API."):
            answer = json_api.answer(self.jetstream, subject, payload)
            heard = answer is not None
        else:
            answer = json_api.publish(self.jetstream, subject, payload, headers or {})
            heard = self.spread(subject, payload, reply, headers) or answer is not None
        if not reply:
            return
        if answer is not None:
            self.route(reply, answer, "", None)
        elif not heard:
            self.spread(reply, b"", "", _NO_RESPONDERS)

    def spread(
        self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> bool:
        """Deliver to each subscriber, and to one of each queue; whether there is any."""
        interests = self._matching(subject)
        if not interests:
            return False
        delivery = Delivery(subject, payload, reply, headers)
        queues: dict[str, list[_Interest]] = {}
        for interest in interests:
            if interest.queue:
                queues.setdefault(interest.queue, []).append(interest)
            else:
                interest.session.deliver_message(interest.number, delivery)
        for members in queues.values():
            chosen = self._random.choice(members)
            chosen.session.deliver_message(chosen.number, delivery)
        return True

    def _matching(self, subject: str) -> list[_Interest]:
        if subject.startswith(_INBOX):  # each is used once
            return self._tree.match(subject)
        found = self._matches.get(subject)
        if found is None:
            if len(self._matches) >= _CACHE_LIMIT:
                self._matches.clear()
            found = self._matches[subject] = self._tree.match(subject)
        return found
