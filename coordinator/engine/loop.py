"""The one place where the core is called: events in, commands and changes out, one at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar, cast

from coordinator.core.commands import WakeAt
from coordinator.core.events import Event, Woken
from coordinator.core.scheduler import Decision
from coordinator.faults import Faults

Performers = Mapping[type, Callable[[Any], None]]
"""Who carries out commands, by their type."""
Observer = Callable[[Event, Decision], None]
"""Sees an event and what the core made of it; must not touch either. Its faults end nothing."""
Kinds = Collection[type]
"""Types of events, of changes and of commands."""
EVERYTHING: Final[Kinds] = (object,)


class Decided(Protocol):
    """What one event leads to."""

    @property
    def commands(self) -> Sequence[Any]:
        """What is to be carried out, in this order."""

    @property
    def changes(self) -> Sequence[Any]:
        """What has become so."""


E = TypeVar("E")
D = TypeVar("D", bound=Decided)
E_contra = TypeVar("E_contra", contravariant=True)
D_co = TypeVar("D_co", covariant=True)


class Decides(Protocol[E_contra, D_co]):
    """A core, as far as this module needs it."""

    def handle(self, event: E_contra, now: float) -> D_co:
        """Take one event in; ``now`` in seconds since 1970, never falling."""


class CoreLoop(Generic[E, D]):
    """Feeds a core, which takes ``Woken`` in.

    Observers see what they asked for before its commands are performed.
    Without performers (``attach``) commands are dropped: that is how a follower's core lives.
    """

    def __init__(
        self, core: Decides[E, D], clock: Callable[[], float], faults: Faults | None = None
    ) -> None:
        self._core = core
        self._clock = clock
        self._faults = faults or Faults()
        self._performers: Performers = {}
        self._leads: Callable[[], bool] = lambda: False
        self._observers: list[tuple[Callable[[E, D], None], Kinds]] = []
        self._concerned: dict[frozenset[type], Collection[Callable[[E, D], None]]] = {}
        """Observers of an event and what it led to, of these types, as far as such were seen."""
        self._events: deque[E] = deque()
        self._busy = False
        self._alarm: asyncio.TimerHandle | None = None
        self._ended = False
        self._fault: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()

    def attach(self, performers: Performers, leads: Callable[[], bool] = lambda: True) -> None:
        """Have commands carried out from now on, whenever ``leads`` says so: else they drop."""
        self._performers = performers
        self._leads = leads

    def observe(self, observer: Callable[[E, D], None], of: Kinds = EVERYTHING) -> None:
        """Let this one, after those before it, see each event of these types.

        And each that led to a change or a command of these types.
        """
        self._observers.append((observer, of))
        self._concerned.clear()

    @property
    def ended(self) -> bool:
        """Whether nothing is taken in any more: the term is over."""
        return self._ended

    def feed(self, event: E) -> None:
        """Let the core know; what follows from it is done before this returns.

        Called while the core is at work, the event waits its turn. Never raises: a fault in the
        core ends ``run``, and with it the program, instead of one message's handler.
        """
        if self._ended:
            return  # an answer to what was asked before a deposition: nobody may act on it
        self._events.append(event)
        if self._busy or self._fault.done():
            return
        self._busy = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        except Exception as fault:  # noqa: BLE001 - reported by run(), which ends the program
            self._fault.set_exception(fault)
        finally:
            self._busy = False

    def _handle(self, event: E) -> None:
        now = self._clock()
        decision = self._core.handle(event, now)
        kinds = frozenset(map(type, (event, *decision.changes, *decision.commands)))
        concerned = self._concerned.get(kinds)
        if concerned is None:
            concerned = self._concerned[kinds] = tuple(
                observer
                for observer, of in self._observers
                if of is EVERYTHING or not kinds.isdisjoint(of)
            )
        for observe in concerned:
            try:
                observe(event, decision)
            except Exception as fault:  # noqa: BLE001 - who looks on ends nothing
                self._faults.note("observer", fault)
        for command in decision.commands:
            if isinstance(command, WakeAt):
                self._wake_at(command.when, now)
            elif (perform := self._performers.get(type(command))) is not None and self._leads():
                perform(command)

    def _wake_at(self, when: float, now: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        delay = max(0.0, when - now)
        self._alarm = asyncio.get_running_loop().call_later(
            delay, cast("Callable[[Woken], None]", self.feed), Woken()
        )

    async def run(self) -> NoReturn:
        """Wait for a fault in the core; raises it. When this ends, so does the loop."""
        try:
            await self._fault
        finally:
            self._ended = True
            if self._alarm is not None:
                self._alarm.cancel()
        raise AssertionError  # the future only ever fails


class Loop(CoreLoop[Event, Decision]):
    """Feeds the core of tasks."""
