"""What follows the store, alone: a store without a bus, and a table of tasks on a core."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from msgspec.structs import replace

from common.bus import BusError, StoreUnavailable
from common.messages import Outcome
from common.subjects import AttemptKey
from common.text import Text
from common.texts import TASK_STARTING
from coordinator.core.events import Event, OutcomeStored
from coordinator.core.scheduler import Core, Limits
from coordinator.core.task import TaskHead, TaskSpec, TaskStatus
from coordinator.engine.finished_folds import FinishedFolds
from coordinator.engine.persistence import Persistently
from coordinator.engine.progress_board import ProgressBoard
from coordinator.engine.tasks import TaskTable
from coordinator.store import NAMED, StoredHead
from coordinator.streams import definitions
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.server import VirtualServer
from tests.core.stage import START, head, pulled, spec

AWAY = StoreUnavailable("no answer within 5 s", about="$KV.IPS_TASKS")


def numbered(number: int) -> str:
    """The id of a task."""
    return f"task-20260101-000000-{number:08x}"


TASK = numbered(1)
OTHER = numbered(2)
NAMING = replace(spec(), names_nodes=True)
"""What somebody wants who names the nodes."""


def stored(
    task: str = TASK,
    status: TaskStatus = TaskStatus.PENDING,
    revision: int = 1,
    wanted: TaskSpec | None = None,
    **fields: Any,
) -> StoredHead:
    """A head as the store has it; the list of a started one is named ``nodes``."""
    if status is not TaskStatus.PENDING:
        fields = {"node_list": "nodes", "results_seq": 0 if status.is_final else None} | fields
    return StoredHead(replace(head(task, wanted, status), **fields), revision)


def outcome(
    seq: int, node: str = "n1", task: str = TASK, attempt: int = 1, said: Outcome | None = None
) -> OutcomeStored:
    """A stored outcome; where nothing else is said the image arrived."""
    return OutcomeStored(AttemptKey(task, node, attempt), said or pulled(), seq, START)


class FakeStore:
    """Heads, lists and outcomes in memory. All of it can be away, or slow."""

    def __init__(self) -> None:
        self.heads: dict[str, StoredHead] = {}
        self.lists: dict[tuple[str, str], list[str]] = {}
        self.outcomes: list[OutcomeStored] = []
        self.trouble: BusError | None = None
        """What each call fails with; None while all is well."""
        self.failed = 0
        self.reads: list[str] = []
        """What was read, in that order."""
        self.upto: list[int] = []
        """Up to where outcomes were asked for."""
        self.answers = asyncio.Event()
        """Cleared while each answer is to be waited for."""
        self.answers.set()

    async def _asked(self, what: str) -> None:
        await self.answers.wait()
        if self.trouble is not None:
            self.failed += 1
            raise self.trouble
        self.reads.append(what)

    async def load_list(self, task: str, name: str) -> list[str]:
        """As ``Store.load_list``."""
        await self._asked(f"list {name}")
        return self.lists.get((task, name), [])

    async def load_nodes(self, head: TaskHead) -> list[str]:
        """As ``Store.load_nodes``."""
        return await self.load_list(head.id, head.node_list or "")

    async def load_named(self, task: str) -> list[str]:
        """As ``Store.load_named``."""
        return await self.load_list(task, NAMED)

    async def load_outcomes(self, task: str, upto: int) -> AsyncIterator[OutcomeStored]:
        """As ``Store.load_outcomes``."""
        await self._asked("outcomes")
        self.upto.append(upto)
        for event in self.outcomes:
            if event.key.task == task and event.seq <= upto:
                yield event

    async def load_head(self, task: str) -> StoredHead | None:
        """As ``Store.load_head``."""
        await self._asked("head")
        return self.heads.get(task)

    async def exists(self, task: str) -> bool:
        """As ``Store.exists``."""
        await self._asked("whether it exists")
        return task in self.heads

    @contextmanager
    def away(self) -> Iterator[None]:
        """Have every call fail meanwhile."""
        self.trouble = AWAY
        yield
        self.trouble = None


class Following:
    """A table of tasks on a core that follows, and all that the core was told."""

    def __init__(self, store: Any = None) -> None:
        self.fake = FakeStore()
        self.store: Any = self.fake if store is None else store
        self.core = Core(Limits(first_look=0.0), START)
        self.fed: list[Event] = []
        self.waiting_for: Text | None = TASK_STARTING()
        self.learned: list[TaskHead] = []
        self.board = ProgressBoard(self.core)
        self.folds = FinishedFolds(self.store)
        self._jobs: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = lambda: START + loop.time()
        self.tasks = TaskTable(
            store=self.store,
            core=self.core,
            board=self.board,
            folds=self.folds,
            why_waiting=lambda _: self.waiting_for,
            feed=self.feed,
            clock=self.clock,
            spawn=self.spawn,
            persistently=Persistently(random.Random(1)),
        )
        self.tasks.listen(self.learned.append)

    def feed(self, event: Event) -> None:
        """Let the core know."""
        self.fed.append(event)
        self.core.handle(event, self.clock())

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Have a job done."""
        task = asyncio.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def settle(self) -> None:
        """Wait until every job is done."""
        while self._jobs:
            await asyncio.gather(*self._jobs)

    def drop_jobs(self) -> None:
        """End the jobs that have no end."""
        for job in list(self._jobs):
            job.cancel()

    def phase(self, node: str = "n1", task: str = TASK) -> str:
        """What became of a node of a running task."""
        return self.core.runs[task].by_name[node].phase.value


@asynccontextmanager
async def connected(server: VirtualServer | None = None) -> AsyncIterator[VirtualBus]:
    """A bus in memory whose streams are there."""
    bus = await VirtualBus.connect(server or VirtualServer(), "test")
    for definition in definitions(1):
        await bus.ensure_stream(definition)
    try:
        yield bus
    finally:
        await bus.close()
