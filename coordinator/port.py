"""What the API needs of the engine, and nothing else; each side knows only this.

What is answered is in ``snapshots.py``.
"""

# ruff: noqa: N818 -- an exception here is named by what happened, as its callers speak of it

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from common.text import Text
from coordinator.core.task import Creator, TaskHead, TaskSpec, TaskStatus
from coordinator.purge_port import Purges
from coordinator.set_port import Sets
from coordinator.snapshots import (
    ImageOnNode,
    ImageUse,
    KnownNode,
    NodePast,
    NodeState,
    Snapshot,
    Whereabouts,
)

Wake = Callable[[], None]
"""Called on the event loop when there is something to take; ``asyncio.Event().set`` is one."""


class StoreAway(Exception):
    """The store cannot be asked or refuses; ``text`` says why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.message)
        self.text = text


class NoSuchTask(Exception):
    """No task has this id (any more)."""


class TaskDamaged(Exception):
    """What is stored of a task cannot be read; ``text`` says what."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.message)
        self.text = text


class TooManyPending(Exception):
    """As many tasks wait as may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} tasks are pending")
        self.most = most


class TooManyPendingOfUser(Exception):
    """As many tasks of one user wait as may."""

    def __init__(self, user: str, most: int) -> None:
        super().__init__(f"{most} tasks of {user} are pending")
        self.user = user
        self.most = most


class AlreadyOver(Exception):
    """The task is finished and never changes again."""

    def __init__(self, status: TaskStatus) -> None:
        super().__init__(f"the task is {status}")
        self.status = status


class NoSuchSet(Exception):
    """There is no set of this name."""


class SetChanged(Exception):
    """The set is not the one that was meant (``If-Match``)."""


class TooManySets(Exception):
    """There are as many sets as may be."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} sets exist")
        self.most = most


class NodeSilent(Exception):
    """A node cannot be asked what is there, or does not answer; ``text`` says why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.message)
        self.text = text


class TooManyAsked(Exception):
    """As many nodes are being asked as may be, at one moment."""


class NotRunning(Exception):
    """The task neither runs nor is paused."""

    def __init__(self, status: TaskStatus) -> None:
        super().__init__(f"the task is {status}")
        self.status = status


class KeyReused(Exception):
    """The idempotency key belongs to a task that was created with another body."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"the key belongs to {task_id}")
        self.task_id = task_id


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's ``Idempotency-Key`` and what it was sent with, both as SHA-256 in hex."""

    key_hash: str
    """Of the header's bytes; ``idem.<key_hash>`` in the store."""
    body_hash: str
    """Of the body as parsed and normalised, so that blanks and defaults make no difference."""


@dataclass(frozen=True, slots=True)
class Created:
    """What a create came to."""

    head: TaskHead
    """As created; where the key was known before, as it is now."""
    is_new: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds of a coordinator at one moment, beside that it works."""

    name: str
    """How this coordinator is called; empty before it has a bus."""
    leads: bool
    leader: str | None
    """Who leads, where that is known and somebody else."""
    nats_connected: bool
    no_writes: Text | None
    """Why nothing is created or cancelled; None where it takes writes."""


@dataclass(frozen=True, slots=True)
class State:
    """What metrics show of one moment."""

    ready: bool
    standing: Standing
    store_writable: bool
    node_source_up: bool
    queued: int
    """Pending tasks."""
    oldest_queued_at: int | None
    """When the oldest of them was created, in milliseconds since 1970."""
    nodes: Mapping[NodeState, int]


class Changes(Protocol):
    """Names of nodes that have changed since they were last taken.

    The ``wake`` of the subscription is called whenever there is something to take and was nothing
    before.
    """

    def take(self, most: int) -> Collection[str]:
        """At most so many of the names, each once; the rest can be taken afterwards."""

    def close(self) -> None:
        """Want no more."""


class Live(Protocol):
    """What changes too fast to be kept: subscribe to names, then look up their newest state."""

    def of_task(self, task_id: str, wake: Wake) -> Changes:
        """Nodes of one task whose state, or an image's bytes, changed."""

    def of_fleet(self, wake: Wake) -> Changes:
        """Nodes that changed as ``node`` tells them; one that it no longer knows is gone."""


