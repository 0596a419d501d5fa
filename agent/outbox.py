"""Delivers outcomes: to the disk first, then to the store, for as long as it takes.

Two jobs, so that what comes while the store is away is safe on disk at once. One sender keeps the
order. An outcome that meets "already decided" has done its duty: the first one counts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

import msgspec

from agent.events import Event, OutcomeSettled
from agent.metrics import Metrics
from agent.spool import Spool
from common import subjects
from common.bus import BusError, Conflict
from common.logs import Log
from common.messages import Outcome
from common.subjects import AttemptKey

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds between two tries to store: doubled from the first up to the longest, with jitter."""

log = Log(__name__)


class Store(Protocol):
    """What the outbox needs of the bus."""

    async def wait_connected(self) -> None:
        """Return as soon as there is a connection."""

    async def store(self, subject: str, payload: bytes, *, expect_last: int | None) -> int:
        """Append a record if the subject's last one is the expected. Raises BusError."""


class Outbox:
    """The outcomes of one agent that are not known to be stored; keep ``run`` running.

    Without a spool they live in memory only, as they do where the disk refuses them.
    """

    def __init__(
        self,
        *,
        store: Store,
        spool: Spool | None,
        metrics: Metrics,
        tell: Callable[[Event], None],
    ) -> None:
        self._store = store
        self._spool = spool
        self._metrics = metrics
        self._tell = tell
        self._payloads: dict[AttemptKey, bytes] = {}
        self._on_disk: asyncio.Queue[AttemptKey] = asyncio.Queue()
        self._sendable: asyncio.Queue[AttemptKey] = asyncio.Queue()
        self._empty = asyncio.Event()
        self._empty.set()

    def recover(self) -> list[AttemptKey]:
        """Take in what a former run has left on the disk; blocks. They are sent first."""
        try:
            found = self._spool.load() if self._spool is not None else []
        except OSError as error:
            self._disk_failed("outcomes of a former run cannot be read", error)
            return []
        for key, payload in found:
            self._add(key, payload)
            self._sendable.put_nowait(key)
        return [key for key, _ in found]

    def deliver(self, key: AttemptKey, outcome: Outcome) -> None:
        """Keep an outcome until it is stored, and then say OutcomeSettled."""
        self._add(key, msgspec.json.encode(outcome))
        self._on_disk.put_nowait(key)

    def discard(self, key: AttemptKey) -> None:
        """Nobody wants this one any more."""
        if self._payloads.pop(key, None) is not None:
            self._on_disk.put_nowait(key)
        if not self._payloads:
            self._empty.set()

    async def emptied(self) -> None:
        """Return as soon as everything is stored."""
        await self._empty.wait()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._keep(), name="keep outcomes")
            jobs.create_task(self._send(), name="send outcomes")

    def _add(self, key: AttemptKey, payload: bytes) -> None:
        self._payloads[key] = payload
        self._empty.clear()

    # ── the disk ──

    async def _keep(self) -> None:
        """Bring the files in line with what is to be delivered, one change after another."""
        while True:
            key = await self._on_disk.get()
            payload = self._payloads.get(key)
            if self._spool is not None:
                await self._change_file(self._spool, key, payload)
            if payload is not None:
                self._sendable.put_nowait(key)

    async def _change_file(self, spool: Spool, key: AttemptKey, payload: bytes | None) -> None:
        try:
            if payload is None:
                await asyncio.to_thread(spool.remove, key)
            else:
                await asyncio.to_thread(spool.write, key, payload)
        except OSError as error:
            self._disk_failed("an outcome is kept in memory only", error)

    def _disk_failed(self, what: str, error: OSError) -> None:
        self._metrics.spool_failures.inc()
        log.warning(what, why=str(error))

    # ── the store ──

    async def _send(self) -> None:
        while True:
            key = await self._sendable.get()
            await self._until_stored(key)
            if key in self._payloads:
                self._tell(OutcomeSettled(key))
                self.discard(key)

    async def _until_stored(self, key: AttemptKey) -> None:
        """Return once the attempt is decided, or its outcome is not wanted any more."""
        pause = FIRST_PAUSE
        while (payload := self._payloads.get(key)) is not None:
            try:
                await self._store.wait_connected()
                await self._store.store(subjects.result(*key), payload, expect_last=0)
            except Conflict:
                log.debug("already decided", task=key.task, attempt=key.attempt)
                return
            except BusError as error:
                log.warning("an outcome cannot be stored yet", task=key.task, why=str(error))
            else:
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- no secret
            pause = min(2 * pause, LONGEST_PAUSE)
