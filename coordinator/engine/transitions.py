"""A task's transitions as the store knows them: created, started, finished, cancelled, decided.

Everything is a swap of the head that was read. Whoever loses a swap reads again; what may have
landed although no answer came is learned by watching the heads.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Protocol

from msgspec.structs import replace

from common.bus import BusError, Conflict
from common.logs import Log
from coordinator.core.commands import FinishTask, StartTask, StoreVerdict
from coordinator.core.events import (
    Event,
    FinishFailed,
    StartFailed,
    VerdictFailed,
)
from coordinator.core.run import TaskRun
from coordinator.core.task import Duty, TaskCounts, TaskHead, TaskSpec, TaskStatus
from coordinator.engine.heads import Heads
from coordinator.port import (
    AlreadyOver,
    Created,
    IdempotencyKey,
    KeyReused,
    NoSuchTask,
    StoreAway,
)
from coordinator.store import NAMED, KeyRecord, Store, StoredHead

log = Log(__name__)

CREATE_TRIES = 10
VERDICTS_AT_A_TIME = 256
"""A store takes some thousand a second; more at once would only time one another out."""


class Learn(Protocol):
    """Takes in a head that is known to be stored, with its lists where they are at hand."""

    def __call__(
        self,
        stored: StoredHead,
        *,
        named: Sequence[str] | None = None,
        nodes: Sequence[str] | None = None,
    ) -> None:
        """Take it in."""


class Transitions:
    """Writes heads, lists, keys and verdicts."""

    def __init__(
        self,
        store: Store,
        heads: Heads,
        epoch: int,
        clock: Callable[[], float],
        feed: Callable[[Event], None],
        learn: Learn,
        failed: Callable[[BusError], None],
    ) -> None:
        self._store = store
        self._heads = heads
        self._epoch = epoch
        self._clock = clock
        self._feed = feed
        self._learn = learn
        self._failed = failed
        self._verdicts = asyncio.Semaphore(VERDICTS_AT_A_TIME)
        self._lists = count(1)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    # ── created ──

    async def create(
        self,
        spec: TaskSpec,
        names: Sequence[str] | None,
        key: IdempotencyKey | None,
        retry_of: str | None,
    ) -> Created:
        """Store a task. Raises KeyReused, StoreAway."""
        async with store_needed(self._failed):
            for _ in range(CREATE_TRIES):
                head = self._new_head(spec, key, retry_of)
                if key is not None:
                    known = await self._claim(key, head.id)
                    if isinstance(known, StoredHead):
                        return Created(known.head, is_new=False)
                    head = replace(head, id=known)
                if names is not None:
                    await self._store.save_list(head.id, NAMED, names)
                try:
                    stored = await self._store.create_head(head)
                except Conflict:
                    continue  # an id drawn twice, or another request completed the same key
                self._learn(stored, named=names)
                return Created(head, is_new=True)
        raise StoreAway("The task that this key stands for cannot be read.")

    def _new_head(
        self, spec: TaskSpec, key: IdempotencyKey | None, retry_of: str | None
    ) -> TaskHead:
        now = self._now_ms()
        stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%d-%H%M%S")
        return TaskHead(
            id=f"task-{stamp}-{secrets.token_hex(4)}",
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
        raise StoreAway("What this key stands for cannot be read.")

    # ── started ──

    async def start(self, command: StartTask) -> None:
        """Store the node list, then bring the head to ``running``."""
        stored = self._heads.get(command.task)
        if stored is None or stored.head.status is not TaskStatus.PENDING:
            return  # its end or start is on its way to the core already
        # Never a name that was written before: a leader that was deposed while writing must not
        # touch the list that counts, and of a longer list some chunks would stay.
        name = f"nodes-{self._epoch}-{next(self._lists)}"
        size = stored.head.spec.batch_size
        running = replace(
            stored.head,
            status=TaskStatus.RUNNING,
            started_at=self._now_ms(),
            nodes=len(command.nodes),
            batches=-(-len(command.nodes) // size),
            node_list=name,
        )
        try:
            await self._store.save_list(command.task, name, command.nodes)
            swapped = await self._store.swap_head(stored, running)
        except Conflict:
            await self._read_again(command.task, StartFailed(command.task))
        except BusError as why:
            self._failed(why)
            log.warning("a start is not stored", task=command.task, why=str(why))
            self._feed(StartFailed(command.task))
        else:
            self._learn(swapped, nodes=command.nodes)

    async def _read_again(self, task: str, otherwise: Event) -> None:
        """After a lost swap: learn what is stored, or have the core try again later."""
        try:
            stored = await self._store.load_head(task)
        except BusError:
            stored = None
        known = self._heads.get(task)
        if stored is not None and (known is None or stored.revision > known.revision):
            self._learn(stored)
        self._feed(otherwise)

    # ── over ──

    async def finish(self, command: FinishTask) -> None:
        """Bring the head to its final status."""
        stored = self._heads.get(command.task)
        if stored is None or stored.head.status is not TaskStatus.RUNNING:
            return
        over = self._over(stored.head, command.status, command.counts, command.results_seq)
        over = replace(over, message=command.message)
        try:
            swapped = await self._store.swap_head(stored, over)
        except Conflict:
            await self._read_again(command.task, FinishFailed(command.task))
        except BusError as why:
            self._failed(why)
            log.warning("an end is not stored", task=command.task, why=str(why))
            self._feed(FinishFailed(command.task))
        else:
            self._learn(swapped)

    def _over(
        self, head: TaskHead, status: TaskStatus, counts: TaskCounts | None, results_seq: int
    ) -> TaskHead:
        webhook = () if head.spec.webhook_url is None else (Duty.WEBHOOK,)
        return replace(
            head,
            status=status,
            finished_at=self._now_ms(),
            counts=counts,
            results_seq=results_seq,
            notify=(Duty.EVENT, *webhook),
        )

    async def cancel(self, task: str, run: Callable[[], TaskRun | None]) -> TaskHead:
        """Cancel a task that is not over. Raises NoSuchTask, AlreadyOver, StoreAway.

        ``run`` gives the fold at this moment; what it has not taken in by then never counts.
        """
        async with store_needed(self._failed):
            stored = self._heads.get(task)
            while stored is not None:
                if stored.head.status.is_final:
                    raise AlreadyOver(stored.head.status)
                fold = run()
                counts = None if fold is None else fold.counts()
                seq = 0 if fold is None else fold.results_seq
                over = self._over(stored.head, TaskStatus.CANCELLED, counts, seq)
                try:
                    swapped = await self._store.swap_head(stored, over)
                except Conflict:
                    stored = await self._store.load_head(task)
                    if stored is not None:
                        self._learn(stored)
                else:
                    self._learn(swapped)
                    return swapped.head
            raise NoSuchTask(task)

    async def discharge(self, task: str, duty: Duty) -> None:
        """Note that the world has been told; tried again by the caller where the store is away."""
        stored = self._heads.get(task)
        while stored is not None and duty in stored.head.notify:
            left = tuple(other for other in stored.head.notify if other is not duty)
            try:
                swapped = await self._store.swap_head(stored, replace(stored.head, notify=left))
            except Conflict:
                stored = await self._store.load_head(task)
            else:
                self._learn(swapped)
                return

    # ── decided ──

    async def decide(self, command: StoreVerdict) -> None:
        """Store the leader's own outcome of an attempt; the core acts on what it reads back."""
        try:
            async with self._verdicts:
                await self._store.store_outcome(command.key, command.outcome)
        except Conflict:
            pass  # the agent was faster: its outcome counts
        except BusError as why:
            self._failed(why)
            self._feed(VerdictFailed(command.key, command.outcome))


@asynccontextmanager
async def store_needed(
    failed: Callable[[BusError], None] = lambda _: None,
) -> AsyncIterator[None]:
    """Turn what the bus says into StoreAway, for those who answer users; ``failed`` is told too."""
    try:
        yield
    except BusError as why:
        failed(why)
        raise StoreAway(f"The store cannot be used: {why.cause}.") from why
