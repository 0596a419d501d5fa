"""Tasks that are over: how each went, read from the store, and telling the world how it ended.

What is still to be told stands in the task's head (``notify``), so that a term takes up what the
one before it did not get to say.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from common.logs import Log
from coordinator.core.run import Change, TaskRun
from coordinator.core.task import Duty, TaskHead
from coordinator.engine.heads import Heads
from coordinator.engine.publisher import Publisher
from coordinator.engine.store_health import persist
from coordinator.engine.webhooks import Webhooks
from coordinator.port import NoSuchTask
from coordinator.store import Store
from coordinator.views.tasks import Snapshot

T = TypeVar("T")
log = Log(__name__)

FINISHED_REMEMBERED = 2
AT_A_TIME = 4
"""Tasks whose end is read from the store at once, after a start with many untold ones."""


class Endings:
    """The finished tasks of one term."""

    def __init__(
        self,
        store: Store,
        heads: Heads,
        publisher: Publisher,
        webhooks: Webhooks,
        clock: Callable[[], float],
        told: Callable[[str, Duty], Awaitable[None]],
    ) -> None:
        """``told`` takes a duty off a task's head."""
        self._store = store
        self._heads = heads
        self._publisher = publisher
        self._webhooks = webhooks
        self._clock = clock
        self._told = told
        self._lookers = asyncio.Semaphore(AT_A_TIME)
        self._finished: OrderedDict[tuple[str, int | None], TaskRun] = OrderedDict()
        """The finished tasks that were looked at last: their folds never change."""
        self._folding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def finished_run(self, task: str) -> TaskRun:
        """The fold of a finished task, read from the store. Raises NoSuchTask, BusError."""
        stored = self._heads.get(task)
        if stored is None:
            raise NoSuchTask(task)
        key = task, stored.head.results_seq
        # When a large task has failed, every page that is open on it asks at the same moment.
        async with self._folding.setdefault(task, asyncio.Lock()):
            run = self._finished.get(key)
            if run is None:
                run = await self._fold(stored.head, lambda *_: None)
                self._finished[key] = run
            self._finished.move_to_end(key)
            while len(self._finished) > FINISHED_REMEMBERED:
                self._finished.popitem(last=False)
            return run

    async def _fold(
        self, head: TaskHead, on_change: Callable[[TaskRun, str, Change, float], None]
    ) -> TaskRun:
        nodes = await self._store.load_list(head.id, head.node_list) if head.node_list else []
        run = TaskRun(head, nodes)
        async for event in self._store.load_outcomes(head.id, head.results_seq or 0):
            for change in run.take_in(
                event.key, event.outcome, seq=event.seq, stored_at=event.stored_at, now=0.0
            ):
                on_change(run, event.key.node, change, event.stored_at)
        run.close()
        return run

    async def tell(self, head: TaskHead) -> None:
        """Let the world know how a task ended; both duties are remembered by its head."""

        async def look() -> Snapshot:
            if self._heads.get(head.id) is None:
                raise NoSuchTask(head.id)
            has_failures = head.counts is not None and head.counts.failed_details > 0
            run = await self.finished_run(head.id) if has_failures else None
            return Snapshot(head, int(self._clock() * 1000), run=run)

        try:
            if Duty.EVENT in head.notify:
                self._publisher.ended(await self._look(look))
            if Duty.WEBHOOK in head.notify:
                await self._webhooks.deliver(head, look)
        except NoSuchTask:
            log.info("a task was removed before the world was told of its end", task=head.id)

    async def tell_again(self, head: TaskHead) -> None:
        """A term before this one did not get to say how a task ended, nor maybe how it went."""
        if Duty.EVENT in head.notify:
            try:
                await self._look(lambda: self._retell(head))
            except NoSuchTask:
                return
            if self._publisher.knows_end(head):
                await persist(lambda: self._told(head.id, Duty.EVENT))
        stored = self._heads.get(head.id)
        if stored is not None:
            await self.tell(stored.head)

    async def _retell(self, head: TaskHead) -> None:
        """Publish what is missing of a finished task, all but its end."""
        await self._publisher.read_kept(head.id)
        if self._publisher.knows_end(head):
            return
        self._publisher.created(head)
        if head.started_at is not None:
            self._publisher.started(head)
        await self._fold(head, self._publisher.changed)

    async def _look(self, work: Callable[[], Awaitable[T]]) -> T:
        """Read a whole task from the store, as often as it takes, and not too many at once."""
        async with self._lookers:
            return await persist(work)
