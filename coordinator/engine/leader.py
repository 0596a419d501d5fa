"""A leader: what is added to a replica while the lease is held.

It dispatches what the replica's core wants done, stores transitions of its own, publishes events,
delivers webhooks and cleans up. What happened while nobody led it catches up with at the start.
When it is deposed, what runs on the nodes goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Protocol

from common import subjects
from common.bus import NotConnected
from common.logs import Log, RateLimitedLog
from common.text import Text
from coordinator.core.changes import AttemptDecided, TaskOver
from coordinator.core.commands import (
    AskAgent,
    Assign,
    CancelWork,
    FinishTask,
    LoadNames,
    StartTask,
    StoreVerdict,
)
from coordinator.core.events import NodeSeen, NodeVanished, Settled, StoreClosed
from coordinator.core.sets.decisions import (
    CancelRepair,
    CreateRepair,
    SendPinned,
    SendWanted,
)
from coordinator.core.task import FINAL, PendingNotification, TaskStatus
from coordinator.engine.agent_seals import AgentSeals
from coordinator.engine.briefing import BRIEFED, Briefer
from coordinator.engine.dispatcher import Dispatcher
from coordinator.engine.end_notifications import Deliverer, EndNotifications
from coordinator.engine.failed_pulls import FailedPulls
from coordinator.engine.janitor import Janitor
from coordinator.engine.journal import JOURNALED, Journal
from coordinator.engine.loop import Kinds, Observer, Performers
from coordinator.engine.node_memories import REMEMBERED, NodeMemories
from coordinator.engine.publisher import Publisher
from coordinator.engine.replica import Context, Replica
from coordinator.engine.set_events import OBSERVED, SetEvents
from coordinator.engine.set_gates import SEEN_BY_GATES, SetGates
from coordinator.engine.set_repairs import SetRepairs
from coordinator.engine.set_turns import TURNS, Brings, SetTurns
from coordinator.engine.store_clock import Uptime
from coordinator.engine.task_events import TOLD, TaskEvents
from coordinator.engine.transitions import Transitions
from coordinator.nodes.marks import MarkedNodes
from coordinator.nodes.source import FailureSink, GateSink, NodeSource

log = Log(__name__)
poison = RateLimitedLog(log)

SETTLE_SECONDS = 2.0
"""A starting leader hears so long what agents hold before it assigns."""


HAND_OVER_SECONDS = 1.0
"""How long a leader that stops waits for agents' answers."""


class Couriers(Deliverer, Brings, Protocol):
    """Who brings webhooks, of tasks and of sets."""


class DeposedError(Exception):
    """An agent knows a newer leader, and the store does not contradict: this one leads no more."""


@dataclass(frozen=True, slots=True)
class LeaderSettings:
    """What the operator decided about the work of a leader."""

    source: str
    """The CloudEvents ``source`` of this installation."""
    retention_seconds: float
    confirms: Callable[[int], Awaitable[bool]]
    """Whether the store's record of who leads bears out an agent's word of a newer epoch."""
    new_failure_sink: Callable[[NodeSource], FailureSink] | None = None
    """Makes whoever wants to know of failed pulls, from the replica's node source."""
    new_gate_sink: Callable[[MarkedNodes], GateSink] | None = None
    """Makes whoever writes to Nodes; None where no set has a gate."""


