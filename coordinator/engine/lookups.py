"""What a replica does not know yet: heads, read from the store; runs, waited for until loaded.

The copy of a replica that follows is behind the store by some milliseconds. Whoever asks for what
another replica has just written must not be told that it does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from common.bus import BusError, StoreUnavailable
from coordinator.core.changes import TaskBegan, TaskOver
from coordinator.core.events import Event
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Decision
from coordinator.engine.tasks import Runs
from coordinator.store import StoredHead

MOST_READS: Final = 64
"""Heads that are read at once; who asks for one more waits for its turn."""
READ_SECONDS: Final = 5.0
LOADING_SECONDS: Final = 5.0
"""How long whoever needs the nodes of a running task waits for them to be loaded."""


class HeadReader(Protocol):
    """What is needed of the store."""

    async def load_head(self, task: str) -> StoredHead | None:
        """The head as the leader of its stream has it now. Raises BusError."""


class Learner(Protocol):
    """What is needed of the table of tasks."""

    def learn(self, stored: StoredHead) -> None:
        """Take a stored head in."""


@dataclass(slots=True)
class _Loading:
    """Those who wait for the run of one task."""

    is_known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the task has begun here, or is over."""
    waiters: int = 0


class Lookups:
    """Reads heads on demand; all who ask for one task at once share one reading.

    ``observe`` is for the loop.
    """

    def __init__(
        self,
        store: HeadReader,
        tasks: Learner,
        core: Runs,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._core = core
        self._spawn = spawn
        self._reading: dict[str, asyncio.Future[BusError | None]] = {}
        self._turns = asyncio.Semaphore(MOST_READS)
        self._loading: dict[str, _Loading] = {}

    async def find(self, task: str) -> None:
        """Bring the table up to date about one task. Raises BusError."""
        reading = self._reading.get(task)
        if reading is None:
            reading = asyncio.get_running_loop().create_future()
            self._reading[task] = reading
            self._spawn(self._read(task, reading))
        try:
            async with asyncio.timeout(READ_SECONDS):
                error = await asyncio.shield(reading)
        except TimeoutError:
            raise StoreUnavailable(f"no answer within {READ_SECONDS:g} s") from None
        if error is not None:
            raise error

    async def _read(self, task: str, reading: asyncio.Future[BusError | None]) -> None:
        # Whatever ends this before the head is known, those who wait must not take it for read.
        error: BusError | None = StoreUnavailable("the reading was given up")
        try:
            async with self._turns:
                stored = await self._store.load_head(task)
            if stored is not None:
                self._tasks.learn(stored)
            error = None
        except BusError as why:
            error = why
        finally:
            del self._reading[task]
            if not reading.done():
                reading.set_result(error)

    async def run(self, task: str) -> TaskRun | None:
        """The run of a task whose head says ``running``; None where it has just ended.

        Raises TimeoutError where its nodes could not be loaded yet.
        """
        run = self._core.runs.get(task)
        if run is not None:
            return run
        try:
            await self._wait_for(task)
        except TimeoutError:
            run = self._core.runs.get(task)  # it may have begun while the time ran out
            if run is None:
                raise
            return run
        return self._core.runs.get(task)

    async def _wait_for(self, task: str) -> None:
        loading = self._loading.setdefault(task, _Loading())
        loading.waiters += 1
        try:
            async with asyncio.timeout(LOADING_SECONDS):
                await loading.is_known.wait()
        finally:
            loading.waiters -= 1
            if not loading.waiters and self._loading.get(task) is loading:
                del self._loading[task]

    def observe(self, _event: Event, decision: Decision) -> None:
        """Let those go on who wait for a task."""
        if not self._loading:
            return
        for change in decision.changes:
            if isinstance(change, TaskBegan | TaskOver):
                loading = self._loading.pop(change.head.id, None)
                if loading is not None:
                    loading.is_known.set()
