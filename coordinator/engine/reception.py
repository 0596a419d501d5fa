"""What agents say reaches this replica, and whether it can hear at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import NoReturn, Protocol

from common import subjects
from common.bus import BusError, Handler, Received, Subscription
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from coordinator.core.events import BusFellSilent, BusHeard, Event
from coordinator.core.fleet import FleetView

poison = RateLimitedLog(Log(__name__))

PING_SECONDS = 1.0
PING_ANSWER_SECONDS = 2.0


class Subscriber(Protocol):
    """What is needed of the bus to hear agents."""

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Have each message on a subject handled, by one of all who name the same queue."""


class Reception:
    """Subscribes, and keeps what cannot be understood from those who are told."""

    def __init__(self, bus: Subscriber, on_poison: Callable[[str], None]) -> None:
        """``on_poison`` is told the kind of each message that cannot be understood."""
        self._bus = bus
        self._on_poison = on_poison

    async def open(
        self, on_heartbeat: Handler, on_progress: Handler, subscriptions: ExitStack
    ) -> None:
        """Hear agents until ``subscriptions`` is closed. Handlers may raise what decoding does."""
        for kind, subject, handle in (
            ("heartbeat", subjects.ALL_HEARTBEATS, on_heartbeat),
            ("progress", subjects.ALL_PROGRESS, on_progress),
        ):
            subscription = await self._bus.subscribe(subject, self._guarded(kind, handle))
            subscriptions.callback(subscription.close)

    async def hear_leader(self, on_briefing: Handler, subscriptions: ExitStack) -> None:
        """Hear what the leader tells who follows, until ``subscriptions`` is closed."""
        handle = self._guarded("briefing", on_briefing)
        subscription = await self._bus.subscribe(subjects.BRIEFING, handler=handle)
        subscriptions.callback(subscription.close)

    async def hear_inventories(self, on_inventory: Handler, subscriptions: ExitStack) -> None:
        """Hear which images are on nodes, until ``subscriptions`` is closed."""
        handle = self._guarded("inventory", on_inventory)
        subscription = await self._bus.subscribe(subjects.ALL_INVENTORIES, handler=handle)
        subscriptions.callback(subscription.close)

    async def serve(self, on_outcome: Handler, subscriptions: ExitStack) -> None:
        """Be one of those who store outcomes, until ``subscriptions`` is closed."""
        handle = self._guarded("outcome", on_outcome)
        subscription = await self._bus.subscribe(
            subjects.ALL_OUTCOMES, handle, subjects.COORDINATORS
        )
        subscriptions.callback(subscription.close)

    def _guarded(self, kind: str, handle: Handler) -> Handler:
        def guarded(received: Received) -> None:
            try:
                handle(received)
            except (*NOT_DECODABLE, ValueError) as why:
                self._on_poison(kind)
                poison.warning(
                    kind, "a message cannot be understood", subject=received.subject, why=str(why)
                )

        return guarded


class Pinged(Protocol):
    """What is needed of the bus to know whether it hears this replica."""

    async def ping(self, within: float) -> float:
        """Hear oneself through the server. Raises BusError."""


class HasFleet(Protocol):
    """What is needed of the core."""

    @property
    def fleet(self) -> FleetView:
        """Who is there, and the clock of silence."""


async def watch_bus(
    bus: Pinged, core: HasFleet, feed: Callable[[Event], None], clock: Callable[[], float]
) -> NoReturn:
    """Let the core know whether this replica itself is heard by the bus; runs without end.

    Only while it is does the silence of others mean anything.
    """
    last = clock()
    while True:
        began = clock()
        try:
            await bus.ping(PING_ANSWER_SECONDS)
        except BusError:
            feed(BusFellSilent(last))
        else:
            last = began
            if core.fleet.clock.stands:
                feed(BusHeard())
        await asyncio.sleep(max(0.0, PING_SECONDS - (clock() - began)))
