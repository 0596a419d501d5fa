"""Removes finished tasks after their retention, and what a crash left of removed ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import NoReturn, Protocol

from common.bus import Conflict
from common.logs import Log
from coordinator.core.task import TaskHead
from coordinator.engine.heads import KeptHead
from coordinator.engine.persistence import Persistently
from coordinator.engine.webhooks import GIVE_UP_SECONDS
from coordinator.store import KEY_UNUSED_SECONDS, StoredHead

log = Log(__name__)

SHORTEST_SLEEP_SECONDS = 1.0
NOTE_SECONDS = 60.0
"""Between two notes that somebody leads."""
BEING_CREATED_SECONDS = 3600.0


class StoredTasks(Protocol):
    """What is needed of the table of tasks."""

    def __iter__(self) -> Iterator[KeptHead]:
        """Every head; may change while one looks."""

    def head(self, task_id: str) -> TaskHead | None:
        """The newest known head of a task."""

    def forget(self, task: str) -> None:
        """A task's head was deleted."""


class CountedTime(Protocol):
    """What is needed of ``store_clock.Uptime``."""

    def now(self) -> float:
        """Seconds since 1970, by the clock that is the most behind."""

    def unseen(self, since: float) -> float:
        """Seconds after a moment that do not count."""

    async def note(self) -> None:
        """Note that somebody leads. Raises BusError."""


class Removes(Protocol):
    """What is needed of the store; errors as there."""

    async def delete_head(self, stored: StoredHead) -> None:
        """Remove a task from sight. Raises Conflict where it has changed since."""

    async def exists(self, task: str) -> bool:
        """Whether there is a head, readable or not."""

    async def purge_task(self, task: str, key: str | None = None) -> None:
        """Remove what is left of a task whose head is deleted."""

    async def tasks_with_lists(self) -> set[str]:
        """Tasks of which any list is stored."""

    async def tasks_with_outcomes(self) -> set[str]:
        """Tasks of which any outcome is stored."""

    async def release_keys(self, is_known: Callable[[str], bool], now: float) -> None:
        """Remove key records that stand for no task."""


LISTS_AT_A_TIME = 100
"""Tasks that are looked at before others have a turn on the event loop."""


class Janitor:
    """Deletes the head of a task that has expired, then what else is stored of it."""

    def __init__(
        self,
        *,
        store: Removes,
        tasks: StoredTasks,
        time: CountedTime,
        retention_seconds: float,
        persistently: Persistently,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._time = time
        self._retention = retention_seconds
        self._persistently = persistently
        self._changed = asyncio.Event()
        self._left: dict[str, str | None] = {}
        """Tasks whose head is deleted, or was about to be, and whose other records are still
        there; with their keys."""

    def on_final_head(self, _head: TaskHead) -> None:
        """A task is over, or the world was told of it: it may expire sooner now."""
        self._changed.set()

    async def run(self) -> NoReturn:
        """Sweep what crashes left, then remove tasks as their time comes; runs without end."""
        await self._persistently(self._time.note)
        await self._persistently(self._sweep)
        while True:
            await self._persistently(self._time.note)
            await self._persistently(self._remove_expired)
            self._changed.clear()
            now = self._time.now()
            due = min(map(self._expires, self._tasks), default=now + NOTE_SECONDS)
            await self._next_due(min(due - now, NOTE_SECONDS))

    async def _next_due(self, seconds: float) -> None:
        """Wait until something is due, or may be due sooner than was thought."""
        await asyncio.sleep(SHORTEST_SLEEP_SECONDS)  # however many tasks end, one round a second
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds - SHORTEST_SLEEP_SECONDS):
                await self._changed.wait()

    def _expires(self, head: KeptHead) -> float:
        if head.finished_at is None:
            return float("inf")
        over = head.finished_at / 1000
        # Whoever is still to be told of it keeps it, for as long as telling is tried.
        kept = max(self._retention, GIVE_UP_SECONDS) if head.notify else self._retention
        return over + kept + self._time.unseen(over)

    async def _remove_expired(self) -> None:
        now = self._time.now()
        for kept in self._tasks:
            if self._expires(kept) > now:
                continue
            stored = kept.stored
            self._left[stored.head.id] = stored.head.key
            try:
                await self._store.delete_head(stored)
            except Conflict:
                if await self._store.exists(stored.head.id):
                    del self._left[stored.head.id]
                    continue  # somebody has rewritten it: seen anew at the next round
            self._tasks.forget(stored.head.id)
            log.info("task removed after its retention", task=stored.head.id)
        for task, key in list(self._left.items()):
            await self._store.purge_task(task, key)
            del self._left[task]

    async def _sweep(self) -> None:
        """Purge again what belongs to no task: a purge is not crash-proof [nats-server #8505]."""
        # Lists are stored before their head: those of a task that is being created must stay.
        lists = await self._store.tasks_with_lists()
        old = set()
        for number, task in enumerate(lists):
            if self._age(_drawn_at(task)) > BEING_CREATED_SECONDS:
                old.add(task)
            if number % LISTS_AT_A_TIME == 0:
                await asyncio.sleep(0)
        for number, task in enumerate(await self._store.tasks_with_outcomes() | old):
            if number % LISTS_AT_A_TIME == 0:
                await asyncio.sleep(0)
            if self._tasks.head(task) is None and not await self._store.exists(task):
                await self._store.purge_task(task)
                log.info("purged what was left of a removed task", task=task)
        now = self._time.now()
        now -= self._time.unseen(now - KEY_UNUSED_SECONDS)
        await self._store.release_keys(lambda task: self._tasks.head(task) is not None, now)

    def _age(self, since: float) -> float:
        """Seconds since a moment, as far as they count."""
        return self._time.now() - since - self._time.unseen(since)


def _drawn_at(task: str) -> float:
    """When a task id was drawn, in seconds since 1970; 0 for what is no task id."""
    try:
        return datetime.strptime(task[:20], "task-%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
