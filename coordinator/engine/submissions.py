"""What users want stored: tasks created and cancelled, each by one swap in the store.

Any replica can do this by itself: whoever loses a swap reads again, and the leader learns of it by
watching the heads. What may have landed although no answer came is learned the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol
from weakref import WeakValueDictionary

from msgspec.structs import replace

from common.bus import BusError, Conflict
from common.texts import KEY_TASK_UNREADABLE, KEY_UNREADABLE, STORE_UNUSABLE
from coordinator.core.task import TaskHead, TaskSpec, TaskStatus
from coordinator.engine.ending import ended
from coordinator.engine.tasks import Runs, Spawn, TaskTable
from coordinator.port import (
    AlreadyOver,
    Created,
    IdempotencyKey,
    KeyReused,
    NoSuchTask,
    StoreAway,
)
from coordinator.store import NAMED, KeyRecord, StoredHead

CREATE_TRIES = 10
ID_BYTES = 4


class HeadsAndKeys(Protocol):
    """What is needed of the store; errors as there."""

    async def save_list(self, task: str, name: str, nodes: Sequence[str]) -> None:
        """Store a list of node names."""

    async def create_head(self, head: TaskHead) -> StoredHead:
        """Store a new task. Raises Conflict where the id is taken."""

    async def swap_head(self, old: StoredHead, new: TaskHead) -> StoredHead:
        """Replace exactly this head. Raises Conflict where it has changed since."""

    async def load_head(self, task: str) -> StoredHead | None:
        """The head as the store has it now."""

    async def was_deleted(self, task: str) -> bool:
        """Whether there was such a task and it has been removed."""

    async def load_key(self, key: str) -> tuple[KeyRecord, int] | None:
        """What an idempotency key stands for, with its revision."""

    async def claim_key(self, key: str, record: KeyRecord, revision: int | None = None) -> None:
        """Store what a key stands for, over a revision if given. Raises Conflict."""


class Submissions:
    """Creates and cancels."""

    def __init__(
        self,
        *,
        store: HeadsAndKeys,
        tasks: TaskTable,
        core: Runs,
        clock: Callable[[], float],
        draw: Callable[[int], str],
        spawn: Spawn,
        failed: Callable[[BusError], None],
    ) -> None:
        """``draw`` gives so many random bytes in hex; ``failed`` is told when the store refuses."""
        self._store = store
        self._tasks = tasks
        self._core = core
        self._clock = clock
        self._draw = draw
        self._spawn = spawn
        self._failed = failed
        self._cancels: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # ── created ──

    async def create(
        self,
        spec: TaskSpec,
        names: Sequence[str] | None,
        key: IdempotencyKey | None,
        retry_of: str | None,
    ) -> Created:
        """Store a task. Raises KeyReused, StoreAway."""
        async with self._store_needed():
            for _ in range(CREATE_TRIES):
                head = self._new_head(spec, key, retry_of)
                if key is not None:
                    known = await self._claim(key, head.id)
                    if isinstance(known, StoredHead):
                        self._tasks.learn(known)
                        return Created(known.head, is_new=False)
                    head = replace(head, id=known)
                if names is not None:
                    await self._store.save_list(head.id, NAMED, names)
                try:
                    stored = await self._store.create_head(head)
                except Conflict:
                    continue  # an id drawn twice, or another request completed the same key
                self._tasks.learn(stored, named=names)
                return Created(head, is_new=True)
        raise StoreAway(KEY_TASK_UNREADABLE())

    def _new_head(
        self, spec: TaskSpec, key: IdempotencyKey | None, retry_of: str | None
    ) -> TaskHead:
        now = int(self._clock() * 1000)
        stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%d-%H%M%S")
        return TaskHead(
            id=f"task-{stamp}-{self._draw(ID_BYTES)}",
            spec=spec,
            created_at=now,
            retry_of=retry_of,
            key=None if key is None else f"idem.{key.key_hash}",
        )

    async def _claim(self, key: IdempotencyKey, new_id: str) -> StoredHead | str:
        """The task that a key stands for, or the id under which it is to be created."""
        name = f"idem.{key.key_hash}"
        for _ in range(CREATE_TRIES):
            found = await self._store.load_key(name)
            revision = None
            if found is not None:
                record, revision = found
                stored = await self._store.load_head(record.task)
                if stored is not None or not await self._store.was_deleted(record.task):
                    if record.body != key.body_hash:
                        raise KeyReused(record.task)
                    return stored or record.task
            try:
                await self._store.claim_key(name, KeyRecord(new_id, key.body_hash), revision)
            except Conflict:
                continue  # another request with this key was faster
            return new_id
        raise StoreAway(KEY_UNREADABLE())

    # ── cancelled ──

    async def cancel(self, task: str) -> TaskHead:
        """Cancel a task that is not over. Raises NoSuchTask, AlreadyOver, StoreAway.

        Outcomes that come in while the head is being swapped wait: they either count for all or
        for nobody. Where the swap is not answered, they wait until the head can be read again.
        """
        async with self._cancels.setdefault(task, asyncio.Lock()):
            with ExitStack() as withheld:
                withheld.enter_context(self._tasks.withholding(task))
                try:
                    async with self._store_needed():
                        return await self._cancel(task)
                except StoreAway:
                    self._spawn(self._read_anew(task, withheld.pop_all()))
                    raise

    async def _cancel(self, task: str) -> TaskHead:
        stored = self._tasks.stored(task)
        while stored is not None:
            if stored.head.status.is_final:
                raise AlreadyOver(stored.head.status)
            run = self._core.runs.get(task)
            counted = None if run is None else run.ending()
            over = ended(stored.head, TaskStatus.CANCELLED, int(self._clock() * 1000), counted)
            try:
                swapped = await self._store.swap_head(stored, over)
            except Conflict:
                stored = await self._store.load_head(task)
                if stored is not None:
                    self._tasks.learn(stored)
            else:
                self._tasks.learn(swapped)
                return swapped.head
        raise NoSuchTask(task)

    async def _read_anew(self, task: str, withheld: ExitStack) -> None:
        with withheld:
            await self._tasks.read_anew(task)

    @asynccontextmanager
    async def _store_needed(self) -> AsyncIterator[None]:
        """Turn what the bus says into StoreAway, for those who answer users."""
        try:
            yield
        except BusError as why:
            self._failed(why)
            raise StoreAway(STORE_UNUSABLE(why=why.cause)) from why
