"""One term of leadership: load what is stored, hear what is held, then schedule until it ends.

A term begins the same way after a crash, a change of leader, or a NATS that was away: nothing is
taken over from the term before but the stored truth. When it ends, what runs on the nodes goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import aiohttp
import msgspec

from common import subjects
from common.bus import Bus, BusError, NotConnected, Received
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE, Progress
from coordinator.core.commands import (
    AskAgent,
    Assign,
    CancelWork,
    Command,
    FinishTask,
    StartTask,
    StoreVerdict,
    TellBatch,
    TellNode,
    WakeAt,
)
from coordinator.core.events import (
    BusFellSilent,
    BusHeard,
    Event,
    Settled,
)
from coordinator.core.node_run import IN_FLIGHT, NodePhase
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Core, Limits
from coordinator.core.task import TaskHead, TaskSpec
from coordinator.engine.agent_table import AgentTable
from coordinator.engine.dispatch import Dispatcher
from coordinator.engine.endings import Endings
from coordinator.engine.failed_pulls import FailedPulls
from coordinator.engine.fleet_table import FleetTable, SourceFeed
from coordinator.engine.heads import Heads
from coordinator.engine.intake import Intake
from coordinator.engine.janitor import Janitor
from coordinator.engine.live import Board, LiveChanges
from coordinator.engine.loop import Loop, Observe
from coordinator.engine.publisher import Publisher
from coordinator.engine.store_health import StoreHealth
from coordinator.engine.transitions import Transitions
from coordinator.engine.webhooks import Webhooks
from coordinator.nodes.source import NewSource
from coordinator.port import Created, IdempotencyKey, StoreAway, Transfer
from coordinator.store import NAMED, Store, StoredHead
from coordinator.views.nodes import Pulls
from coordinator.views.tasks import Snapshot

log = Log(__name__)
poison = RateLimitedLog(log)

SETTLE_SECONDS = 2.0
"""A starting leader hears so long what agents hold before it assigns."""
PING_SECONDS = 1.0
PING_ANSWER_SECONDS = 2.0

_decode_progress = msgspec.json.Decoder(Progress).decode


class DeposedError(Exception):
    """An agent knows a newer leader: this term is over."""


@dataclass(frozen=True, slots=True)
class TermSettings:
    """What the operator decided about the work of a leader."""

    limits: Limits
    source: str
    """The CloudEvents ``source`` of this installation."""
    retention_seconds: float
    forget_seconds: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What outlives a term."""

    bus: Bus
    http: aiohttp.ClientSession
    clock: Callable[[], float]
    live: LiveChanges
    new_source: NewSource
    """Makes the node source of each term."""
    observers: Sequence[Observe]
    on_poison: Callable[[str], None]
    """Told the kind of a message that cannot be understood."""


