"""The engine as the API sees it, over terms of leadership that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn, Protocol

from common.bus import Bus, BusError
from common.lifecycle import leaves
from common.logs import Log
from coordinator.core.run import TaskRun
from coordinator.core.task import TaskHead, TaskSpec, TaskStatus
from coordinator.engine.live import LiveChanges
from coordinator.engine.term import DeposedError, Term
from coordinator.engine.transitions import store_needed
from coordinator.port import (
    Created,
    IdempotencyKey,
    KnownNode,
    StoreAway,
    Transfer,
)
from coordinator.views.nodes import Pulls

log = Log(__name__)

TERM_AGAIN_SECONDS = 1.0
"""After a term that could not load its state."""


class Leadership(Protocol):
    """The lease, as far as this module needs it."""

    holder: str | None
    """Who leads, where it is known and somebody else."""

    async def acquire(self) -> int:
        """Wait until this coordinator leads; the epoch."""

    async def lost(self) -> None:
        """Wait until this coordinator no longer leads."""


class Service:
    """Readiness, and every question handed to the term that can answer it.

    The last term's memory still answers reads while the store is away; once somebody else is
    known to lead, they are refused.
    """

    def __init__(self, live: LiveChanges) -> None:
        self.live = live
        self._bus: Bus | None = None
        self._lease: Leadership | None = None
        self._term: Term | None = None
        self._leads = False
        self._starting = "The coordinator is starting."

    # ── terms ──

    async def lead(self, bus: Bus, lease: Leadership, new_term: Callable[[int], Term]) -> NoReturn:
        """Lead whenever the lease is held, without end."""
        self._bus, self._lease = bus, lease
        while True:
            epoch = await lease.acquire()
            log.info("leading", epoch=epoch)
            term = new_term(epoch)
            try:
                await self._serve(term, lease)
            except* (DeposedError, BusError) as group:
                why = "; ".join(map(str, leaves(group)))
                log.warning("term over", epoch=epoch, why=why)
                await asyncio.sleep(TERM_AGAIN_SECONDS)
            finally:
                self._leads = False

    async def _serve(self, term: Term, lease: Leadership) -> None:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(term.run())
            taking_over = group.create_task(self._take_over(term))
            await lease.lost()
            log.warning("the lease is lost: nothing is assigned until it is held again")
            taking_over.cancel()
            work.cancel()
            await asyncio.wait([work])

    async def _take_over(self, term: Term) -> None:
        await term.loaded.wait()
        self._term, self._leads = term, True

    def active_tasks(self) -> int:
        """Tasks that are running."""
        return len(self._term.core.runs) if self._term is not None and self._leads else 0

    def _readable_term(self) -> Term:
        if self._term is None:
            raise StoreAway(self.unreadable() or "not ready")
        return self._term

    # ── readiness ──

    def unreadable(self) -> str | None:
        """Why nothing can be answered at all; None if it can."""
        if not self._leads and self._lease is not None and self._lease.holder is not None:
            return f"Coordinator {self._lease.holder} leads; this one waits."
        if self._term is not None:
            return None
        if self._bus is None:
            return self._starting
        if not self._bus.connected:
            return f"NATS cannot be reached: {self._bus.state_text}."
        return "The coordinator is loading its state."

    def not_ready(self) -> str | None:
        """Why nothing is created or cancelled; None when all is well."""
        if reason := self.unreadable():
            return reason
        if self._bus is not None and not self._bus.connected:
            return f"NATS cannot be reached: {self._bus.state_text}."
        if not self._leads:
            return "The lease could not be renewed: the store is away or refuses writes."
        if self._term is not None and self._term.health.trouble is not None:
            return f"The store does not take writes: {self._term.health.trouble}."
        return None

    def say_starting(self, what: str) -> None:
        """What the program is waiting for before it has a bus, for whoever asks."""
        self._starting = what

    # ── tasks ──

    async def create(
        self,
        spec: TaskSpec,
        names: Sequence[str] | None,
        *,
        key: IdempotencyKey | None = None,
        retry_of: str | None = None,
    ) -> Created:
        """Store a task; when this returns it is stored. Raises KeyReused, StoreAway."""
        return await self._writing_term().create(spec, names, key, retry_of)

    async def cancel(self, task_id: str) -> TaskHead:
        """Cancel a task. Raises NoSuchTask, AlreadyOver, StoreAway."""
        return await self._writing_term().cancel(task_id)

    def _writing_term(self) -> Term:
        if reason := self.not_ready():
            raise StoreAway(reason)
        return self._readable_term()

    def head(self, task_id: str) -> TaskHead | None:
        """The newest known head of a task."""
        stored = self._readable_term().heads.get(task_id)
        return None if stored is None else stored.head

    def heads(self, status: TaskStatus | None = None) -> Sequence[TaskHead]:
        """Heads (of one status), newest first."""
        return self._readable_term().heads.newest_first(status)

    def waiting_for(self, task_id: str) -> str | None:
        """Why a task does not go on."""
        return self._readable_term().waiting_for(task_id)

    async def named_nodes(self, task_id: str) -> Sequence[str] | None:
        """The ``nodeNames`` that a task was created with. Raises StoreAway."""
        async with store_needed():
            return await self._readable_term().named_nodes(task_id)

    # ── nodes of a task ──

    def run(self, task_id: str) -> TaskRun | None:
        """The fold of a running task."""
        return self._readable_term().core.runs.get(task_id)

    async def finished_run(self, task_id: str) -> TaskRun:
        """The fold of a finished task. Raises NoSuchTask, StoreAway."""
        async with store_needed():
            return await self._readable_term().finished_run(task_id)

    def pulls(self, task_id: str, node: str) -> Pulls:
        """What is known of a node's attempt in flight."""
        return self._readable_term().pulls(task_id, node)

    def transfer(self, task_id: str) -> Transfer:
        """A running task's bytes altogether."""
        shot = self._readable_term().snapshot(task_id)
        return Transfer() if shot is None else shot.transfer

    # ── nodes ──

    def node_labels(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        """Name and labels of every known node, ordered by name."""
        return self._readable_term().fleet.labels()

    def node(self, name: str) -> KnownNode | None:
        """One node; None for an unknown one."""
        return self._readable_term().fleet.get(name)
