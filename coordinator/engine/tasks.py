"""The table of tasks: a replica's own copy of all heads, how it is learned, and what it answers.

Whoever writes or reads a head brings it here, and nowhere else; the core is told what is new about
it. The copy is kept by watching the bucket, and is ahead of it by the replica's own writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from common.bus import BusError
from common.pause_texts import TASK_PAUSED
from common.text import Text
from common.texts import STORE_UNUSABLE
from coordinator.core.events import (
    Event,
    OutcomeStored,
    PauseSet,
    TaskCreated,
    TaskEnded,
    TaskStarted,
)
from coordinator.core.run import TaskRun
from coordinator.core.task import Creator, TaskHead, TaskStatus
from coordinator.engine.finished_folds import FinishedFolds
from coordinator.engine.heads import Heads, KeptHead
from coordinator.engine.outcomes_seen import OutcomesSeen
from coordinator.engine.persistence import Persistently
from coordinator.engine.progress_board import ProgressBoard
from coordinator.port import NoSuchTask, StoreAway, TaskDamaged
from coordinator.snapshots import Snapshot
from coordinator.store import StoredHead

OUTCOMES_AT_A_TIME = 100
Spawn = Callable[[Coroutine[Any, Any, None]], None]
OnHead = Callable[[TaskHead], None]
OnDamage = Callable[[str, Text], None]
"""Told a task that is not over, and what of it cannot be read."""


class Lists(Protocol):
    """What is needed of the store."""

    async def load_named(self, task: str) -> list[str]:
        """The ``nodeNames`` of a task that was created with some. Raises BusError, TaskDamaged."""

    async def load_nodes(self, head: TaskHead) -> list[str]:
        """The nodes of a started task. Raises BusError, TaskDamaged."""

    def load_outcomes(self, task: str, upto: int) -> AsyncIterator[OutcomeStored]:
        """The outcomes of one task up to a sequence, in order. Raises BusError."""

    async def load_head(self, task: str) -> StoredHead | None:
        """The head as the store has it now. Raises BusError."""

    async def exists(self, task: str) -> bool:
        """Whether there is a head, readable or not. Raises BusError."""


class Runs(Protocol):
    """What is needed of the core."""

    @property
    def runs(self) -> Mapping[str, TaskRun]:
        """The running tasks."""


@dataclass(slots=True)
class _Withheld:
    """Outcomes of one task that wait until it is known whether they count."""

    holders: int = 0
    events: list[OutcomeStored] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)


class TaskTable:
    """Every task that is stored (``port.Tasks``)."""

    def __init__(
        self,
        *,
        store: Lists,
        core: Runs,
        board: ProgressBoard,
        folds: FinishedFolds,
        why_waiting: Callable[[str], Text | None],
        feed: Callable[[Event], None],
        clock: Callable[[], float],
        spawn: Spawn,
        persistently: Persistently,
    ) -> None:
        """``spawn`` has a job done for as long as the replica lives."""
        self._store = store
        self._core = core
        self._board = board
        self._folds = folds
        self._why_waiting = why_waiting
        self._feed = feed
        self._clock = clock
        self._spawn = spawn
        self._persistently = persistently
        self._heads = Heads()
        self.counts: Mapping[TaskStatus, int] = self._heads.counts
        """How many tasks have a status."""
        self._withheld: dict[str, _Withheld] = {}
        self._listeners: list[tuple[OnHead, Collection[TaskStatus]]] = []
        self.damaged: dict[str, Text] = {}
        """Tasks that are not over and cannot go on, with what of them cannot be read."""
        self._damage_listeners: list[OnDamage] = []
        self.outcomes_seen = OutcomesSeen()

    # ── what is asked of a task ──

    def head(self, task_id: str) -> TaskHead | None:
        """The newest known head of a task."""
        kept = self._heads.by_id.get(task_id)
        if kept is None:
            return None
        return kept.head if kept.open is None else kept.open.head

    def stored(self, task_id: str) -> StoredHead | None:
        """The same with its revision, for whoever wants to swap it."""
        kept = self._heads.by_id.get(task_id)
        return None if kept is None else kept.open or kept.stored

    def is_over(self, task_id: str) -> bool:
        """Whether a task is known, and has ended."""
        kept = self._heads.by_id.get(task_id)
        return kept is not None and kept.status.is_final

    def ids(self, status: TaskStatus | None = None) -> Sequence[str]:
        """Ids of tasks (of one status), newest first."""
        return self._heads.newest_first(status)

    def newest_time(self) -> float:
        """The newest time in any head, in seconds since 1970; 0 where there is none."""
        return max((kept.newest_time for kept in self), default=0) / 1000

    def pending_of(self, creator: Creator) -> int:
        """How many pending tasks somebody has created."""
        return self._heads.pending_of[creator]

    def __iter__(self) -> Iterator[KeptHead]:
        return iter(self._heads)

    def __len__(self) -> int:
        return len(self._heads.by_id)

    def snapshot(self, task_id: str) -> Snapshot | None:
        """What is known of a task from memory alone."""
        head = self.head(task_id)
        return None if head is None else self._snapshot(head, self._core.runs.get(task_id))

    async def snapshot_with_nodes(self, task_id: str) -> Snapshot:
        """The same, a finished task's nodes read from the store.

        Raises NoSuchTask, StoreAway, TaskDamaged.
        """
        try:
            return await self.read_snapshot(task_id)
        except BusError as why:
            raise StoreAway(STORE_UNUSABLE(why=why.cause)) from why

    async def read_snapshot(self, task_id: str) -> Snapshot:
        """As ``snapshot_with_nodes``, for the engine. Raises NoSuchTask, BusError, TaskDamaged."""
        head = self.head(task_id)
        if head is None:
            raise NoSuchTask(task_id)
        if not head.status.is_final:
            return self._snapshot(head, self._core.runs.get(task_id))
        async with self._still_there(task_id):
            run = await self._folds.of(head)
        return self._snapshot(head, run)

    @asynccontextmanager
    async def _still_there(self, task: str) -> AsyncIterator[None]:
        """Read what a task has stored; what of it was removed meanwhile is no damage.

        Raises NoSuchTask, and BusError and TaskDamaged as what is read.
        """
        try:
            yield
        except TaskDamaged:
            if await self._store.exists(task):
                raise
            raise NoSuchTask(task) from None
        if task not in self._heads.by_id:
            raise NoSuchTask(task)

    def _snapshot(self, head: TaskHead, run: TaskRun | None) -> Snapshot:
        now = int(self._clock() * 1000)
        damage = self.damaged.get(head.id)
        if head.status is TaskStatus.PENDING:
            return Snapshot(head, now, waiting_for=damage or self._why_waiting(head.id))
        if head.status.is_final or run is None:
            retries = tuple(self._heads.retries.get(head.id, ()))
            return Snapshot(head, now, run=run, waiting_for=damage, retries=retries)
        return Snapshot(
            head,
            now,
            run=run,
            transfer=self._board.transfer(run),
            waiting_for=TASK_PAUSED() if head.paused else self._why_waiting(head.id),
            pulls=lambda node: self._board.pulls(head.id, node),
        )

    async def named_nodes(self, task_id: str) -> Sequence[str] | None:
        """The ``nodeNames`` that a task was created with.

        Raises NoSuchTask, StoreAway, TaskDamaged.
        """
        head = self.head(task_id)
        if head is None or not head.spec.names_nodes:
            return None
        try:
            async with self._still_there(task_id):
                return await self._store.load_named(task_id)
        except BusError as why:
            raise StoreAway(STORE_UNUSABLE(why=why.cause)) from why

    # ── how heads are learned ──

    def listen(self, on_head: OnHead, of: Collection[TaskStatus] = tuple(TaskStatus)) -> None:
        """Let this one know of every head that is new or changed, and of such a status."""
        self._listeners.append((on_head, of))

    def learn(
        self,
        stored: StoredHead,
        *,
        nodes: Sequence[str] | None = None,
    ) -> None:
        """Take a stored head in, with the nodes of a started task where they are at hand."""
        head = stored.head
        before = self._heads.by_id.get(head.id)
        if not self._heads.apply(stored):
            return
        if head.status.is_final:
            self.damaged.pop(head.id, None)
        if before is None or before.status is not head.status:
            if head.status is TaskStatus.PENDING:
                self._feed(TaskCreated(head, stored.order))
            elif head.status.is_final:
                self._feed(TaskEnded(head))
            elif nodes is None:
                self._spawn(self._introduce(head, stored.order))
            else:
                self._start(head, stored.order, nodes)
        elif head.status is TaskStatus.RUNNING and before.head.paused != head.paused:
            self._feed(PauseSet(head))
        for listener, statuses in self._listeners:
            if head.status in statuses:
                listener(head)

    def find(self, stored: StoredHead) -> None:
        """Take in a head that was there at the start; the core is told by ``begin``."""
        self._heads.apply(stored)

    def queue(self, head: TaskHead, order: int, *, found: bool) -> None:
        """Let the core know of a pending task; ``found``: it was there at the start."""
        self._feed(TaskCreated(head, order, found))

    def begin(self, head: TaskHead, order: int, nodes: Sequence[str]) -> None:
        """Let the core know of a running task and its nodes."""
        self._feed(TaskStarted(head, order, tuple(nodes)))

    async def _introduce(self, head: TaskHead, order: int) -> None:
        """A start that somebody else stored, or that landed without an answer: load its nodes."""
        try:
            nodes = await self._persistently(lambda: self.nodes_of(head))
        except TaskDamaged as damage:
            self.note_damage(head.id, damage.text)
            return
        current = self.head(head.id)
        if current is not None and current.status is TaskStatus.RUNNING:
            self._start(current, order, nodes)

    def _start(self, head: TaskHead, order: int, nodes: Sequence[str]) -> None:
        """A task has just started; what was stored of it before, whoever did that, counts too."""
        self.outcomes_seen.expect_earlier(head.id)
        self._feed(TaskStarted(head, order, tuple(nodes)))
        self._spawn(self._take_earlier(head.id, self.outcomes_seen.upto))

    async def _take_earlier(self, task: str, upto: int) -> None:
        try:
            earlier = await self._persistently.all(lambda: self._store.load_outcomes(task, upto))
            if earlier:
                await self.take_in(earlier)
        finally:
            self.outcomes_seen.earlier_seen(task)

    def listen_damage(self, on_damage: OnDamage) -> None:
        """Let this one know of every task of which something cannot be read, from now on."""
        self._damage_listeners.append(on_damage)

    def note_damage(self, task: str, text: Text) -> None:
        """Something of an unfinished task cannot be read: it waits for its leader to fail it."""
        head = self.head(task)
        if head is None or head.status.is_final:
            return
        self.damaged[task] = text
        for listener in self._damage_listeners:
            listener(task, text)

    async def nodes_of(self, head: TaskHead) -> list[str]:
        """The nodes of a started task. Raises BusError, TaskDamaged."""
        return await self._store.load_nodes(head)

    async def read_anew(self, task: str) -> None:
        """Learn what became of a swap that was not answered, as soon as the store says so."""
        stored = await self._persistently(lambda: self._store.load_head(task))
        if stored is not None:
            self.learn(stored)

    def forget(self, task: str) -> None:
        """A task's head was deleted: after its retention, or by hand, and then nothing goes on."""
        kept = self._heads.by_id.get(task)
        self.damaged.pop(task, None)
        if kept is not None and self._heads.remove(task) and not kept.status.is_final:
            self._feed(TaskEnded(kept.head))

    # ── outcomes ──

    async def take_in(self, outcomes: Sequence[OutcomeStored]) -> None:
        """Let the core know of stored outcomes; yields now and then."""
        for number, event in enumerate(outcomes, start=1):
            self._take_in(event)
            if number % OUTCOMES_AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _take_in(self, event: OutcomeStored) -> None:
        if event.key.task in self._withheld:
            self._withheld[event.key.task].events.append(event)
        else:
            self._feed(event)
        self.outcomes_seen.see(event.seq)

    @contextmanager
    def withholding(self, task: str) -> Iterator[None]:
        """Keep a task's outcomes back until the last one who wants that is done.

        While a task's end is being stored, what comes in either counts for all or for nobody.
        """
        withheld = self._withheld.setdefault(task, _Withheld())
        withheld.holders += 1
        try:
            yield
        finally:
            withheld.holders -= 1
            if not withheld.holders:
                del self._withheld[task]
                for event in withheld.events:
                    self._feed(event)
                withheld.let_go.set()

    async def wait_let_go(self, task: str) -> None:
        """Wait until nobody keeps a task's outcomes back: the core knows all that are seen then."""
        while (withheld := self._withheld.get(task)) is not None:
            await withheld.let_go.wait()
