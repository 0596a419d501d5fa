"""An engine of the port's promises and nothing else: no bus, no core, every change made by hand."""

# ruff: noqa: D102 -- the port says what each method is

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from common.messages import ImageOutcome, ImageProgress, ImageState, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from common.text import Text
from coordinator.core.node_run import NodePhase
from coordinator.core.run import TaskRun
from coordinator.core.task import Creator, PendingNotification, TaskHead, TaskSpec, TaskStatus
from coordinator.port import (
    AlreadyOver,
    Changes,
    Created,
    IdempotencyKey,
    KeyReused,
    Live,
    NoSuchTask,
    NotRunning,
    Standing,
    StoreAway,
    TooManyPending,
    TooManyPendingOfUser,
    Wake,
)
from coordinator.snapshots import (
    NOTHING_KNOWN,
    UNKNOWN_TRANSFER,
    ImageOnNode,
    ImageUse,
    KnownNode,
    NodePast,
    NodeState,
    Snapshot,
    Transfer,
    Whereabouts,
)
from tests.api.fake_purges import FakePurges
from tests.api.fake_sets import FakeSets

NOW = 1_768_576_354_567
"""2026-01-16T15:12:34.567Z, in milliseconds."""


class FakeChanges:
    """A set of names, as ``port.Changes`` promises it."""

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._names: set[str] = set()
        self.closed = False

    def add(self, *names: str) -> None:
        self._names.update(names)
        self._wake()

    def take(self, most: int) -> set[str]:
        names = set(sorted(self._names)[:most])
        self._names -= names
        return names

    def close(self) -> None:
        self.closed = True


class FakeLive:
    """Remembers who subscribed, by task; None is the fleet."""

    def __init__(self) -> None:
        self.given: dict[str | None, list[FakeChanges]] = {}

    def of_task(self, task_id: str, wake: Wake) -> Changes:
        return self._give(task_id, wake)

    def of_fleet(self, wake: Wake) -> Changes:
        return self._give(None, wake)

    def _give(self, of: str | None, wake: Wake) -> FakeChanges:
        changes = FakeChanges(wake)
        self.given.setdefault(of, []).append(changes)
        return changes