class Leader:
    """The wiring of what is done while this coordinator leads."""

    def __init__(
        self,
        context: Context,
        replica: Replica,
        epoch: int,
        webhooks: Couriers,
        settings: LeaderSettings,
        held: Callable[[], bool],
        observers: Sequence[tuple[Observer, Kinds]] = (),
    ) -> None:
        """``held``: whether the lease is believed in. ``observers`` come with types they see."""
        feed, clock, persistently = replica.loop.feed, context.clock, replica.persistently
        self._replica = replica
        self._held = held
        self._confirms = settings.confirms
        self._deposition: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._dispatcher = self._new_dispatcher(context, epoch)
        self._transitions = Transitions(
            store=replica.store,
            tasks=replica.tasks,
            epoch=epoch,
            clock=clock,
            feed=feed,
            failed=replica.health.failed,
        )
        self._briefer = Briefer(context.bus, replica.core, replica.why_waiting, epoch)
        self._epoch = epoch
        self._bus = context.bus
        self._publisher = Publisher(context.bus, self._last_event_stored, held)
        self._events = TaskEvents(
            publisher=self._publisher,
            outcomes=replica.store,
            tasks=replica.tasks,
            runs=replica.core.runs,
            source=settings.source,
            epoch=epoch,
            clock=clock,
            persistently=persistently,
            faults=context.faults,
        )
        self._notifications = EndNotifications(
            tasks=replica.tasks,
            events=self._events,
            webhooks=webhooks,
            mark_notified=self._transitions.mark_notified,
            spawn=replica.spawn,
            persistently=persistently,
            faults=context.faults,
        )
        self._set_events = self._new_set_events(context, settings.source)
        self._webhooks = webhooks
        self._faults = context.faults
        self._janitor = self._new_janitor(context, settings.retention_seconds)
        self.journal = Journal(replica.core.runs, epoch)
        self._failures = None
        if settings.new_failure_sink is not None:
            self._failures = settings.new_failure_sink(replica.nodes.source)
        self._gates = self._new_gates(context, settings)
        self._observers = observers

    def _new_dispatcher(self, context: Context, epoch: int) -> Dispatcher:
        return Dispatcher(
            context.bus,
            epoch,
            self._replica.loop.feed,
            self._replica.core.in_flight,
            self._deposed,
            asyncio.get_running_loop().time,
            context.on_accepted,
            AgentSeals(context.task_credentials, self._replica.nodes),
            self._replica.spawn,
        )

    def _new_set_events(self, context: Context, source: str) -> SetEvents:
        return SetEvents(
            publisher=self._publisher,
            stored=context.bus,
            sets=self._replica.sets,
            runs=self._replica.core.runs,
            source=source,
            epoch=self._epoch,
            clock=context.clock,
            persistently=self._replica.persistently,
            faults=context.faults,
        )

    def _new_gates(self, context: Context, settings: LeaderSettings) -> SetGates | None:
        marked = self._replica.nodes.source.marked
        if settings.new_gate_sink is None or marked is None:
            return None
        return SetGates(
            sets=self._replica.sets,
            marked=marked,
            sink=settings.new_gate_sink(marked),
            clock=context.clock,
            held=self._held,
            faults=context.faults,
            notes=self._replica.set_notes.of_gates,
        )

    def _new_janitor(self, context: Context, retention_seconds: float) -> Janitor:
        return Janitor(
            store=self._replica.store,
            tasks=self._replica.tasks,
            time=Uptime(
                context.bus, context.store_clock, context.clock, self._replica.tasks.newest_time
            ),
            retention_seconds=retention_seconds,
            persistently=self._replica.persistently,
        )

    async def run(self) -> None:
        """Lead until cancelled. Raises DeposedError when there is a newer leader.

        Its jobs are the replica's: what dies of either ends both.
        """
        replica = self._replica
        if replica.nodes.source.relies_on_agents:
            # What the leader before has stored since this replica began. First of all: between the
            # first look at what happens and the catching up nothing may happen.
            await replica.persistently(replica.load_nodes)
        # The sets first: what is remembered of one that is not known would be taken for nothing.
        await replica.persistently(replica.sets.catch_up)
        await replica.persistently(replica.set_notes.load)
        # Where the lease is not believed in, its end as a leader is on its way: it may have stood.
        replica.loop.attach(self._performers(), self._held)
        replica.sets.attach(self._set_performers(), self._held)
        self._tell_of_sets()
        replica.loop.observe(self._briefer.observe, of=BRIEFED)
        replica.loop.observe(self._events.observe, of=TOLD)
        replica.loop.observe(self._notifications.observe, of=(TaskOver,))
        replica.loop.observe(self.journal.observe, of=JOURNALED)
        for observer, kinds in self._observers:
            replica.loop.observe(observer, kinds)
        replica.board.listen(self._events.mark_changed)
        replica.tasks.listen(self._janitor.on_final_head, of=FINAL)
        if self._failures is not None:
            failed_pulls = FailedPulls(replica.core.runs, self._failures.pull_failed)
            replica.loop.observe(failed_pulls.observe, of=(AttemptDecided,))
            replica.spawn(self._failures.run())
        if replica.nodes.source.relies_on_agents:
            replica.loop.observe(replica.node_records.observe, of=(NodeSeen, NodeVanished))
            replica.spawn(replica.node_records.run())
        self.journal.led(len(replica.tasks))
        self._catch_up()
        replica.tasks.listen_damage(self._fail)
        for task, text in list(replica.tasks.damaged.items()):
            self._fail(task, text)
        with ExitStack() as subscriptions:
            wanted = await self._bus.subscribe(subjects.BRIEFING_WANTED, self._briefer.wanted)
            subscriptions.callback(wanted.close)
            await self._lead()

    async def _lead(self) -> None:
        replica = self._replica
        replica.spawn(self._briefer.run())
        replica.spawn(self._publisher.run())
        replica.spawn(self._events.report_progress())
        replica.spawn(self._janitor.run())
        await self._settle()
        await self._deposition

    def _tell_of_sets(self) -> None:
        """Tell the world what becomes of sets, and what the leader before did not get to say."""
        replica, events = self._replica, self._set_events
        turns = SetTurns(
            notes=replica.set_notes,
            sets=replica.sets,
            tell=events.turned,
            webhooks=self._webhooks,
            held=self._held,
            spawn=replica.spawn,
            persistently=replica.persistently,
            faults=self._faults,
        )
        memories = NodeMemories(
            notes=replica.set_notes.of_nodes,
            sets=replica.sets,
            held=self._held,
            spawn=replica.spawn,
            persistently=replica.persistently,
        )
        replica.sets.loop.observe(events.observe, of=OBSERVED)
        replica.sets.loop.observe(memories.observe, of=REMEMBERED)
        replica.sets.loop.observe(turns.observe, of=TURNS)
        if self._gates is not None:
            replica.sets.loop.observe(self._gates.observe, of=SEEN_BY_GATES)
            self._gates.begin()
            replica.spawn(self._gates.run())
            replica.spawn(replica.set_notes.of_gates.run(replica.persistently, self._held))
        notes = list(replica.set_notes.all.values())
        replica.spawn(events.catch_up(notes, list(replica.set_changes.take())))
        replica.spawn(events.report_progress())
        turns.begin()

    def _catch_up(self) -> None:
        """Tell the world what the leader before this one did not get to say."""
        tasks, seen = self._replica.tasks, self._replica.tasks.outcomes_seen.upto
        known = sorted(tasks, key=lambda kept: kept.order)
        waiting = [kept for kept in known if kept.status is TaskStatus.PENDING]
        for kept in waiting:
            self._events.hold_created(kept)
        self._replica.spawn(self._events.tell_created(waiting))
        for kept in known:
            if kept.status is TaskStatus.RUNNING:
                self._events.hold(kept.id)
                self._replica.spawn(self._events.catch_up(kept.head, seen))
            elif kept.notify:
                self._replica.spawn(self._notifications.tell_again(kept.head))

    def _fail(self, task: str, text: Text) -> None:
        """End a task of which something cannot be read."""
        work = self._replica.persistently(lambda: self._transitions.fail(task, text))
        self._replica.spawn(work)

    async def _settle(self) -> None:
        """Hear what agents hold before anything is assigned."""
        try:
            self._dispatcher.report()
        except NotConnected:
            log.warning("not connected while starting: agents say what they hold by themselves")
        if self._replica.briefed.succeeds(self._epoch):
            log.info("nothing is missing of what the leader before knew")
        else:
            await asyncio.sleep(SETTLE_SECONDS)
        self._replica.loop.feed(Settled())

    async def hand_over(self, rest: Callable[[], Awaitable[int]]) -> None:
        """Stop in order: begin nothing, hear what is open, and say the last word to who follows.

        ``rest`` ends the renewals of the lease and gives its revision.
        """
        self._replica.loop.attach({})
        self._replica.sets.attach({}, self._held)
        self._replica.loop.feed(StoreClosed())
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_SECONDS):
                await self._dispatcher.answered()
        self._briefer.end(await rest())

    def _deposed(self, epoch: int) -> None:
        self._replica.spawn(self._make_sure(epoch))

    async def _make_sure(self, epoch: int) -> None:
        """An agent alone ends no term: it may be out of its mind, or not be what it seems."""
        if not await self._confirms(epoch):
            poison.warning("epoch", "an agent speaks of a leader that there is not", epoch=epoch)
        elif not self._deposition.done():
            error = DeposedError(f"an agent follows a leader of epoch {epoch}")
            self._deposition.set_exception(error)

    async def _last_event_stored(self, task: str) -> None:
        await self._transitions.mark_notified(task, PendingNotification.EVENT)
        self._events.forget(task)

    def _performers(self) -> Performers:
        """Who carries out what the core wants done, as long as this leads."""
        spawn, transitions = self._replica.spawn, self._transitions
        return {
            Assign: self._dispatcher.assign,
            CancelWork: self._dispatcher.cancel,
            AskAgent: self._dispatcher.ask,
            LoadNames: lambda command: spawn(transitions.load_names(command)),
            StartTask: lambda command: spawn(transitions.start(command)),
            FinishTask: lambda command: spawn(transitions.finish(command)),
            StoreVerdict: lambda command: spawn(transitions.decide(command)),
        }

    def _set_performers(self) -> Performers:
        """As above, for what the sets' core wants."""
        replica = self._replica
        repairs = SetRepairs(replica.submissions, replica.sets.loop.feed)
        return {
            SendWanted: replica.sets.lists.tell,
            SendPinned: replica.sets.lists.tell_pins,
            CreateRepair: lambda command: replica.spawn(repairs.create(command)),
            CancelRepair: lambda command: replica.spawn(repairs.cancel(command)),
        }
