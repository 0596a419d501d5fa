"""Telling the world how tasks ended: the last event, and the webhook.

What is still to be told stands in the task's head (``notify``), so that a leader takes up what the
one before it did not get to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from common.logs import Log
from common.text import Text
from coordinator.core.changes import TaskOver
from coordinator.core.events import Event
from coordinator.core.scheduler import Decision
from coordinator.core.task import PendingNotification, TaskHead
from coordinator.engine.persistence import Persistently
from coordinator.engine.task_events import TaskEvents
from coordinator.engine.tasks import Spawn
from coordinator.engine.webhooks import Look
from coordinator.faults import Faults
from coordinator.port import NoSuchTask, TaskDamaged
from coordinator.snapshots import Snapshot

T = TypeVar("T")
log = Log(__name__)

AT_A_TIME = 4
"""Tasks whose end is read from the store at once, after a start with many untold ones."""


class MarkNotified(Protocol):
    """Takes a pending notification off a task's head."""

    def __call__(
        self, task: str, what: PendingNotification, refused: Text | None = None
    ) -> Awaitable[None]:
        """Raises BusError. ``refused``: why it cannot be told, for the task's message."""


class EndedTasks(Protocol):
    """What is needed of the table of tasks."""

    def head(self, task_id: str) -> TaskHead | None:
        """The newest known head."""

    def snapshot(self, task_id: str) -> Snapshot | None:
        """What is known of a task from memory."""

    async def read_snapshot(self, task_id: str) -> Snapshot:
        """The same with a finished task's nodes. Raises NoSuchTask, BusError, TaskDamaged."""


class Deliverer(Protocol):
    """Who brings webhooks to their receivers."""

    async def deliver(self, head: TaskHead, look: Look) -> Text | None:
        """Bring one delivery to its end: taken, given up, or refused, with the reason."""


class EndNotifications:
    """Observes the core's loop; each end is told by a job of its own."""

    def __init__(
        self,
        *,
        tasks: EndedTasks,
        events: TaskEvents,
        webhooks: Deliverer,
        mark_notified: MarkNotified,
        spawn: Spawn,
        persistently: Persistently,
        faults: Faults,
    ) -> None:
        self._tasks = tasks
        self._events = events
        self._webhooks = webhooks
        self._mark_notified = mark_notified
        self._spawn = spawn
        self._persistently = persistently
        self._faults = faults
        self._readers = asyncio.Semaphore(AT_A_TIME)

    def observe(self, _event: Event, decision: Decision) -> None:
        """Tell of every task that is over."""
        for change in decision.changes:
            if isinstance(change, TaskOver) and change.head.notify:
                self._spawn(self._tell(change.head))

    async def tell_again(self, head: TaskHead) -> None:
        """A leader before this one did not get to say how a task ended, nor maybe how it went."""
        if PendingNotification.EVENT in head.notify:
            await self._events.catch_up(head, head.results_seq or 0)
            if self._events.knows_end(head):
                await self._persistently(
                    lambda: self._mark_notified(head.id, PendingNotification.EVENT)
                )
                self._events.forget(head.id)
        current = self._tasks.head(head.id)
        if current is not None:
            await self._tell(current)

    async def _tell(self, head: TaskHead) -> None:
        # What fails of one task is told again by the next leader, and ends nothing of this one.
        with self._faults.kept("end notification", task=head.id):
            await self._tell_world(head)

    async def _tell_world(self, head: TaskHead) -> None:
        try:
            if PendingNotification.EVENT in head.notify:
                async with self._readers:
                    self._events.ended(await self._persistently(lambda: self._look(head)))
            if PendingNotification.WEBHOOK in head.notify:
                refused = await self._webhooks.deliver(head, lambda: self._look(head))
                await self._persistently(
                    lambda: self._mark_notified(head.id, PendingNotification.WEBHOOK, refused)
                )
        except NoSuchTask:
            log.info("a task was removed before the world was told of its end", task=head.id)

    async def _look(self, head: TaskHead) -> Snapshot:
        """How a task ended, with its failed nodes. Raises NoSuchTask, BusError."""
        if head.counts is not None and head.counts.failed_details > 0:
            try:
                return await self._tasks.read_snapshot(head.id)
            except TaskDamaged as damage:
                self._faults.note("end notification", damage, task=head.id)
        shot = self._tasks.snapshot(head.id)
        if shot is None:
            raise NoSuchTask(head.id)
        return shot
