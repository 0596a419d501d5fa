"""Whether the store takes writes: known by those that fail, and by a probe now and then.

A stream can refuse while the bus is fine and the lease is renewed: a full disk stops one stream
after the other. While it does, nothing new is assigned and users are told so at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, Protocol

from common.bus import BusError, Conflict
from common.logs import Log
from coordinator.core.events import Event, StoreClosed, StoreOpened

log = Log(__name__)

PROBE_SECONDS = 1.0
"""Between two probes while there is trouble."""
LOOK_SECONDS = 10.0
"""Between two probes while all is well: users and agents have things written by whichever replica
they ask, so that a stream that refuses may not be noticed by any other write of this one."""
PATIENCE_SECONDS = 2.0
"""For the first probe while there is trouble, for each that was too slow twice as long. One that
went to a server that is gone waits for its answer longer than others take to elect a leader."""
MOST_PATIENCE_SECONDS = 32.0


class Probed(Protocol):
    """What is needed of the store."""

    async def probe(self) -> None:
        """Write something without meaning. Raises BusError."""


class StoreHealth:
    """The last trouble with writing, until a probe works."""

    def __init__(self, store: Probed, feed: Callable[[Event], None]) -> None:
        self.trouble: str | None = None
        """What the store said, in one line; None while all is well."""
        self._store = store
        self._feed = feed
        self._failed = asyncio.Event()
        self._patience = PATIENCE_SECONDS

    def failed(self, why: BusError) -> None:
        """A write was refused or not answered; one that merely lost a swap is no failure."""
        if isinstance(why, Conflict):
            return
        if self.trouble is None:
            log.warning("the store does not take writes", why=str(why))
            self._feed(StoreClosed())
        self.trouble = why.cause
        self._failed.set()

    async def watch(self) -> NoReturn:
        """Probe now and then, and often while there is trouble; runs without end."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._failed.wait()
            if self.trouble is not None:
                await asyncio.sleep(PROBE_SECONDS)
            try:
                async with asyncio.timeout(None if self.trouble is None else self._patience):
                    await self._store.probe()
            except BusError as why:
                self.failed(why)
            except TimeoutError:
                self._patience = min(2 * self._patience, MOST_PATIENCE_SECONDS)
            else:
                self._healed()

    def _healed(self) -> None:
        self._failed.clear()
        self._patience = PATIENCE_SECONDS
        if self.trouble is not None:
            self.trouble = None
            log.info("the store takes writes again")
            self._feed(StoreOpened())
