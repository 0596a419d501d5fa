"""Whether the store takes writes: known by those that fail, healed by a probe that works.

A stream can refuse while the bus is fine and the lease is renewed: a full disk stops one stream
after the other. While it does, nothing new is assigned and users are told so at once (design D11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from common.bus import BusError, Conflict
from common.logs import Log
from coordinator.core.events import Event, StoreClosed, StoreOpened
from coordinator.store import Store

log = Log(__name__)

PROBE_SECONDS = 1.0


class StoreHealth:
    """The last trouble with writing, until a probe works."""

    def __init__(self, store: Store, feed: Callable[[Event], None]) -> None:
        self.trouble: str | None = None
        """What the store said, in one line; None while all is well."""
        self._store = store
        self._feed = feed
        self._failed = asyncio.Event()

    def failed(self, why: BusError) -> None:
        """A write was refused or not answered; one that merely lost a swap is no failure."""
        if isinstance(why, Conflict):
            return
        if self.trouble is None:
            log.warning("the store does not take writes", why=str(why))
            self._feed(StoreClosed())
        self.trouble = str(why)
        self._failed.set()

    async def watch(self) -> None:
        """Probe while there is trouble; runs without end."""
        while True:
            await self._failed.wait()
            await asyncio.sleep(PROBE_SECONDS)
            try:
                await self._store.probe()
            except BusError as why:
                self.trouble = str(why)
            else:
                self.trouble = None
                self._failed.clear()
                log.info("the store takes writes again")
                self._feed(StoreOpened())
