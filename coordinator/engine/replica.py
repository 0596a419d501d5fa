"""A replica: everything that follows the store and the bus, and can answer.

It reads what is stored, hears what agents say, and feeds both to a core that never says what is to
be done until a leader is put on top of it (``leader.py``). It lives until that leader is deposed;
then another one is made, so that there is only one way to start.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from common.logs import Log
from common.text import Text
from coordinator.core.changes import AttemptDecided, NodeMoved, TaskBegan, TaskOver
from coordinator.core.scheduler import Core, Limits
from coordinator.core.sets.core import SetLimits
from coordinator.engine.briefing import Briefed
from coordinator.engine.dispatcher import Commands
from coordinator.engine.finished_folds import FinishedFolds
from coordinator.engine.images import ImageTable
from coordinator.engine.intake import Intake
from coordinator.engine.live import LiveChanges
from coordinator.engine.lookups import Lookups
from coordinator.engine.loop import Kinds, Loop, Observer
from coordinator.engine.node_images import NodeCalls, NodeImages
from coordinator.engine.node_records import NodeRecords
from coordinator.engine.nodes import NodeTable
from coordinator.engine.outcome_requests import OutcomeRequests
from coordinator.engine.persistence import Persistently
from coordinator.engine.progress_board import ProgressBoard
from coordinator.engine.publisher import EventStream
from coordinator.engine.purge_asks import PurgeAsks
from coordinator.engine.purge_records import PurgeRecords
from coordinator.engine.purges import PurgeTable
from coordinator.engine.reception import Pinged, Reception, Subscriber, watch_bus
from coordinator.engine.set_changes import RecentChanges
from coordinator.engine.set_notes import SetNotes
from coordinator.engine.set_records import SetRecords
from coordinator.engine.sets import HANDED_ON, SetTable
from coordinator.engine.store_clock import StoreClock
from coordinator.engine.store_health import StoreHealth
from coordinator.engine.submissions import Submissions
from coordinator.engine.task_credentials import TaskCredentials
from coordinator.engine.tasks import TaskTable
from coordinator.engine.waiting import WhyWaiting
from coordinator.faults import Faults
from coordinator.gate_support import GateSupport
from coordinator.nodes.source import NewSource
from coordinator.store import Store
from coordinator.store_bus import StoreBus

log = Log(__name__)

NODES_AT_A_TIME = 100


class EngineBus(StoreBus, Subscriber, Pinged, Commands, NodeCalls, EventStream, Protocol):
    """All that a coordinator needs of the bus."""


@dataclass(frozen=True, slots=True)
class Context:
    """What outlives a replica."""

    bus: EngineBus
    clock: Callable[[], float]
    """Seconds since 1970, never falling."""
    store_clock: StoreClock
    rng: random.Random
    """Draws jitter and ids."""
    live: LiveChanges
    new_source: NewSource
    on_poison: Callable[[str], None]
    """Told the kind of a message that cannot be understood."""
    limits: Limits
    max_pending: int
    """So many tasks may wait."""
    forget_seconds: float
    """After so long without a heartbeat an agent is forgotten."""
    max_pending_of_user: int = 100
    """So many of them may be of one user."""
    task_credentials: TaskCredentials = field(default_factory=TaskCredentials)
    set_limits: SetLimits = field(default_factory=SetLimits)
    faults: Faults = field(default_factory=Faults)
    """Told of each fault that ends nothing."""
    gates: GateSupport | None = None
    """Whether gates of sets work; None where there are none."""
    on_accepted: Callable[[float], None] = lambda _seconds: None
    """Told after how many seconds an agent has accepted an assignment."""


class Replica:
    """The wiring of what follows and answers."""

    def __init__(self, context: Context, observers: Sequence[tuple[Observer, Kinds]] = ()) -> None:
        """``observers`` come with the types of what they want to see."""
        clock = context.clock
        self._context = context
        self.observers = observers
        self._jobs = asyncio.TaskGroup()
        self.loaded = asyncio.Event()
        self.persistently = Persistently(context.rng)
        self.store = Store(context.bus, context.on_poison)
        self.core = Core(context.limits, clock())
        self.loop = Loop(self.core, clock, context.faults)
        feed = self.loop.feed
        self.health = StoreHealth(self.store, feed)
        self.sets = self._new_sets()
        self.set_notes = SetNotes(context.bus, self.sets.loop.feed, context.on_poison)
        self.set_changes = RecentChanges(clock, self.sets.loop.observe)
        self.nodes = NodeTable(
            fleet=self.core.fleet,
            new_source=context.new_source,
            feed=feed,
            clock=clock,
            on_change=context.live.fleet_changed,
            forget_seconds=context.forget_seconds,
            on_said=self.sets.on_heartbeat,
        )
        self.node_records = NodeRecords(context.bus, self.core.fleet.nodes, context.on_poison)
        self.board = ProgressBoard(self.core)
        self.why_waiting = WhyWaiting(self.core, clock, lambda: self.nodes.source.trouble)
        self.tasks = TaskTable(
            store=self.store,
            core=self.core,
            board=self.board,
            folds=FinishedFolds(self.store),
            why_waiting=self._why_waiting,
            feed=feed,
            clock=clock,
            spawn=self.spawn,
            persistently=self.persistently,
        )
        self.briefed = Briefed(context.bus, self.core, feed, self.tasks.is_over)
        self.lookups = Lookups(self.store, self.tasks, self.core, self.spawn)
        self.images = self._new_images()
        self.purges = self._new_purges()
        self.submissions = Submissions(
            store=self.store,
            tasks=self.tasks,
            lookups=self.lookups,
            max_pending=context.max_pending,
            max_pending_of_user=context.max_pending_of_user,
            clock=clock,
            draw=lambda size: context.rng.randbytes(size).hex(),
            spawn=self.spawn,
            failed=self.health.failed,
        )
        self.outcome_requests = self._new_outcome_requests()
        self._intake = Intake(self.store, self.tasks, self.spawn)
        self._observe()

    def _observe(self) -> None:
        context = self._context
        self.board.listen(lambda task, node: context.live.task_changed(task, [node]))
        self.loop.observe(self.board.observe, of=(AttemptDecided, NodeMoved, TaskOver))
        self.loop.observe(context.live.observe, of=(NodeMoved,))
        self.loop.observe(self.lookups.observe, of=(TaskBegan, TaskOver))
        self.loop.observe(self.briefed.observe, of=(AttemptDecided, TaskBegan, TaskOver))
        self.loop.observe(self.sets.observe, of=HANDED_ON)
        for observer, kinds in self.observers:
            self.loop.observe(observer, kinds)

    def _new_sets(self) -> SetTable:
        return SetTable(
            records=SetRecords(self._context.bus, self._context.on_poison),
            bus=self._context.bus,
            core=self.core,
            limits=self._context.set_limits,
            clock=self._context.clock,
            faults=self._context.faults,
            on_poison=self._context.on_poison,
            failed=self.health.failed,
            gates=self._context.gates,
        )

    def _new_images(self) -> ImageTable:
        clock = self._context.clock
        return ImageTable(
            agents=NodeImages(self._context.bus, self.core.fleet, clock),
            tasks=self.tasks,
            runs=self.core.runs,
            board=self.board,
            sets=self.sets,
            nodes=self.nodes,
            store=self.store,
            clock=clock,
        )

    def _new_purges(self) -> PurgeTable:
        context, fleet = self._context, self.core.fleet
        return PurgeTable(
            records=PurgeRecords(context.bus, context.on_poison),
            asks=PurgeAsks(context.bus, fleet, self.nodes.get, self.sets.generation, context.clock),
            nodes=self.nodes,
            clock=context.clock,
            draw=lambda size: context.rng.randbytes(size).hex(),
            spawn=self.spawn,
            persistently=self.persistently,
            failed=self.health.failed,
            faults=context.faults,
        )

    def _new_outcome_requests(self) -> OutcomeRequests:
        return OutcomeRequests(
            bus=self._context.bus,
            store=self.store,
            tasks=self.tasks,
            runs=self.core.runs,
            lookups=self.lookups,
            spawn=self.spawn,
            failed=self.health.failed,
            on_poison=self._context.on_poison,
            faults=self._context.faults,
        )

    def _why_waiting(self, task: str) -> Text | None:
        """In the words of whoever leads."""
        if self.core.leads:
            return self.why_waiting(task)
        return self.briefed.why(task, self.why_waiting)

    def spawn(self, job: Coroutine[Any, Any, Any]) -> None:
        """Have a job done, unless this replica is at its end: the next one takes it up."""
        try:
            self._jobs.create_task(job)
        except RuntimeError:
            job.close()

    async def load_nodes(self) -> None:
        """Remember the nodes that are stored, where nobody else lists them. Raises BusError."""
        if not self.nodes.source.relies_on_agents:
            return
        for number, (name, labels) in enumerate((await self.node_records.load()).items()):
            self.nodes.remember(name, labels)
            if number % NODES_AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def run(self) -> None:
        """Load what is stored, then follow until cancelled.

        Whatever dies ends all of it, with an error: BusError where the store went back or away.
        """
        async with self._jobs:
            await self.sets.load()
            await self.set_notes.load()
            loaded = await self._intake.load()
            log.info("state loaded", tasks=len(self.tasks), running=len(self.core.runs))
            await self.load_nodes()
            self._intake.follow(loaded)
            self.spawn(self.sets.watch())
            self.spawn(self.set_notes.watch())
            self.spawn(self.loop.run())
            self.spawn(self.sets.loop.run())
            self.spawn(self.nodes.source.run())
            self.spawn(self.nodes.watch_silence())
            self.spawn(self.health.watch())
            self.spawn(watch_bus(self._context.bus, self.core, self.loop.feed, self._context.clock))
            with ExitStack() as subscriptions:
                reception = Reception(self._context.bus, self._context.on_poison)
                await reception.open(self.nodes.on_heartbeat, self.board.on_progress, subscriptions)
                await reception.hear_inventories(self.sets.on_inventory, subscriptions)
                listening = self._context.task_credentials.listen(self.sets.on_credential)
                subscriptions.callback(listening)
                await reception.hear_leader(self.briefed.on_briefing, subscriptions)
                self.briefed.ask()
                subscriptions.callback(self.outcome_requests.close)
                await reception.serve(self.outcome_requests.on_request, subscriptions)
                self.loaded.set()
                await asyncio.Future()