class Term:
    """The wiring of one term, and the questions that the API asks of it."""

    def __init__(self, around: Surroundings, settings: TermSettings, epoch: int) -> None:
        self._around = around
        self._bus = around.bus
        self.clock = around.clock
        self.heads = Heads()
        self._store = Store(around.bus)
        self.core = Core(settings.limits, self.clock())
        self._board = Board()
        self._jobs = asyncio.TaskGroup()
        self._deposition: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.loaded = asyncio.Event()
        self._cancels: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._loop = Loop(self.core, self.clock, self._perform)
        feed = self._loop.feed
        self.source = around.new_source(SourceFeed(feed, around.live.fleet_changed))
        self._dispatcher = Dispatcher(around.bus, epoch, feed, self._in_flight, self._deposed)
        self.health = StoreHealth(self._store, feed)
        self._transitions = Transitions(
            self._store, self.heads, epoch, self.clock, feed, self._learn, self.health.failed
        )
        told = self._transitions.discharge
        self._publisher = Publisher(
            around.bus,
            source=settings.source,
            epoch=epoch,
            clock=self.clock,
            snapshot=self.snapshot,
            runs=self.core.runs,
            told=told,
        )
        self._loop.observe(
            self._publisher.observe,
            self._note_changes,
            FailedPulls(self.core.runs, self.source).observe,
            *around.observers,
        )
        self._agents = AgentTable(
            self.core.fleet,
            self.source,
            feed,
            self.clock,
            around.live.fleet_changed,
            settings.forget_seconds,
        )
        self.fleet = FleetTable(self.core.fleet, self._agents, self.source)
        webhooks = Webhooks(around.http, self.clock, told)
        self._endings = Endings(
            self._store, self.heads, self._publisher, webhooks, self.clock, told
        )
        self._janitor = Janitor(
            self._store, self.heads, self.clock, self._forget, settings.retention_seconds
        )
        self._intake = Intake(
            self._store, self.heads, feed, self._spawn, self._publisher, self._endings, self._over
        )

    def _learn(
        self,
        stored: StoredHead,
        *,
        named: Sequence[str] | None = None,
        nodes: Sequence[str] | None = None,
    ) -> None:
        self._intake.learn(stored, named=named, nodes=nodes)

    def _forget(self, task: str) -> None:
        self._intake.forget(task)

    def _over(self, task: str) -> None:
        self._board.drop_task(task)
        self._janitor.wake()

    # ── the course of a term ──

    async def run(self) -> None:
        """Work until cancelled; whatever dies takes the term, and the program, with it."""
        async with self._jobs:
            heads_end, outcomes_end = await self._intake.load()
            log.info("state loaded", tasks=len(self.heads), running=len(self.core.runs))
            self._spawn(self._loop.run())
            self._spawn(self._publisher.run())
            self._spawn(self._publisher.report_progress())
            self._spawn(self._intake.watch_heads(heads_end + 1))
            self._spawn(self._intake.watch_outcomes(outcomes_end + 1))
            self._spawn(self._watch_bus())
            self._spawn(self.source.run())
            self._spawn(self._agents.watch_silence())
            self._spawn(self._janitor.run())
            self._spawn(self.health.watch())
            async with self._hearing():
                self.loaded.set()
                await self._settle()
                await self._deposition

    def _spawn(self, job: Coroutine[Any, Any, Any]) -> None:
        """Have a job done, unless the term is over: the next one takes it up."""
        try:
            self._jobs.create_task(job)
        except RuntimeError:
            job.close()

    @asynccontextmanager
    async def _hearing(self) -> AsyncIterator[None]:
        beats = await self._bus.subscribe(
            subjects.ALL_HEARTBEATS, self._guarded("heartbeat", self._agents.on_heartbeat)
        )
        reports = await self._bus.subscribe(
            subjects.ALL_PROGRESS, self._guarded("progress", self._on_progress)
        )
        try:
            yield
        finally:
            beats.close()
            reports.close()

    async def _settle(self) -> None:
        try:
            self._dispatcher.report()
        except NotConnected:
            log.warning("not connected while starting: agents say what they hold by themselves")
        await asyncio.sleep(SETTLE_SECONDS)
        self._loop.feed(Settled())

    def _guarded(self, kind: str, handle: Callable[[Received], None]) -> Callable[[Received], None]:
        def guarded(received: Received) -> None:
            try:
                handle(received)
            except (*NOT_DECODABLE, ValueError) as why:
                self._around.on_poison(kind)
                poison.warning(
                    kind, "a message cannot be understood", subject=received.subject, why=str(why)
                )

        return guarded

    async def _watch_bus(self) -> None:
        """Whether the leader itself is heard: only then does silence of others mean anything."""
        last = self.clock()
        while True:
            began = self.clock()
            try:
                await self._bus.ping(PING_ANSWER_SECONDS)
            except BusError:
                self._loop.feed(BusFellSilent(last))
            else:
                last = began
                if self.core.fleet.clock.stands:
                    self._loop.feed(BusHeard())
            await asyncio.sleep(max(0.0, PING_SECONDS - (self.clock() - began)))

    # ── what agents say ──

    def _on_progress(self, received: Received) -> None:
        address = subjects.parse_progress(received.subject)
        if address is None:
            raise ValueError("not the subject of a progress report")
        for report in _decode_progress(received.data).attempts:
            run = self.core.runs.get(report.task)
            node = run.by_name.get(address.node) if run is not None else None
            if run is None or node is None or node.accepted_by != address.instance:
                continue
            if self._board.report(run, node, report):
                self._publisher.stir(report.task)
                self._around.live.task_changed(report.task, [node.name])

    def _deposed(self, epoch: int) -> None:
        if not self._deposition.done():
            error = DeposedError(f"an agent follows a leader of epoch {epoch}")
            self._deposition.set_exception(error)

    # ── what the core wants ──

    def _perform(self, command: Command) -> None:
        match command:
            case Assign():
                self._dispatcher.assign(command)
            case CancelWork():
                self._dispatcher.cancel(command)
            case AskAgent():
                self._dispatcher.ask(command)
            case StartTask():
                self._spawn(self._transitions.start(command))
            case FinishTask():
                self._spawn(self._transitions.finish(command))
            case StoreVerdict():
                self._spawn(self._transitions.decide(command))
            case TellNode():
                self._board.drop_node(command.task, command.node)
            case TellBatch() | WakeAt():
                pass  # for observers, and for the loop

    def _note_changes(self, _event: Event, _commands: Sequence[Command]) -> None:
        for run in self.core.runs.values():
            if run.touched:
                self._publisher.stir(run.head.id)
                self._around.live.task_changed(run.head.id, run.touched)
                run.touched.clear()

    def _in_flight(self) -> int:
        return sum(run.in_flight for run in self.core.runs.values())

    # ── what users want ──

    async def create(
        self,
        spec: TaskSpec,
        names: Sequence[str] | None,
        key: IdempotencyKey | None,
        retry_of: str | None,
    ) -> Created:
        """Store a task. Raises KeyReused, StoreAway."""
        return await self._transitions.create(spec, names, key, retry_of)

    async def cancel(self, task: str) -> TaskHead:
        """Cancel a task. Raises NoSuchTask, AlreadyOver, StoreAway.

        Outcomes that come in while the head is being swapped wait: they either count for all or
        for nobody. Where the swap is not answered, they wait until the head can be read again.
        """
        async with self._cancels.setdefault(task, asyncio.Lock()):
            with ExitStack() as stack:
                stack.enter_context(self._intake.withholding(task))
                try:
                    return await self._transitions.cancel(task, lambda: self.core.runs.get(task))
                except StoreAway:
                    self._spawn(self._intake.read_anew(task, stack.pop_all()))
                    raise

    async def named_nodes(self, task: str) -> Sequence[str] | None:
        """The ``nodeNames`` of a task. Raises BusError."""
        stored = self.heads.get(task)
        if stored is None or not stored.head.spec.names_nodes:
            return None
        return await self._store.load_list(task, NAMED)

    async def finished_run(self, task: str) -> TaskRun:
        """The fold of a finished task, read from the store. Raises NoSuchTask, BusError."""
        return await self._endings.finished_run(task)

    def waiting_for(self, task: str) -> str | None:
        """Why a task does not go on, in one sentence; None where it does."""
        run = self.core.runs.get(task)
        if run is not None:
            return self._awaited(run)
        if task not in self.core.waiting:
            return None
        if self.source.trouble:
            return self.source.trouble
        running, most = len(self.core.runs), self.core.limits.max_concurrent_tasks
        if running >= most:
            return f"Waits for a place: {running} tasks are running, at most {most} may."
        return "Waits for its nodes to be known and its start to be stored."

    def _awaited(self, run: TaskRun) -> str | None:
        """What keeps the first node from its work that has a place and no agent."""
        if not run.in_phase[NodePhase.ASSIGNED]:
            return None
        now = self.clock()
        for node in run.nodes:
            if (
                node.phase is NodePhase.ASSIGNED
                and self.core.fleet.agent_for(node.name, now) is None
            ):
                return self.core.fleet.why_unavailable(node.name)
        return None

    def snapshot(self, task: str) -> Snapshot | None:
        """What is known of a task from memory alone."""
        stored = self.heads.get(task)
        if stored is None:
            return None
        run = self.core.runs.get(task)
        transfer = Transfer() if run is None else self._board.transfer(run)
        return Snapshot(
            stored.head,
            int(self.clock() * 1000),
            run=run,
            transfer=transfer,
            waiting_for=self.waiting_for(task),
        )

    def pulls(self, task: str, node: str) -> Pulls:
        """What is known of a node's attempt in flight, by the image's spelling."""
        run = self.core.runs.get(task)
        known = run.by_name.get(node) if run is not None else None
        if known is None or known.phase not in IN_FLIGHT:
            return {}
        return self._board.pulls(task, node)
