"""What is stored comes in: all of it at the start, then each head and outcome as it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from coordinator.core.events import OutcomeStored
from coordinator.core.task import TaskStatus
from coordinator.engine.heads import KeptHead
from coordinator.engine.tasks import Spawn, TaskTable
from coordinator.port import TaskDamaged
from coordinator.store import Gone, StoredHead

HEADS_AT_A_TIME = 50
"""Heads that are taken in before others have a turn on the event loop."""


class StoreReader(Protocol):
    """What is needed of the store."""

    async def outcomes_end(self) -> int:
        """The sequence of the newest outcome of all."""

    def load_heads(self) -> AsyncIterator[StoredHead | Gone]:
        """Every head, and the tombstones, in the order of their revisions."""

    def watch_heads(self, start: int) -> AsyncIterator[StoredHead | Gone]:
        """Every change of a head from a revision on, without end."""

    def load_outcomes(self, task: str, upto: int) -> AsyncIterator[OutcomeStored]:
        """The outcomes of one task up to a sequence."""

    def watch_outcomes(self, start: int) -> AsyncIterator[tuple[list[OutcomeStored], int]]:
        """Every outcome from a sequence on, without end; each time up to which one was read."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Up to where the store has been read."""

    heads: int
    """A revision."""
    outcomes: int
    """A sequence."""


class Intake:
    """Brings what the store has to the table of tasks."""

    def __init__(self, store: StoreReader, tasks: TaskTable, spawn: Spawn) -> None:
        self._store = store
        self._tasks = tasks
        self._spawn = spawn

    async def load(self) -> Loaded:
        """Take in everything that is stored by now. Raises BusError."""
        heads_end, number = 0, count(1)
        outcomes_end = await self._store.outcomes_end()
        async for stored in self._store.load_heads():
            heads_end = max(heads_end, stored.revision)
            if not isinstance(stored, Gone):
                self._tasks.find(stored)
            if next(number) % HEADS_AT_A_TIME == 0:
                await asyncio.sleep(0)
        for kept in sorted(self._tasks, key=lambda kept: kept.order):
            if next(number) % HEADS_AT_A_TIME == 0:
                await asyncio.sleep(0)
            if kept.status is TaskStatus.RUNNING:
                await self._load_running(kept, outcomes_end)
            elif kept.status is TaskStatus.PENDING:
                self._tasks.queue(kept.head, kept.order, found=True)
        self._tasks.outcomes_seen.see(outcomes_end)
        return Loaded(heads_end, outcomes_end)

    async def _load_running(self, kept: KeptHead, outcomes_end: int) -> None:
        head = kept.head
        try:
            nodes = await self._tasks.nodes_of(head)
        except TaskDamaged as damage:
            self._tasks.note_damage(head.id, damage.text)
            return
        self._tasks.begin(head, kept.order, nodes)
        async for event in self._store.load_outcomes(head.id, outcomes_end):
            await self._tasks.take_in([event])

    def follow(self, loaded: Loaded) -> None:
        """Take in, from now on, what is written after what was loaded."""
        self._spawn(self._watch_heads(loaded.heads + 1))
        self._spawn(self._watch_outcomes(loaded.outcomes + 1))

    async def _watch_heads(self, start: int) -> None:
        async for stored in self._store.watch_heads(start):
            if isinstance(stored, Gone):
                self._tasks.forget(stored.task)
            else:
                self._tasks.learn(stored)

    async def _watch_outcomes(self, start: int) -> None:
        async for events, upto in self._store.watch_outcomes(start):
            await self._tasks.take_in(events)
            if upto > self._tasks.outcomes_seen.upto:  # a stranger's record, which is no outcome
                self._tasks.outcomes_seen.see(upto)