class FakeEngine:
    """``port.Engine`` over dictionaries."""

    def __init__(self) -> None:
        self.fake_live = FakeLive()
        self.live: Live = self.fake_live
        self.away: str | None = None
        self.blind: str | None = None
        self.warns: Text | None = None
        self.waits: str | Text | None = None
        self.most_pending = 1000
        self.leads = True
        self.leader: str | None = None
        self.most_pending_of_user = 100
        self.all_heads: dict[str, TaskHead] = {}
        self.elsewhere: dict[str, TaskHead] = {}
        """What another coordinator has stored, and this one has not heard of."""
        self.looked_for: list[str] = []
        self.runs: dict[str, TaskRun] = {}
        self.names: dict[str, Sequence[str]] = {}
        self.keys: dict[str, tuple[str, str]] = {}
        self.known: dict[str, KnownNode] = {}
        self.progress: dict[tuple[str, str], dict[str, ImageProgress]] = {}
        self.bytes: dict[str, Transfer] = {}
        self.sets = FakeSets()
        self.purges = FakePurges()
        self.images = FakeImages(self)

    # ── what a test does to it ──

    def started(self, task: str, nodes: Sequence[str]) -> TaskRun:
        """The task runs on these nodes."""
        head = self.all_heads[task]
        run = TaskRun(head, nodes)
        run.head = self._set(
            head,
            status=TaskStatus.RUNNING,
            started_at=NOW,
            nodes=len(nodes),
            batches=run.total_batches,
        )
        self.runs[task] = run
        return run

    def outcome(self, task: str, node: str, outcome: Outcome) -> None:
        """An outcome of the node's current attempt is stored."""
        run = self.runs[task]
        key = AttemptKey(task, node, run.by_name[node].next_attempt)
        seconds = NOW / 1000
        run.take_in(key, outcome, seq=1, stored_at=seconds + 1, now=seconds + 1)

    def ended(
        self, task: str, status: TaskStatus, notify: tuple[PendingNotification, ...] = ()
    ) -> None:
        """The task is over."""
        run = self.runs.get(task)
        if run is not None:
            run.close()
        self._set(
            self.all_heads[task],
            status=status,
            finished_at=NOW + 5000,
            counts=None if run is None else run.counts(),
            notify=notify,
        )

    def _set(self, head: TaskHead, **changes: object) -> TaskHead:
        self.all_heads[head.id] = changed = replace(head, **changes)
        if head.id in self.runs:
            self.runs[head.id].head = changed
        return changed

    # ── the port ──

    def unreadable(self) -> Text | None:
        return _said(self.blind)

    def warning(self) -> Text | None:
        return self.warns

    def standing(self) -> Standing:
        return Standing(
            name="c1",
            leads=self.leads,
            leader=self.leader,
            nats_connected=self.away is None,
            no_writes=self.not_ready(),
        )

    def not_ready(self) -> Text | None:
        return _said(self.blind or self.away)

    async def created_before(self, key: IdempotencyKey) -> Created | None:
        if key.key_hash not in self.keys:
            return None
        task, body = self.keys[key.key_hash]
        if body != key.body_hash:
            raise KeyReused(task)
        return Created(self.all_heads[task], is_new=False)

    async def create(
        self,
        spec: TaskSpec,
        names: Sequence[str] | None,
        *,
        key: IdempotencyKey | None = None,
        retry_of: str | None = None,
        creator: Creator | None = None,
    ) -> Created:
        if key is not None and (created := await self.created_before(key)) is not None:
            return created
        if len(self.ids(TaskStatus.PENDING)) >= self.most_pending:
            raise TooManyPending(self.most_pending)
        if creator is not None and self._pending_of(creator) >= self.most_pending_of_user:
            raise TooManyPendingOfUser(creator.user, self.most_pending_of_user)
        head = TaskHead(
            id=f"task-20260116-151234-{len(self.all_heads):08x}",
            spec=spec,
            created_at=NOW,
            retry_of=retry_of,
            created_by=creator,
        )
        self.all_heads[head.id] = head
        if names is not None:
            self.names[head.id] = names
        if key is not None:
            self.keys[key.key_hash] = (head.id, key.body_hash)
        return Created(head, is_new=True)

    def _pending_of(self, creator: Creator) -> int:
        heads = self.all_heads.values()
        return sum(h.created_by == creator and h.status is TaskStatus.PENDING for h in heads)

    async def cancel(self, task_id: str) -> TaskHead:
        head = self.all_heads.get(task_id)
        if head is None:
            raise NoSuchTask
        if head.status.is_final:
            raise AlreadyOver(head.status)
        self.ended(task_id, TaskStatus.CANCELLED)
        return self.all_heads[task_id]

    async def pause(self, task_id: str, *, paused: bool) -> TaskHead:
        head = self.all_heads.get(task_id)
        if head is None:
            raise NoSuchTask
        if head.status is not TaskStatus.RUNNING:
            raise NotRunning(head.status)
        return self._set(head, paused=paused)

    async def find(self, task_id: str) -> TaskHead | None:
        self.looked_for.append(task_id)
        if self.away is not None:
            raise StoreAway(Text(self.away))
        if task_id in self.elsewhere:
            self.all_heads[task_id] = self.elsewhere.pop(task_id)
        return self.all_heads.get(task_id)

    @property
    def tasks(self) -> FakeEngine:
        if self.blind is not None:
            raise StoreAway(Text(self.blind))
        return self

    @property
    def nodes(self) -> FakeNodes:
        if self.blind is not None:
            raise StoreAway(Text(self.blind))
        return FakeNodes(self.known)

    def head(self, task_id: str) -> TaskHead | None:
        return self.all_heads.get(task_id)

    def ids(self, status: TaskStatus | None = None) -> Sequence[str]:
        newest_first = reversed(self.all_heads.values())
        return [head.id for head in newest_first if status in {None, head.status}]

    def snapshot(self, task_id: str) -> Snapshot | None:
        head = self.all_heads.get(task_id)
        if head is None:
            return None
        running = head.status is TaskStatus.RUNNING
        return Snapshot(
            head,
            NOW + 10_000,
            run=self.runs.get(task_id) if running else None,
            transfer=self.bytes.get(task_id, UNKNOWN_TRANSFER),
            waiting_for=None if head.status.is_final else _said(self.waits),
            pulls=lambda node: self.progress.get((task_id, node.name), NOTHING_KNOWN),
            retries=[h.id for h in self.all_heads.values() if h.retry_of == task_id],
        )

    async def snapshot_with_nodes(self, task_id: str) -> Snapshot:
        shot = self.snapshot(task_id)
        if shot is not None and not shot.head.status.is_final:
            return shot
        if self.away is not None:
            raise StoreAway(Text(self.away))
        if shot is None:
            raise NoSuchTask
        run = self.runs.get(task_id) or TaskRun(shot.head, [])
        return Snapshot(shot.head, shot.now, run=run, retries=shot.retries)

    async def named_nodes(self, task_id: str) -> Sequence[str] | None:
        return self.names.get(task_id)


