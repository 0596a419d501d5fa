"""What lies between one program and the server, and what can go wrong there."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from sandbox.virtual.time import PROCESS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


class Connected(Protocol):
    """A connection that goes over a link."""

    def hold(self) -> None:
        """Let nothing through."""

    def go_on(self) -> None:
        """Undo ``hold``, unless something else still holds it."""

    def stop_reading(self) -> None:
        """Let the program hear nothing, and know nothing of that."""

    def read_again(self) -> None:
        """Undo ``stop_reading``."""

    def leave(self) -> None:
        """End it from the program's side; what was sent arrives."""

    def break_off(self, why: str) -> None:
        """End it; what is under way is lost."""


class Link:
    """One program's way to the server, over all its connections. Without faults until told so.

    What a connection carries stays in order, as over TCP. ``loss``, ``doubled`` and ``late`` are
    the probabilities of what core NATS may do to a message between the servers of a cluster: never
    to what is asked of JetStream by ``store`` and its like.
    """

    def __init__(self, name: str, source: random.Random) -> None:
        self.name = name
        self.delay = (0.0, 0.0)
        """Shortest and longest time of one way, in seconds."""
        self.loss = 0.0
        self.doubled = 0.0
        self.late = 0.0
        self.late_by = 1.0
        """The longest time by which a late message is overtaken by others, in seconds."""
        self.deaf = False
        """Whether what the server says is lost, answers to pings included."""
        self.answers_to_lose = 0
        """Of so many of the next writes the answer is lost, though they are stored."""
        self.on_write: Callable[[], None] | None = None
        """Called when something of this program is stored, before it hears of that."""
        self.context = contextvars.copy_context()
        """In which this program hears what it is told."""
        self.context.run(PROCESS.set, name)
        self.random = source
        self.session: Connected | None = None
        """The newest connection, made by the server."""
        self.open = asyncio.Event()
        """Set unless it is cut."""
        self.open.set()

    @property
    def is_cut(self) -> bool:
        """Whether nothing gets through."""
        return not self.open.is_set()

    def cut(self) -> None:
        """Let nothing through. The program notices after 6 to 9 s; until then all of it waits."""
        self.open.clear()
        if self.session is not None:
            self.session.hold()

    def mend(self) -> None:
        """Undo ``cut``: what waits arrives, late and in order."""
        self.open.set()
        if self.session is not None:
            self.session.go_on()

    def stop_reading(self) -> None:
        """Have the program read nothing, as one that stands still."""
        if self.session is not None:
            self.session.stop_reading()

    def read_again(self) -> None:
        """Undo ``stop_reading``."""
        if self.session is not None:
            self.session.read_again()

    def drop(self) -> None:
        """End the connection at once; what is under way is lost. The program may connect again."""
        if self.session is not None:
            self.session.break_off("the connection was reset")

    def leave(self) -> None:
        """End the program's side for good, as its death does: what it had sent arrives."""
        self.open.clear()
        if self.session is not None:
            self.session.leave()

    def one_way(self) -> float:
        """Draw how long something takes."""
        shortest, longest = self.delay
        return self.random.uniform(shortest, longest) if longest else 0.0

    @property
    def certain(self) -> bool:
        """Whether each message comes once and in its turn."""
        return not (self.loss or self.doubled or self.late)

    def fates(self) -> list[float]:
        """Draw what becomes of a message: by how much each of its copies comes late."""
        if self.random.random() < self.loss:
            return []
        copies = 2 if self.random.random() < self.doubled else 1
        return [
            self.random.uniform(0, self.late_by) if self.random.random() < self.late else 0.0
            for _ in range(copies)
        ]


class Pipe:
    """One direction of one connection: first in, first out, never before the next turn."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, link: Link, context: contextvars.Context
    ) -> None:
        """``context``: that of the end at which things arrive."""
        self._loop = loop
        self._link = link
        self._context = context
        self._held = False
        self._closed = False
        self._waiting: deque[tuple[float, Callable[..., None], tuple[Any, ...]]] = deque()
        self._turn: asyncio.Handle | None = None

    @property
    def clear(self) -> bool:
        """Whether nothing waits, and nothing has to."""
        return not (self._waiting or self._held or self._link.delay[1])

    def send(self, arrive: Callable[..., None], *args: Any) -> None:
        """Have a function called at the other end."""
        if self._closed:
            return
        delay = self._link.one_way()
        self._waiting.append((self._loop.time() + delay if delay else 0.0, arrive, args))
        if self._turn is None and not self._held:
            self._next_turn()

    def hold(self) -> None:
        """Let nothing arrive."""
        self._held = True
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def go_on(self) -> None:
        """Undo ``hold``."""
        self._held = False
        if self._waiting and self._turn is None:
            self._next_turn()

    def empty(self) -> None:
        """Lose what is under way."""
        self._waiting.clear()

    def close(self) -> None:
        """Lose what is under way, and take nothing more."""
        self._closed = True
        self.empty()

    def _next_turn(self) -> None:
        due = self._waiting[0][0]
        if due > self._loop.time():
            self._turn = self._loop.call_at(due, self._arrive, context=self._context)
        else:
            self._turn = self._loop.call_soon(self._arrive, context=self._context)

    def _arrive(self) -> None:
        self._turn = None
        now = self._loop.time()
        for _ in range(len(self._waiting)):
            # What arrives may hold or empty the pipe.
            if self._held or not self._waiting or self._waiting[0][0] > now:
                break
            _, arrive, args = self._waiting.popleft()
            arrive(*args)
        if self._waiting and not self._held and self._turn is None:
            self._next_turn()
