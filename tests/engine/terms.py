"""One task's history, and terms of leaders that tell the world of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from msgspec.structs import replace

from common import subjects
from common.subjects import AttemptKey
from coordinator.core.changes import TaskOver
from coordinator.core.events import Event, OutcomeStored, TaskCreated, TaskEnded, TaskStarted
from coordinator.core.scheduler import Core, Limits
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.engine.heads import KeptHead
from coordinator.engine.persistence import Persistently
from coordinator.engine.publisher import Publisher
from coordinator.engine.task_events import TaskEvents
from coordinator.faults import Faults
from coordinator.snapshots import Snapshot
from coordinator.store import Store, StoredHead
from sandbox.virtual.bus import VirtualBus
from tests.core.stage import FLAKY, head, pulled, spec
from tests.engine.stored import TASK, bus_in_memory, now

ALL = [
    "task.created",
    "task.started",
    "node.retrying/n1/1",
    "node.succeeded/n2/1",
    "node.succeeded/n1/2",
    "task.completed",
]
"""The ids of what happens in ``History``, each behind the task's."""
OUTCOMES = (("n1", 1, FLAKY), ("n2", 1, pulled()), ("n1", 2, pulled()))


class History:
    """One task from its creation to its end, with what of it is in the store."""

    def __init__(self, bus: VirtualBus) -> None:
        self.bus, self.store = bus, Store(bus)
        at = int(now() * 1000)
        self.pending = replace(head(TASK, spec(max_retries=2)), created_at=at)
        self.running = replace(
            self.pending, status=TaskStatus.RUNNING, started_at=at, nodes=2, node_list="nodes"
        )
        self.over = replace(
            self.running, status=TaskStatus.COMPLETED, finished_at=at, results_seq=len(OUTCOMES)
        )
        self.events: list[Event] = [
            TaskCreated(self.pending, 1),
            TaskStarted(self.running, 1, ("n1", "n2")),
        ]

    async def write(self) -> None:
        """Store its list and outcomes."""
        await self.store.save_list(TASK, "nodes", ["n1", "n2"])
        for node, attempt, outcome in OUTCOMES:
            await self.store.store_outcome(AttemptKey(TASK, node, attempt), outcome)
        self.events += [event async for event in self.store.load_outcomes(TASK, 100)]
        self.events.append(TaskEnded(self.over))

    def head(self, events: int) -> TaskHead | None:
        """The task's head after so many events."""
        if events == 0:
            return None
        if events == len(ALL):
            return self.over
        return self.pending if events == 1 else self.running

    async def told(self) -> list[str]:
        """The ids of all kept events without the task's, progress as such."""
        return [told["id"].removeprefix(f"{TASK}/") for told in await self.kept()]

    async def kept(self) -> list[dict[str, str]]:
        """All kept events; every progress has the id ``progress``."""
        found = []
        async for records in self.bus.replay(subjects.EVENTS):
            for record in records:
                event = msgspec.json.decode(record.data)
                if event["type"] == "task.progress":
                    event["id"] = "progress"
                found.append(event)
        return found


class Term:
    """A core that follows, and from ``lead`` on tells the world."""

    def __init__(self, history: History, epoch: int) -> None:
        self.core = Core(Limits(), now())
        self.lasts: list[str] = []
        self._history = history
        self._leads = False
        self._heads: dict[str, TaskHead] = {}
        self._jobs: list[asyncio.Task[None]] = []
        self._seen = 0
        self.publisher = Publisher(history.bus, self._last_told, lambda: True)
        self.events = TaskEvents(
            publisher=self.publisher,
            outcomes=history.store,
            tasks=self,
            runs=self.core.runs,
            source="/ips/test",
            epoch=epoch,
            clock=now,
            persistently=Persistently(random.Random(epoch)),
            faults=Faults(),
        )

    async def _last_told(self, task: str) -> None:
        self.lasts.append(task)
        self.events.forget(task)

    def snapshot(self, task_id: str) -> Snapshot | None:
        """As the table of tasks has it."""
        found = self._heads.get(task_id)
        run = self.core.runs.get(task_id)
        return None if found is None else Snapshot(found, int(now() * 1000), run=run)

    def tell(self, *events: Event) -> None:
        """Let these happen; only a leader's are observed."""
        for event in events:
            if isinstance(event, TaskCreated | TaskStarted | TaskEnded):
                self._heads[event.head.id] = event.head
            elif isinstance(event, OutcomeStored):
                self._seen = event.seq
            decision = self.core.handle(event, now())
            if self._leads:
                self.events.observe(event, decision)
                for change in decision.changes:
                    if isinstance(change, TaskOver):
                        self.events.ended(Snapshot(change.head, int(now() * 1000)))

    def lead(self, known: TaskHead | None, *, publish: bool = True) -> None:
        """Take over, as ``Leader`` does."""
        self._leads = True
        if known is not None and known.status is TaskStatus.PENDING:
            waiting = [KeptHead(StoredHead(known, 1))]
            self.events.hold_created(waiting[0])
            self._jobs.append(asyncio.create_task(self.events.tell_created(waiting)))
        elif known is not None and known.status is TaskStatus.RUNNING:
            self.events.hold(known.id)
            self._jobs.append(asyncio.create_task(self.events.catch_up(known, self._seen)))
        elif known is not None:
            self._jobs.append(asyncio.create_task(self._tell_end(known)))
        self._jobs.append(asyncio.create_task(self.events.report_progress()))
        if publish:
            self._jobs.append(asyncio.create_task(self.publisher.run()))

    async def _tell_end(self, over: TaskHead) -> None:
        await self.events.catch_up(over, over.results_seq or 0)
        if not self.events.knows_end(over):
            self.events.ended(Snapshot(over, int(now() * 1000)))

    async def die(self) -> None:
        """End at once."""
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)


@asynccontextmanager
async def history() -> AsyncIterator[History]:
    """A task whose outcomes are stored; who tells of it is up to the test."""
    async with bus_in_memory() as bus:
        it = History(bus)
        await it.write()
        yield it
