"""What the world is told of tasks, as CloudEvents: each once, in order, over crashes too.

An event's id says what it is about. A leader that begins reads the kept events of each unfinished
or untold task back and publishes only what is missing (``catch_up``); what happens meanwhile waits
behind that, so that a task's events keep the order of its outcomes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NoReturn, Protocol

import msgspec

from common import subjects
from common.logs import Log
from coordinator.core.changes import (
    AttemptDecided,
    Change,
    NodeMoved,
    PauseTurned,
    Step,
    TaskBegan,
    TaskQueued,
)
from coordinator.core.events import Event
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.documents import CloudEvent, Task, encode
from coordinator.engine.finished_folds import Outcomes, fold
from coordinator.engine.heads import KeptHead
from coordinator.engine.persistence import Persistently
from coordinator.engine.publisher import Item, Publisher
from coordinator.faults import Faults
from coordinator.snapshots import Snapshot
from coordinator.views import tasks as views
from coordinator.views.events import node_event, task_event
from coordinator.views.nodes import task_node

log = Log(__name__)

TOLD: Final = (TaskQueued, TaskBegan, AttemptDecided, NodeMoved, PauseTurned)
"""What the world is told of, or is reason to tell of progress."""
PROGRESS_SECONDS = 1.0
AT_A_TIME = 4
"""Tasks that are read from the store at once, after a start with many untold ones."""
CREATED_AT_A_TIME = 50
"""Tasks that are told of before others have a turn on the event loop."""


class TaskSnapshots(Protocol):
    """What is needed of the table of tasks."""

    def snapshot(self, task_id: str) -> Snapshot | None:
        """What is known of a task from memory."""


class TaskEvents:
    """Observes the core's loop, makes events and has them published."""

    def __init__(
        self,
        *,
        publisher: Publisher,
        outcomes: Outcomes,
        tasks: TaskSnapshots,
        runs: Mapping[str, TaskRun],
        source: str,
        epoch: int,
        clock: Callable[[], float],
        persistently: Persistently,
        faults: Faults,
    ) -> None:
        """``source`` is that of the CloudEvents; ``epoch`` makes ids of progress unique."""
        self._publisher = publisher
        self._outcomes = outcomes
        self._tasks = tasks
        self._runs = runs
        self._source = source
        self._epoch = epoch
        self._clock = clock
        self._persistently = persistently
        self._faults = faults
        self._kept: dict[str, set[str]] = {}
        """By task that was there when this leader began: the ids that are published or queued."""
        self._behind: dict[str, list[Item]] = {}
        """By task that is catching up: what has happened since, and waits."""
        self._announced: set[str] = set()
        """Pending tasks whose creation this leader has told, or queued to be told."""
        self._changed: set[str] = set()
        """Running tasks whose progress is worth telling."""
        self._is_progress = asyncio.Event()
        """Set once there may be some."""
        self._reports = 0
        self._readers = asyncio.Semaphore(AT_A_TIME)

    # ── what happens ──

    def observe(self, _event: Event, decision: Decision) -> None:
        """Queue what the world is to be told of this."""
        for change in decision.changes:
            if isinstance(change, NodeMoved | PauseTurned):
                self.mark_changed(change.task)
                continue
            if not isinstance(change, TOLD):
                continue
            try:
                self._observe(change)
            except Exception as fault:  # noqa: BLE001 - the next change may be another task's
                self._faults.note("event", fault)

    def _observe(self, change: Change) -> None:
        match change:
            case TaskQueued(head=head):
                self._announced.add(head.id)
                self._tell(self._created(head))
            case TaskBegan(head=head):
                if head.id not in self._announced:
                    self._tell(self._created(head))
                self._announced.discard(head.id)
                self._tell(self._started(head))
            case AttemptDecided():
                run = self._runs.get(change.task)
                if run is not None:
                    time = change.event.stored_at
                    self._tell(self._decided(run, change.node, change.attempt, change.step, time))
            case _:
                pass

    def mark_changed(self, task: str, _node: str = "") -> None:
        """Something of a running task has changed: its progress is worth telling."""
        self._changed.add(task)
        self._is_progress.set()

    def ended(self, shot: Snapshot) -> None:
        """A task is over: a last progress, then its last event. ``shot`` has the whole fold."""
        head = shot.head
        event_type, time = f"task.{head.status}", head.finished_at or shot.now
        with self._faults.kept("event", task=head.id):
            if head.started_at is not None:
                running = msgspec.structs.replace(
                    views.summary(shot), status=TaskStatus.RUNNING, finished_at=msgspec.UNSET
                )
                self._tell(self._progress(head.id, running, time))
        # A hundred details of the longest names and texts may be too large: /nodes has them all.
        for view in (views.task, views.summary, views.outline):
            with self._faults.kept("event", task=head.id):
                document = self._task_document(event_type, head.id, time, view(shot))
                item = _item(head.id, event_type, document, once=True, is_last=True)
                if item is not None:
                    self._tell(item)
                    return

    def knows_end(self, head: TaskHead) -> bool:
        """Whether a task's last event was published before (``catch_up`` comes first)."""
        return f"{head.id}/task.{head.status}" in self._kept.get(head.id, ())

    def forget(self, task: str) -> None:
        """A task's last event is stored."""
        self._kept.pop(task, None)
        self._changed.discard(task)
        self._announced.discard(task)

    # ── what happened before ──

    def hold(self, task: str) -> None:
        """Let what happens to a task wait from now on, until it has caught up."""
        self._behind.setdefault(task, [])

    def hold_created(self, kept: KeptHead) -> None:
        """Let what happens to a task that waits wait too, until its creation is told."""
        self.hold(kept.id)
        if not self._is_old(kept.newest_time):
            self._announced.add(kept.id)

    async def tell_created(self, waiting: Iterable[KeptHead]) -> None:
        """Tasks wait that were created before this leader began; each is told only if nobody has.

        Then what has waited of it (``hold_created``).
        """
        for number, kept in enumerate(waiting):
            with self._faults.kept("event", task=kept.id):
                self._queue(self._created(kept.head))
            for item in self._behind.pop(kept.id, ()):
                self._queue(item)
            if number % CREATED_AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def catch_up(self, head: TaskHead, upto: int) -> None:
        """Tell what is missing of a task, up to this outcome; then what has waited.

        The same events in the same order as if this leader had led from the start.
        """
        with self._faults.kept("event", task=head.id):
            async with self._readers:
                await self._persistently(lambda: self._tell_missing(head, upto))
        for item in self._behind.pop(head.id, ()):
            self._queue(item)

    async def _tell_missing(self, head: TaskHead, upto: int) -> None:
        kept = self._kept.setdefault(head.id, set())
        kept |= await self._publisher.kept_ids(head.id)
        if self.knows_end(head):
            return
        if not self._is_old(head.created_at):
            self._queue(self._created(head))
        if head.started_at is not None:
            if not self._is_old(head.started_at):
                self._queue(self._started(head))
            await fold(self._outcomes, head, upto, self._decided_before)

    def _decided_before(
        self, run: TaskRun, node: str, attempt: int, step: Step, stored_at: float
    ) -> None:
        if not self._is_old(int(stored_at * 1000)):
            self._queue(self._decided(run, node, attempt, step, stored_at))

    # ── events ──

    def _created(self, head: TaskHead) -> Item | None:
        pending = msgspec.structs.replace(
            head, status=TaskStatus.PENDING, started_at=None, finished_at=None, counts=None
        )
        return self._task_event("task.created", Snapshot(pending, head.created_at))

    def _started(self, head: TaskHead) -> Item | None:
        running = msgspec.structs.replace(
            head, status=TaskStatus.RUNNING, finished_at=None, counts=None, message=None
        )
        return self._task_event("task.started", Snapshot(running, head.started_at or 0))

    def _task_event(self, event_type: str, shot: Snapshot) -> Item | None:
        task = shot.head.id
        document = self._task_document(event_type, task, shot.now, views.task(shot))
        return _item(task, event_type, document, once=True)

    def _task_document(self, event_type: str, task: str, time: int, data: Task) -> CloudEvent:
        event_id = f"{task}/{event_type}"
        return task_event(event_type, event_id=event_id, source=self._source, time=time, data=data)

    def _decided(
        self, run: TaskRun, node: str, attempt: int, step: Step, stored_at: float
    ) -> Item | None:
        """An outcome, stored at this time (seconds), has changed a node."""
        task, event_type, time = run.head.id, step.value, int(stored_at * 1000)
        event_id = f"{task}/{event_type}/{node}/{attempt}"
        if event_id in self._kept.get(task, ()):
            return None
        document = node_event(
            event_type,
            event_id=event_id,
            source=self._source,
            time=time,
            task_id=task,
            data=task_node(run.head, run.by_name[node]),
        )
        return _item(task, event_type, document)

    def _is_old(self, time: int) -> bool:
        """Whether an event is so old (milliseconds) that it would be gone from the store by now."""
        return self._clock() - time / 1000 > subjects.EVENTS_MAX_AGE_SECONDS

    # ── progress ──

    async def report_progress(self) -> NoReturn:
        """Tell of each running task that changed, at most once a second; runs without end."""
        while True:
            await self._is_progress.wait()
            self._is_progress.clear()
            await asyncio.sleep(PROGRESS_SECONDS)
            changed, self._changed = self._changed, set()
            for task in sorted(changed & self._runs.keys()):
                if self._publisher.progress_waits(task) or task in self._behind:
                    self.mark_changed(task)
                elif not self._runs[task].is_over:
                    with self._faults.kept("event", task=task):
                        self._report(task)

    def _report(self, task: str) -> None:
        shot = self._tasks.snapshot(task)
        if shot is not None:
            self._tell(self._progress(task, views.summary(shot), shot.now))

    def _progress(self, task: str, summary: Task, time: int) -> Item | None:
        self._reports += 1
        document = task_event(
            "task.progress",
            event_id=f"{task}/{self._epoch}/{self._reports}",
            source=self._source,
            time=time,
            data=summary,
        )
        return _item(task, "task.progress", document, is_progress=True)

    # ── on their way ──

    def _tell(self, item: Item | None) -> None:
        """Publish, unless the task has still to catch up: then it waits."""
        if item is not None and item.about in self._behind:
            self._behind[item.about].append(item)
        else:
            self._queue(item)

    def _queue(self, item: Item | None) -> None:
        if item is None:
            return
        kept = self._kept.get(item.about)
        if kept is not None and not item.is_last:
            if item.id in kept:
                return  # published before, or queued: it was read from the store again
            kept.add(item.id)
        self._publisher.put(item)


def _item(
    task: str,
    event_type: str,
    document: CloudEvent,
    *,
    once: bool = False,
    is_last: bool = False,
    is_progress: bool = False,
) -> Item | None:
    """What the publisher takes; None for what no message of the bus can hold."""
    subject, payload = subjects.event(event_type, task), encode(document)
    if len(payload) > subjects.MAX_MESSAGE_BYTES:
        log.error("an event is too large to be told", id=document.id, bytes=len(payload))
        return None
    return Item(task, subject, document.id, payload, once, is_last, is_progress)
