"""What is stored comes in: all of it when a term begins, then each head and outcome as written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from coordinator.core.events import Event, OutcomeStored, TaskCreated, TaskEnded, TaskStarted
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.engine.endings import Endings
from coordinator.engine.heads import Heads
from coordinator.engine.publisher import Publisher
from coordinator.engine.store_health import persist
from coordinator.store import NAMED, Gone, Store, StoredHead

OUTCOMES_AT_A_TIME = 100


@dataclass(slots=True)
class _Withheld:
    """Outcomes of one task that wait until it is known whether they count."""

    holders: int = 0
    events: list[OutcomeStored] = field(default_factory=list)


class Intake:
    """Feeds the core with what is stored, and keeps the heads."""

    def __init__(
        self,
        store: Store,
        heads: Heads,
        feed: Callable[[Event], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        publisher: Publisher,
        endings: Endings,
        on_over: Callable[[str], None],
    ) -> None:
        """``on_over`` is called with the id of each task whose final head is written or removed."""
        self._store = store
        self._heads = heads
        self._feed = feed
        self._spawn = spawn
        self._publisher = publisher
        self._endings = endings
        self._on_over = on_over
        self._withheld: dict[str, _Withheld] = {}

    async def load(self) -> tuple[int, int]:
        """Feed the core with everything that is not over; the ends of what was read."""
        heads_end = 0
        outcomes_end = await self._store.outcomes_end()
        async for stored in self._store.load_heads():
            heads_end = max(heads_end, stored.revision)
            if not isinstance(stored, Gone):
                self._heads.apply(stored)
        for stored in sorted(self._heads, key=lambda stored: stored.order):
            if not stored.head.status.is_final:
                await self._load_unfinished(stored, outcomes_end)
            elif stored.head.notify:
                self._spawn(self._endings.tell_again(stored.head))
        return heads_end, outcomes_end

    async def _load_unfinished(self, stored: StoredHead, outcomes_end: int) -> None:
        head = stored.head
        if head.status is TaskStatus.RUNNING:
            await self._publisher.read_kept(head.id)
            self._publisher.created(head)
            nodes = await self._store.load_list(head.id, head.node_list or "")
            self._feed(TaskStarted(head, stored.order, tuple(nodes)))
            async for event in self._store.load_outcomes(head.id, outcomes_end):
                self._feed(event)
        else:
            await self._introduce(stored, found=True)

    async def watch_heads(self, start: int) -> None:
        """Take in every head that is written from ``start`` on; runs without end."""
        async for stored in self._store.watch_heads(start):
            if isinstance(stored, Gone):
                self.forget(stored.task)
            else:
                self.learn(stored)

    async def watch_outcomes(self, start: int) -> None:
        """Take in every outcome that is stored from ``start`` on; runs without end."""
        async for events in self._store.watch_outcomes(start):
            for number, event in enumerate(events, start=1):
                self._take_outcome(event)
                if number % OUTCOMES_AT_A_TIME == 0:
                    await asyncio.sleep(0)

    def _take_outcome(self, event: OutcomeStored) -> None:
        if event.key.task in self._withheld:
            self._withheld[event.key.task].events.append(event)
        else:
            self._feed(event)

    @contextmanager
    def withholding(self, task: str) -> Iterator[None]:
        """Keep a task's outcomes back until the last one who wants that is done."""
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

    async def read_anew(self, task: str, withheld: ExitStack) -> None:
        """Learn what became of a swap that was not answered; then let go what was withheld."""
        with withheld:
            stored = await persist(lambda: self._store.load_head(task))
            if stored is not None:
                self.learn(stored)

    def learn(
        self,
        stored: StoredHead,
        *,
        named: Sequence[str] | None = None,
        nodes: Sequence[str] | None = None,
    ) -> None:
        """Take a stored head in, and let the core know what is new about it."""
        before = self._heads.get(stored.head.id)
        if not self._heads.apply(stored):
            return
        head = stored.head
        if head.status.is_final:
            self._on_over(head.id)
        if before is not None and before.head.status is head.status:
            return
        if head.status.is_final:
            self._feed(TaskEnded(head))
            if head.notify:
                self._spawn(self._endings.tell(head))
        elif nodes is not None:
            self._feed(TaskStarted(head, stored.order, tuple(nodes)))
        elif head.status is TaskStatus.PENDING and (named is not None or not head.spec.names_nodes):
            self._feed(TaskCreated(head, stored.order, None if named is None else tuple(named)))
        else:
            self._spawn(self._introduce(stored))

    async def _introduce(self, stored: StoredHead, *, found: bool = False) -> None:
        """A head that somebody else wrote, or that landed without an answer: load its list.

        ``found``: it was there when the term began.
        """
        head = stored.head
        nodes = await persist(lambda: self._nodes_of(head))
        current = self._heads.get(head.id)
        if current is None or current.head.status is not head.status:
            return
        if head.status is TaskStatus.RUNNING:
            self._feed(TaskStarted(head, stored.order, tuple(nodes or ())))
        else:
            named = None if nodes is None else tuple(nodes)
            self._feed(TaskCreated(head, stored.order, named, found))

    async def _nodes_of(self, head: TaskHead) -> list[str] | None:
        """The nodes of a started task, or those that one was created with; None for neither."""
        if head.status is TaskStatus.RUNNING:
            return await self._store.load_list(head.id, head.node_list or "")
        return await self._store.load_list(head.id, NAMED) if head.spec.names_nodes else None

    def forget(self, task: str) -> None:
        """A task's head was deleted."""
        stored = self._heads.get(task)
        if stored is not None and self._heads.remove(task) and not stored.head.status.is_final:
            self._feed(TaskEnded(stored.head))  # removed by hand: nothing of it goes on
            self._on_over(task)
