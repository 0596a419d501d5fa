"""What users want stored: tasks created and cancelled, each by one swap in the store.

Any replica can do this by itself: whoever loses a swap reads again, and the leader learns of it by
watching the heads. What may have landed although no answer came is learned the same way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from weakref import WeakValueDictionary

from msgspec.structs import replace

from common.bus import BusError, Conflict
from common.text import Text
from common.texts import (
    KEY_TASK_UNREADABLE,
    KEY_UNREADABLE,
    STORE_UNUSABLE,
    TASK_LOADING,
    TASK_UNREADABLE,
)
from coordinator.core.run import Ending, TaskRun
from coordinator.core.task import Creator, TaskHead, TaskSpec, TaskStatus
from coordinator.engine.ending import ended
from coordinator.engine.set_repairs import RepairOrder
from coordinator.engine.tasks import Spawn, TaskTable
from coordinator.port import (
    AlreadyOver,
    Created,
    IdempotencyKey,
    KeyReused,
    NoSuchTask,
    NotRunning,
    StoreAway,
    TooManyPending,
    TooManyPendingOfUser,
)
from coordinator.store import NAMED, KeyRecord, StoredHead

CREATE_TRIES = 10
READING_SECONDS = 5.0
"""How long a cancel waits until this replica has read what is stored of its task; and before, until
it knows what became of an earlier cancel that was not answered."""
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

    async def outcomes_end_of(self, task: str) -> int:
        """The sequence of a task's newest outcome; 0 for none."""

    async def was_deleted(self, task: str) -> bool:
        """Whether there was such a task and it has been removed."""

    async def load_key(self, key: str) -> tuple[KeyRecord, int] | None:
        """What an idempotency key stands for, with its revision."""

    async def claim_key(self, key: str, record: KeyRecord, revision: int | None = None) -> None:
        """Store what a key stands for, over a revision if given. Raises Conflict."""


class Loads(Protocol):
    """Waits for what is not known here yet."""

    async def run(self, task: str) -> TaskRun | None:
        """The run of a running task; None where it has just ended. Raises TimeoutError."""


class _Claim(NamedTuple):
    """What an idempotency key stands for."""

    task: str | None
    """The id under which its task is to be created; None where the key is free."""
    stored: StoredHead | None
    """Its task, where that exists."""
    revision: int | None
    """Of a key record whose task is gone, and which may be overwritten."""