class Tasks(Protocol):
    """Every task that is stored. What is not ``async`` answers from memory at once."""

    def head(self, task_id: str) -> TaskHead | None:
        """The newest known head of a task; None for an unknown one."""

    def ids(self, status: TaskStatus | None = None) -> Sequence[str]:
        """Ids of tasks (of one status), newest first in the order of the store.

        Asked for at every list request with 10,000 tasks: slicing and ``len`` must be cheap.
        """

    def snapshot(self, task_id: str) -> Snapshot | None:
        """What is known of a task; of a finished one without its nodes. None for an unknown one."""

    async def snapshot_with_nodes(self, task_id: str) -> Snapshot:
        """The same, a finished task's nodes read from the store (none if it never started).

        Raises ``NoSuchTask``, ``StoreAway`` and ``TaskDamaged``.
        """

    async def named_nodes(self, task_id: str) -> Sequence[str] | None:
        """The ``nodeNames`` that a task was created with; None for none.

        Raises ``NoSuchTask``, ``StoreAway`` and ``TaskDamaged``.
        """


class Nodes(Protocol):
    """Every node that is known."""

    def labels(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        """Name and labels of every known node, ordered by name: cheap for 10,000 of them."""

    def get(self, name: str) -> KnownNode | None:
        """One node; None for an unknown one."""

    def state(self, name: str) -> NodeState:
        """The state of a known node: ready, offline or unschedulable."""

    @property
    def left_out(self) -> int:
        """How many nodes the source leaves out, since no agent is to run there."""


class Images(Protocol):
    """What is where. Everything of the past is what tasks in retention say."""

    async def on_node(self, node: str) -> Sequence[ImageOnNode]:
        """What a node's runtime has now, asked of its agent; ordered by id.

        Raises NodeSilent, TooManyAsked and StoreAway.
        """

    async def known(self) -> Sequence[ImageUse]:
        """Every reference of any task or set, ordered; some seconds old at most."""

    async def places(self, reference: str) -> Sequence[Whereabouts]:
        """Every node, ordered by name, and whether a reference is there. Raises StoreAway.

        Some seconds old at most.
        """

    async def tasks_on(self, node: str) -> Collection[str]:
        """Tasks that tried a node, or that run and have it. Raises StoreAway."""

    async def past(self, node: str, tasks: Sequence[str]) -> Sequence[NodePast]:
        """What each of these tasks did on a node, in their order; those that did nothing not.

        Raises StoreAway.
        """


class Engine(Protocol):
    """The engine as the API sees it."""

    @property
    def live(self) -> Live:
        """What changes too fast to be kept."""

    @property
    def tasks(self) -> Tasks:
        """The tasks. Raises ``StoreAway`` where ``unreadable`` has something to say."""

    @property
    def nodes(self) -> Nodes:
        """The nodes. Raises as ``tasks``."""

    @property
    def sets(self) -> Sets:
        """The warm sets. Raises as ``tasks``."""

    @property
    def purges(self) -> Purges:
        """The purges. Raises as ``tasks``."""

    @property
    def images(self) -> Images:
        """What is where. Raises as ``tasks``."""

    def unreadable(self) -> Text | None:
        """Why nothing can be answered at all (state not loaded); None if it can.

        For the 503 of every API route, and of ``/readyz``.
        """

    async def find(self, task_id: str) -> TaskHead | None:
        """The head of a task as the store has it now, which is taken in; None for no task.

        For what another coordinator has just stored. Raises ``StoreAway``.
        """

    def standing(self) -> Standing:
        """What ``/readyz`` tells beside that it is ready."""

    def not_ready(self) -> Text | None:
        """Why nothing is created or cancelled; None when all is well.

        Whatever ``unreadable`` says, and also a store that refuses writes or is away.
        """

    def warning(self) -> Text | None:
        """What is wrong although everything works, for ``/readyz``; None when all is well."""

    async def create(
        self,
        spec: TaskSpec,
        names: Sequence[str] | None,
        *,
        key: IdempotencyKey | None = None,
        retry_of: str | None = None,
        creator: Creator | None = None,
    ) -> Created:
        """Store a task; when this returns it is stored.

        Raises ``KeyReused``, ``TooManyPending``, ``TooManyPendingOfUser`` and ``StoreAway``. A key
        whose task is known answers with it, however many tasks wait.

        ``names`` is sorted, without doubles, and not None exactly where ``spec.names_nodes``.
        """

    async def created_before(self, key: IdempotencyKey) -> Created | None:
        """The task that a key has created; None for none. Raises ``KeyReused``, ``StoreAway``."""

    async def cancel(self, task_id: str) -> TaskHead:
        """Cancel a pending or running task. Raises NoSuchTask, AlreadyOver, StoreAway."""

    async def pause(self, task_id: str, *, paused: bool) -> TaskHead:
        """Let no new node of a running task begin, or let them begin again.

        Raises NoSuchTask, NotRunning, StoreAway.
        """