class FakeImages:
    """``port.Images`` over dictionaries."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.on: dict[str, Sequence[ImageOnNode] | Exception] = {}
        self.references: list[ImageUse] = []
        self.where: dict[str, list[Whereabouts]] = {}
        self.asked = asyncio.Event()
        self.asked.set()

    async def on_node(self, node: str) -> Sequence[ImageOnNode]:
        await self.asked.wait()
        found = self.on[node]
        if isinstance(found, Exception):
            raise found
        return found

    async def known(self) -> Sequence[ImageUse]:
        return self.references

    async def places(self, reference: str) -> Sequence[Whereabouts]:
        return self.where.get(reference, [])

    async def tasks_on(self, node: str) -> Collection[str]:
        return {task for task, run in self._engine.runs.items() if node in run.by_name}

    async def past(self, node: str, tasks: Sequence[str]) -> Sequence[NodePast]:
        runs = [self._engine.runs[task] for task in tasks]
        return [NodePast(run.head, run.by_name[node]) for run in runs]


class FakeNodes:
    """``port.Nodes`` over a dictionary."""

    def __init__(self, known: Mapping[str, KnownNode]) -> None:
        self._known = known

    def labels(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        return [(name, self._known[name].labels) for name in sorted(self._known)]

    def get(self, name: str) -> KnownNode | None:
        return self._known.get(name)

    def state(self, name: str) -> NodeState:
        node = self._known[name]
        if node.problem is not None or not node.schedulable:
            return NodeState.UNSCHEDULABLE
        return NodeState.READY if node.connected else NodeState.OFFLINE

    @property
    def left_out(self) -> int:
        return 3


def _said(text: str | Text | None) -> Text | None:
    return Text(text) if isinstance(text, str) else text


def pulled(*images: str, size: int | None = 100) -> Outcome:
    """All of these images were pulled, in 1.5 s."""
    return Outcome(
        images=[
            ImageOutcome(
                image=image,
                state=ImageState.PULLED,
                digest="sha256:" + "0" * 64,
                bytes=size,
                seconds=1.25,
            )
            for image in images
        ],
        seconds=1.5,
    )


def not_found(*images: str) -> Outcome:
    """None of these images exists."""
    return Outcome(
        images=[
            ImageOutcome(
                image=image,
                state=ImageState.FAILED,
                reason=Reason.IMAGE_NOT_FOUND,
                message=f"{image}: not found",
            )
            for image in images
        ],
        seconds=0.5,
    )


def begin(run: TaskRun, node: str) -> None:
    """The node's agent has accepted its next attempt."""
    run.place(run.by_name[node], NOW / 1000)
    run.move(run.by_name[node], NodePhase.PULLING)
