"""The engine as the API sees it, over replicas and leaders that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from common import subjects, texts
from common.bus import BusError
from common.lifecycle import leaves
from common.logs import Log, RateLimitedLog
from common.text import Text
from coordinator.core.task import Creator, TaskHead, TaskSpec
from coordinator.engine.leader import DeposedError, Leader
from coordinator.engine.live import LiveChanges
from coordinator.engine.replica import Replica
from coordinator.engine.submissions import Submissions
from coordinator.port import (
    Created,
    IdempotencyKey,
    Images,
    Nodes,
    Standing,
    State,
    StoreAway,
    Tasks,
)
from coordinator.purge_port import Purges
from coordinator.set_port import Sets

log = Log(__name__)

ANEW_SECONDS = 1.0
"""After a replica or a leader that could not go on."""
LOG_SECONDS = 60.0
"""Between two words about that, while a store is away for hours."""


class ConnectionState(Protocol):
    """What is needed of the bus."""

    @property
    def connected(self) -> bool:
        """Whether a server has us."""

    @property
    def state_text(self) -> str:
        """The state in words."""


class Leadership(Protocol):
    """The lease, as far as this module needs it."""

    name: str
    """How this coordinator is called."""
    holder: str | None
    """Who leads, where it is known and somebody else."""

    async def acquire(self) -> int:
        """Wait until this coordinator leads; the epoch."""

    async def lost(self) -> None:
        """Wait until this coordinator no longer leads."""

    async def rest(self) -> int:
        """Renew it no more; the revision that it has now."""


class Watched(Protocol):
    """The clock, as far as this module needs it."""

    @property
    def warning(self) -> Text | None:
        """What is wrong with it."""


NewReplica = Callable[[bool], Replica]
"""Makes a replica; told whether this process has led before."""
NewLeader = Callable[[Replica, int], Leader]
"""Puts a leader of an epoch on top of a replica."""


class Service:
    """Readiness, and who answers (``port.Engine``).

    The replica answers whether this coordinator leads or not. Its memory still answers reads while
    the store is away, and while the next replica is loading.
    """

    def __init__(self, live: LiveChanges) -> None:
        self.live = live
        self._bus: ConnectionState | None = None
        self._lease: Leadership | None = None
        self._replica: Replica | None = None
        """The last one that was loaded."""
        self._leads = False
        self._has_led = False
        self._leader: Leader | None = None
        self._starting = texts.COORDINATOR_STARTING()
        self._clock: Watched | None = None
        self._sparing = RateLimitedLog(log, interval_seconds=LOG_SECONDS)

    # ── replicas and leaders ──

    async def serve(
        self,
        bus: ConnectionState,
        lease: Leadership,
        new_replica: NewReplica,
        new_leader: NewLeader,
    ) -> NoReturn:
        """Follow always, and lead whenever the lease is held; without end."""
        self._bus, self._lease = bus, lease
        while True:
            replica = new_replica(self._has_led)
            try:
                await self._follow_and_lead(replica, lease, new_leader)
            except* (DeposedError, BusError) as group:
                why = "; ".join(map(str, leaves(group)))
                self._sparing.warning("anew", "following anew", why=why)
                await asyncio.sleep(ANEW_SECONDS)

    async def _follow_and_lead(
        self, replica: Replica, lease: Leadership, new_leader: NewLeader
    ) -> None:
        """One life of a replica: it ends when the lease that it got is lost."""
        try:
            async with asyncio.TaskGroup() as group:
                following = group.create_task(replica.run())
                await replica.loaded.wait()
                self._replica = replica
                epoch = await lease.acquire()
                leader = new_leader(replica, epoch)
                self._leader, self._leads, self._has_led = leader, True, True
                leading = group.create_task(leader.run())
                await lease.lost()
                leader.journal.deposed("the lease is lost")
                leading.cancel()
                following.cancel()
                await asyncio.wait([leading, following])
        finally:
            self._leader, self._leads = None, False

    async def hand_over(self) -> None:
        """Prepare the end of this program: if it leads, the next one is to go on at once."""
        if self._leader is not None and self._lease is not None:
            await self._leader.hand_over(self._lease.rest)

    def active_tasks(self) -> int:
        """Tasks that are running."""
        return len(self._replica.core.runs) if self._replica is not None and self._leads else 0

    # ── what holds ──

    def standing(self) -> Standing:
        """Who leads, and whether writes are taken."""
        holder = None if self._lease is None or self._leads else self._lease.holder
        connected = self._bus is not None and self._bus.connected
        name = "" if self._lease is None else self._lease.name
        return Standing(name, self._leads, holder, connected, self.not_ready())

    def state(self) -> State:
        """What metrics show of this moment."""
        known = None if self.unreadable() is not None else self._replica
        waiting = [] if known is None else [p.created_at for p in known.core.waiting.values()]
        return State(
            ready=self.unreadable() is None,
            standing=self.standing(),
            store_writable=known is not None and known.health.trouble is None,
            node_source_up=known is not None and known.nodes.source.trouble is None,
            queued=len(waiting),
            oldest_queued_at=min(waiting, default=None),
            nodes={} if known is None else known.nodes.counts(),
        )

    def unreadable(self) -> Text | None:
        """Why nothing can be answered at all; None if it can."""
        if self._replica is not None:
            return None
        if self._bus is None:
            return self._starting
        if not self._bus.connected:
            return texts.NATS_AWAY(why=self._bus.state_text)
        return texts.COORDINATOR_LOADING()

    def not_ready(self) -> Text | None:
        """Why nothing is created or cancelled; None when all is well."""
        if reason := self.unreadable():
            return reason
        if self._bus is not None and not self._bus.connected:
            return texts.NATS_AWAY(why=self._bus.state_text)
        if not self._leads and (self._lease is None or self._lease.holder is None):
            return texts.LEASE_NOT_RENEWED()
        if self._replica is not None and self._replica.health.trouble is not None:
            return texts.STORE_REFUSES_WRITES(why=self._replica.health.trouble)
        return None

    def warning(self) -> Text | None:
        """What is wrong although everything works; None when all is well."""
        return None if self._clock is None else self._clock.warning

    def watch_clock(self, clock: Watched) -> None:
        """Have its warnings told."""
        self._clock = clock

    def say_starting(self, what: Text) -> None:
        """What the program is waiting for before it has a bus, for whoever asks."""
        self._starting = what

    # ── who answers ──

    def _readable(self) -> Replica:
        reason = self.unreadable()
        if reason is not None or self._replica is None:
            raise StoreAway(reason or texts.COORDINATOR_LOADING())
        return self._replica

    @property
    def tasks(self) -> Tasks:
        """The tasks. Raises StoreAway."""
        return self._readable().tasks

    @property
    def nodes(self) -> Nodes:
        """The nodes. Raises StoreAway."""
        return self._readable().nodes

    @property
    def sets(self) -> Sets:
        """The warm sets. Raises StoreAway."""
        return self._readable().sets

    @property
    def purges(self) -> Purges:
        """The purges. Raises StoreAway."""
        return self._readable().purges

    @property
    def images(self) -> Images:
        """What is where. Raises StoreAway."""
        return self._readable().images

    async def find(self, task_id: str) -> TaskHead | None:
        """The head of a task as the store has it now; None for no task. Raises StoreAway."""
        replica = self._readable()
        if subjects.is_task_id(task_id):
            try:
                await replica.lookups.find(task_id)
            except BusError as why:
                raise StoreAway(texts.STORE_UNUSABLE(why=why.cause)) from why
        return replica.tasks.head(task_id)

    def _writable(self) -> Submissions:
        if reason := self.not_ready():
            raise StoreAway(reason)
        return self._readable().submissions

    async def create(
        self,
        spec: TaskSpec,
        names: Sequence[str] | None,
        *,
        key: IdempotencyKey | None = None,
        retry_of: str | None = None,
        creator: Creator | None = None,
    ) -> Created:
        """Store a task. Raises KeyReused, TooManyPending, TooManyPendingOfUser, StoreAway."""
        return await self._writable().create(spec, names, key, retry_of, creator)

    async def created_before(self, key: IdempotencyKey) -> Created | None:
        """The task of a key. Raises KeyReused, StoreAway."""
        return await self._writable().created_before(key)

    async def cancel(self, task_id: str) -> TaskHead:
        """Cancel a task. Raises NoSuchTask, AlreadyOver, StoreAway."""
        return await self._writable().cancel(task_id)

    async def pause(self, task_id: str, *, paused: bool) -> TaskHead:
        """Pause a running task, or resume it. Raises NoSuchTask, NotRunning, StoreAway."""
        return await self._writable().pause(task_id, paused=paused)