class Submissions:
    """Creates and cancels."""

    def __init__(
        self,
        *,
        store: HeadsAndKeys,
        tasks: TaskTable,
        lookups: Loads,
        max_pending: int,
        max_pending_of_user: int = 100,
        clock: Callable[[], float],
        draw: Callable[[int], str],
        spawn: Spawn,
        failed: Callable[[BusError], None],
    ) -> None:
        """``draw`` gives so many random bytes in hex; ``failed`` is told when the store refuses."""
        self._store = store
        self._tasks = tasks
        self._lookups = lookups
        self._max_pending = max_pending
        self._max_pending_of_user = max_pending_of_user
        self._creating: Counter[Creator | None] = Counter()
        """Creates that are under way, and may become pending tasks, by who asked for them."""
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
        creator: Creator | None = None,
    ) -> Created:
        """Store a task. Raises KeyReused, TooManyPending, TooManyPendingOfUser, StoreAway."""
        async with self._store_needed():
            for _ in range(CREATE_TRIES):
                claim = None if key is None else await self._look_up(key)
                if claim is not None and claim.stored is not None:
                    self._tasks.learn(claim.stored)
                    return Created(claim.stored.head, is_new=False)
                with self._room(creator):
                    head = self._new_head(spec, key, retry_of, creator)
                    if key is not None and claim is not None:
                        head = replace(head, id=await self._claim(key, claim, head.id))
                    if names is not None:
                        await self._store.save_list(head.id, NAMED, names)
                    try:
                        stored = await self._store.create_head(head)
                    except Conflict:
                        continue  # an id drawn twice, or another request completed the same key
                    self._tasks.learn(stored)
                    return Created(head, is_new=True)
        raise StoreAway(KEY_TASK_UNREADABLE())

    async def created_before(self, key: IdempotencyKey) -> Created | None:
        """The task that a key stands for, where it was stored. Raises KeyReused, StoreAway."""
        async with self._store_needed():
            stored = (await self._look_up(key)).stored
        if stored is None:
            return None
        self._tasks.learn(stored)
        return Created(stored.head, is_new=False)

    async def create_repair(self, order: RepairOrder) -> TaskHead:
        """Store a task that repairs a set, whoever waits. Raises StoreAway."""
        async with self._store_needed():
            for _ in range(CREATE_TRIES):
                head = self._new_head(order.spec, None, None, order.creator)
                head = replace(head, set=order.set, looks=order.looks)
                await self._store.save_list(head.id, NAMED, order.nodes)
                with suppress(Conflict):  # an id drawn twice
                    self._tasks.learn(await self._store.create_head(head))
                    return head
        raise StoreAway(KEY_TASK_UNREADABLE())

    @contextmanager
    def _room(self, creator: Creator | None) -> Iterator[None]:
        """Room for one more pending task, also while it is being stored."""
        if self._tasks.counts[TaskStatus.PENDING] + self._creating.total() >= self._max_pending:
            raise TooManyPending(self._max_pending)
        if creator is not None:
            pending = self._tasks.pending_of(creator) + self._creating[creator]
            if pending >= self._max_pending_of_user:
                raise TooManyPendingOfUser(creator.user, self._max_pending_of_user)
        self._creating[creator] += 1
        try:
            yield
        finally:
            self._creating[creator] -= 1
            self._creating += Counter()  # only those that are not 0 are kept

    def _new_head(
        self,
        spec: TaskSpec,
        key: IdempotencyKey | None,
        retry_of: str | None,
        creator: Creator | None,
    ) -> TaskHead:
        now = int(self._clock() * 1000)
        stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%d-%H%M%S")
        return TaskHead(
            id=f"task-{stamp}-{self._draw(ID_BYTES)}",
            spec=spec,
            created_at=now,
            retry_of=retry_of,
            created_by=creator,
            key=None if key is None else _name(key),
        )

    async def _look_up(self, key: IdempotencyKey) -> _Claim:
        """What a key stands for. Raises KeyReused."""
        found = await self._store.load_key(_name(key))
        if found is None:
            return _Claim(None, None, None)
        record, revision = found
        stored = await self._store.load_head(record.task)
        if stored is None and await self._store.was_deleted(record.task):
            return _Claim(None, None, revision)
        if record.body != key.body_hash:
            raise KeyReused(record.task)
        return _Claim(record.task, stored, revision)

    async def _claim(self, key: IdempotencyKey, claim: _Claim, new_id: str) -> str:
        """The id under which a key's task is to be created."""
        for _ in range(CREATE_TRIES):
            if claim.task is not None:
                return claim.task
            try:
                record = KeyRecord(new_id, key.body_hash)
                await self._store.claim_key(_name(key), record, claim.revision)
            except Conflict:
                claim = await self._look_up(key)  # another request with this key was faster
            else:
                return new_id
        raise StoreAway(KEY_UNREADABLE())

    # ── cancelled ──

    async def cancel(self, task: str) -> TaskHead:
        """Cancel a task that is not over. Raises NoSuchTask, AlreadyOver, StoreAway.

        Outcomes that come in while the head is being swapped wait: they either count for all or
        for nobody. Where the swap is not answered, they wait until the head can be read again, and
        so does whoever asks for the cancel once more.
        """
        async with self._cancels.setdefault(task, asyncio.Lock()):
            while True:
                async with self._in_time(TASK_UNREADABLE()):
                    await self._tasks.wait_let_go(task)
                await self._read_up(task)
                with ExitStack() as withheld:
                    withheld.enter_context(self._tasks.withholding(task))
                    try:
                        async with self._store_needed():
                            cancelled = await self._try_cancel(task)
                    except StoreAway:
                        self._spawn(self._read_anew(task, withheld.pop_all()))
                        raise
                if cancelled is not None:
                    return cancelled

    async def _read_up(self, task: str) -> None:
        """Know every outcome that is stored by now: the leader may have told of it.

        Raises StoreAway.
        """
        if not self._has_outcomes(task):
            return
        async with self._store_needed():
            end = await self._store.outcomes_end_of(task)
        if not self._has_outcomes(task):
            return  # it has ended meanwhile
        async with self._in_time(TASK_LOADING()):
            await self._lookups.run(task)  # what came before it is known is read once it is
            await self._tasks.outcomes_seen.wait(task, end)

    def _has_outcomes(self, task: str) -> bool:
        """Whether any count of a task that is not over."""
        head = self._tasks.head(task)
        is_running = head is not None and head.status is TaskStatus.RUNNING
        return is_running and task not in self._tasks.damaged

    async def _try_cancel(self, task: str) -> TaskHead | None:
        """Swap the head as it is known; None where it has changed, which is known then."""
        stored = self._tasks.stored(task)
        if stored is None:
            raise NoSuchTask(task)
        if stored.head.status.is_final:
            raise AlreadyOver(stored.head.status)
        counted = await self._counted(stored.head)
        over = ended(stored.head, TaskStatus.CANCELLED, int(self._clock() * 1000), counted)
        try:
            swapped = await self._store.swap_head(stored, over)
        except Conflict:
            newer = await self._store.load_head(task)
            if newer is None:
                raise NoSuchTask(task) from None
            self._tasks.learn(newer)
            return None
        self._tasks.learn(swapped)
        return swapped.head

    async def _counted(self, head: TaskHead) -> Ending | None:
        """What counts of a task at this moment; None where it never began. Raises StoreAway."""
        if head.status is TaskStatus.PENDING or head.id in self._tasks.damaged:
            return None
        try:
            run = await self._lookups.run(head.id)
        except TimeoutError:
            raise StoreAway(TASK_LOADING()) from None
        return None if run is None else run.ending()

    # ── paused ──

    async def pause(self, task: str, *, paused: bool) -> TaskHead:
        """Pause a running task, or resume it. Raises NoSuchTask, NotRunning, StoreAway."""
        async with self._store_needed():
            stored = await self._store.load_head(task)
            while stored is not None:
                if stored.head.status is not TaskStatus.RUNNING:
                    raise NotRunning(stored.head.status)
                if stored.head.paused == paused:
                    return stored.head
                try:
                    stored = await self._store.swap_head(
                        stored, replace(stored.head, paused=paused)
                    )
                except Conflict:
                    stored = await self._store.load_head(task)
                if stored is not None:
                    self._tasks.learn(stored)
            raise NoSuchTask(task)

    async def _read_anew(self, task: str, withheld: ExitStack) -> None:
        with withheld:
            await self._tasks.read_anew(task)

    @staticmethod
    @asynccontextmanager
    async def _in_time(text: Text) -> AsyncIterator[None]:
        """Do something within ``READING_SECONDS``. Raises StoreAway, with this text, else."""
        try:
            async with asyncio.timeout(READING_SECONDS):
                yield
        except TimeoutError:
            raise StoreAway(text) from None

    @asynccontextmanager
    async def _store_needed(self) -> AsyncIterator[None]:
        """Turn what the bus says into StoreAway, for those who answer users."""
        try:
            yield
        except BusError as why:
            self._failed(why)
            raise StoreAway(STORE_UNUSABLE(why=why.cause)) from why


def _name(key: IdempotencyKey) -> str:
    """Under which name a key is stored."""
    return f"idem.{key.key_hash}"
