"""A store on the bus in memory, what comes between its writes, and a table of heads with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from common import subjects
from common.subjects import AttemptKey
from common.text import Text
from coordinator.core.task import TaskCounts, TaskHead, TaskStatus
from coordinator.engine.heads import Heads
from coordinator.store import Store, StoredHead
from coordinator.streams import definitions
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.server import EPOCH, VirtualServer
from tests.core.stage import head, pulled

TASK = "task-20260101-000000-00000001"
OTHER = "task-20260101-000000-00000002"
HEADS_STREAM = f"KV_{subjects.TASKS_BUCKET}"

Meanwhile = Callable[[], Awaitable[None]]


def now() -> float:
    """Seconds since 1970 in virtual time, by the bus's clock."""
    return EPOCH + asyncio.get_running_loop().time()


def unfinished(task: str = TASK, status: TaskStatus = TaskStatus.RUNNING) -> TaskHead:
    """A task that runs on one node."""
    return replace(head(task, status=status), started_at=0, nodes=1, batches=1, node_list="nodes")


def failed(task: str = TASK) -> TaskHead:
    """A task that ended long ago, one of its nodes failed."""
    counts = TaskCounts(total=1, failed=1, failed_details=1)
    return replace(
        unfinished(task, TaskStatus.FAILED), finished_at=1, counts=counts, results_seq=10
    )


class Table(Heads):
    """The table of tasks, for modules that need no more of it than heads."""

    def stored(self, task_id: str) -> StoredHead | None:
        """The newest known head with its revision."""
        kept = self.by_id.get(task_id)
        return None if kept is None else kept.stored

    def head(self, task_id: str) -> TaskHead | None:
        """The newest known head."""
        stored = self.by_id.get(task_id)
        return None if stored is None else stored.head

    def learn(self, stored: StoredHead, *, nodes: Sequence[str] | None = None) -> None:  # noqa: ARG002
        """Take a head in."""
        self.apply(stored)

    def note_damage(self, task: str, text: Text) -> None:
        """Nothing is damaged here."""
        raise AssertionError(task, text)

    def forget(self, task: str) -> None:
        """A head was deleted."""
        self.remove(task)


class Contended(Store):
    """A store in which something happens just before, or while, a head is swapped or created."""

    def __init__(self, bus: VirtualBus) -> None:
        super().__init__(bus)
        self.bus = bus
        self.before_write: list[Meanwhile] = []
        """One for each write of a head to come."""
        self.before_load: list[Meanwhile] = []
        """One for each reading of a head to come."""

    async def swap_head(self, old: StoredHead, new: TaskHead) -> StoredHead:
        """As in the store, after what comes first."""
        await _next(self.before_write)
        return await super().swap_head(old, new)

    async def create_head(self, head: TaskHead) -> StoredHead:
        """As in the store, after what comes first."""
        await _next(self.before_write)
        return await super().create_head(head)

    async def load_head(self, task: str) -> StoredHead | None:
        """As in the store, after what comes first."""
        await _next(self.before_load)
        return await super().load_head(task)

    async def lose_the_answer(self) -> None:
        """Let the next write land and its answer be lost."""
        self.bus.link.answers_to_lose = 1

    async def refuse(self) -> None:
        """Let heads be refused from now on."""
        self.bus.jetstream.refuse(HEADS_STREAM)

    def accept(self) -> None:
        """Let them be taken again."""
        self.bus.jetstream.refuse(HEADS_STREAM, None)

    async def rewrite(self, change: Callable[[TaskHead], TaskHead], task: str = TASK) -> None:
        """Have somebody else write a head."""
        found = await Store(self.bus).load_head(task)
        assert found is not None
        await Store(self.bus).swap_head(found, change(found.head))

    async def truth(self, task: str = TASK) -> TaskHead:
        """What is stored of a task."""
        found = await Store(self.bus).load_head(task)
        assert found is not None
        return found.head


async def _next(meanwhile: list[Meanwhile]) -> None:
    if meanwhile:
        await meanwhile.pop(0)()


@asynccontextmanager
async def bus_in_memory(name: str = "test") -> AsyncIterator[VirtualBus]:
    """A bus with all streams."""
    server = VirtualServer()
    async with connected(server, name) as bus:
        for definition in definitions(replicas=1):
            await bus.ensure_stream(definition)
        yield bus


@asynccontextmanager
async def connected(server: VirtualServer, name: str) -> AsyncIterator[VirtualBus]:
    """One connection, kept up until the end."""
    bus = await VirtualBus.connect(server, name)
    running = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        await bus.close()
        await running


async def stored(store: Store, wanted: TaskHead) -> StoredHead:
    """A head in the store, with its list and one outcome."""
    await store.save_list(wanted.id, "nodes", ["n1"])
    await store.store_outcome(AttemptKey(wanted.id, "n1", 1), pulled())
    return await store.create_head(wanted)
