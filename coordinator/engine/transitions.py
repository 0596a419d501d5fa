"""What the leader stores: tasks started and finished, verdicts, and that the world was told.

Everything is a swap of the head that was read. Whoever loses a swap reads again; what may have
landed although no answer came is learned by watching the heads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from msgspec.structs import replace

from common.bus import BusError, Conflict
from common.logs import Log
from common.messages import Outcome
from common.subjects import AttemptKey
from common.text import Text, fields_of
from coordinator.core.commands import FinishTask, LoadNames, StartTask, StoreVerdict
from coordinator.core.events import Event, FinishFailed, NamesLoaded, StartFailed, VerdictFailed
from coordinator.core.run import Ending
from coordinator.core.task import PendingNotification, TaskCounts, TaskHead, TaskStatus
from coordinator.engine.ending import ended
from coordinator.port import TaskDamaged
from coordinator.store import StoredHead

log = Log(__name__)

VERDICTS_AT_A_TIME = 256
"""A store takes some thousand a second; more at once would only time one another out."""


class Writes(Protocol):
    """What is needed of the store; errors as there."""

    async def save_list(self, task: str, name: str, nodes: Sequence[str]) -> None:
        """Store a list of node names."""

    async def load_named(self, task: str) -> list[str]:
        """The ``nodeNames`` of a task. Raises TaskDamaged."""

    async def swap_head(self, old: StoredHead, new: TaskHead) -> StoredHead:
        """Replace exactly this head. Raises Conflict where it has changed since."""

    async def load_head(self, task: str) -> StoredHead | None:
        """The head as the store has it now."""

    async def store_outcome(self, key: AttemptKey, outcome: Outcome) -> None:
        """Decide an attempt. Raises Conflict where somebody has decided it already."""


class HeadTable(Protocol):
    """What is needed of the table of tasks."""

    def stored(self, task_id: str) -> StoredHead | None:
        """The newest known head with its revision."""

    def learn(self, stored: StoredHead, *, nodes: Sequence[str] | None = None) -> None:
        """Take in a head that is stored, with its node list where that is at hand."""

    def note_damage(self, task: str, text: Text) -> None:
        """Something of a task cannot be read: it is to fail."""


class Transitions:
    """Carries out what the core wants stored; each answered by an event."""

    def __init__(
        self,
        *,
        store: Writes,
        tasks: HeadTable,
        epoch: int,
        clock: Callable[[], float],
        feed: Callable[[Event], None],
        failed: Callable[[BusError], None],
    ) -> None:
        """``failed`` is told when the store refuses or does not answer."""
        self._store = store
        self._tasks = tasks
        self._epoch = epoch
        self._clock = clock
        self._feed = feed
        self._failed = failed
        self._verdicts = asyncio.Semaphore(VERDICTS_AT_A_TIME)
        self._lists = count(1)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    async def load_names(self, command: LoadNames) -> None:
        """Read the names of the nodes that a task was created for."""
        try:
            names = await self._store.load_named(command.task)
        except TaskDamaged as damage:
            # The task is over as soon as that is stored: the core needs no answer.
            self._tasks.note_damage(command.task, damage.text)
        except BusError as why:
            log.warning("the names of a task's nodes cannot be read", task=command.task, why=why)
            self._feed(StartFailed(command.task))
        else:
            self._feed(NamesLoaded(command.task, tuple(names)))

    async def start(self, command: StartTask) -> None:
        """Store the node list, then bring the head to ``running``."""
        stored = self._tasks.stored(command.task)
        if stored is None or stored.head.status is not TaskStatus.PENDING:
            return  # its end or start is on its way to the core already
        # Never a name that was written before: a leader that was deposed while writing must not
        # touch the list that counts, and of a longer list some chunks would stay.
        name = f"nodes-{self._epoch}-{next(self._lists)}"
        size = stored.head.spec.batch_size
        running = replace(
            stored.head,
            status=TaskStatus.RUNNING,
            started_at=int(self._clock() * 1000),
            nodes=len(command.nodes),
            batches=-(-len(command.nodes) // size),
            node_list=name,
        )
        try:
            await self._store.save_list(command.task, name, command.nodes)
            swapped = await self._store.swap_head(stored, running)
        except Conflict:
            await self._read_again(command.task, StartFailed(command.task))
        except BusError as why:
            self._refused(why, StartFailed(command.task))
        else:
            self._tasks.learn(swapped, nodes=command.nodes)

    async def finish(self, command: FinishTask) -> None:
        """Bring the head to its final status."""
        stored = self._tasks.stored(command.task)
        if stored is None or stored.head.status is not TaskStatus.RUNNING:
            return
        counted = Ending(command.counts, command.results_seq)
        over = ended(stored.head, command.status, self._now_ms(), counted, command.text)
        try:
            swapped = await self._store.swap_head(stored, over)
        except Conflict:
            await self._read_again(command.task, FinishFailed(command.task))
        except BusError as why:
            self._refused(why, FinishFailed(command.task))
        else:
            self._tasks.learn(swapped)

    async def fail(self, task: str, text: Text) -> None:
        """End a task that cannot go on because of what is stored of it. Raises BusError.

        What became of its nodes is not known any more: they count as cancelled.
        """
        stored = self._tasks.stored(task)
        while stored is not None and not stored.head.status.is_final:
            head, counted = stored.head, None
            if head.status is TaskStatus.RUNNING:
                counted = Ending(TaskCounts(total=head.nodes, cancelled=head.nodes), 0)
            over = ended(head, TaskStatus.FAILED, self._now_ms(), counted, text)
            try:
                swapped = await self._store.swap_head(stored, over)
            except Conflict:
                stored = await self._store.load_head(task)
            else:
                self._tasks.learn(swapped)
                log.error("a task cannot go on", task=task, why=text.message)
                return

    def _refused(self, why: BusError, event: StartFailed | FinishFailed) -> None:
        self._failed(why)
        log.warning("a transition is not stored", task=event.task, why=str(why))
        self._feed(event)

    async def _read_again(self, task: str, otherwise: Event) -> None:
        """After a lost swap: learn what is stored, or have the core try again later."""
        try:
            stored = await self._store.load_head(task)
        except BusError:
            stored = None
        if stored is not None:
            self._tasks.learn(stored)
        self._feed(otherwise)

    async def decide(self, command: StoreVerdict) -> None:
        """Store the leader's own outcome of an attempt; the core acts on what it reads back."""
        try:
            async with self._verdicts:
                await self._store.store_outcome(command.key, command.outcome)
        except Conflict:
            pass  # the agent was faster: its outcome counts
        except BusError as why:
            self._failed(why)
            self._feed(VerdictFailed(command.key, command.outcome))

    async def mark_notified(
        self, task: str, what: PendingNotification, refused: Text | None = None
    ) -> None:
        """Note that the world has been told. Raises BusError: the caller tries again.

        ``refused``: why a webhook cannot be told, which the task's message says from then on.
        """
        stored = self._tasks.stored(task)
        while stored is not None and what in stored.head.notify:
            left = tuple(other for other in stored.head.notify if other is not what)
            try:
                told = _with_reason(replace(stored.head, notify=left), refused)
                swapped = await self._store.swap_head(stored, told)
            except Conflict:
                stored = await self._store.load_head(task)
            else:
                self._tasks.learn(swapped)
                return


def _with_reason(head: TaskHead, refused: Text | None) -> TaskHead:
    """A finished task's head with one more reason in its message."""
    if refused is None:
        return head
    if head.message:  # two sentences have no code
        return replace(
            head, message=f"{head.message} {refused}", message_code=None, message_params={}
        )
    return replace(head, **fields_of(refused))
