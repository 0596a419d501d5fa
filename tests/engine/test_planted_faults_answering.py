"""Plausible bugs of who is heard and who answers: the fast tests find each."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest

from common.bus import BusError, Handler
from common.texts import COORDINATOR_LOADING, TASK_STARTING
from coordinator.core.commands import AskAgent, Assign, CancelWork
from coordinator.core.events import BusHeard, Event
from coordinator.core.fleet import Node
from coordinator.core.scheduler import Decision
from coordinator.engine import reception, store_health
from coordinator.engine.agent_seals import AgentSeals
from coordinator.engine.dispatcher import Dispatcher
from coordinator.engine.leader import DeposedError
from coordinator.engine.live import LiveChanges, NameChanges
from coordinator.engine.loop import Loop
from coordinator.engine.nodes import NodeTable
from coordinator.engine.progress_board import ProgressBoard
from coordinator.engine.reception import Reception
from coordinator.engine.replica import Context, Replica
from coordinator.engine.service import Service
from coordinator.engine.store_health import StoreHealth
from coordinator.engine.waiting import WhyWaiting
from coordinator.metrics import Metrics
from coordinator.snapshots import KnownNode
from tests.engine import (
    test_live,
    test_loop,
    test_metrics,
    test_node_silence,
    test_nodes,
    test_progress_board,
    test_reception,
    test_replica,
    test_service,
    test_store_health,
    test_waiting,
)
from tests.engine.planting import Faults, Plant, expect_found, nothing

FAULTS = Faults()


# ── nodes, agents and the bus ──


@FAULTS.found_by(test_node_silence)
def silence_is_not_noticed(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks."""

    async def asleep(_: NodeTable) -> None:
        await asyncio.Future()

    patch.setattr(NodeTable, "watch_silence", asleep)


@FAULTS.found_by(test_node_silence)
def who_fell_silent_is_never_told(patch: pytest.MonkeyPatch) -> None:
    """Whoever is shown as connected stays so."""

    def once(self: NodeTable, name: str, _now: float) -> bool:
        new = name not in self._shown_connected
        self._shown_connected.add(name)
        return new

    patch.setattr(NodeTable, "_connection_changed", once)


@FAULTS.found_by(test_nodes)
def a_question_inserts_a_node(patch: pytest.MonkeyPatch) -> None:
    """A table that makes what it is asked for."""
    get = NodeTable.get

    def inserting(self: NodeTable, name: str) -> KnownNode | None:
        if name not in self._fleet.nodes and name not in self._heard:
            self.seen(name, Node({}, schedulable=True))
        return get(self, name)

    patch.setattr(NodeTable, "get", inserting)


@FAULTS.found_by(test_progress_board)
def whoever_reports_is_believed(patch: pytest.MonkeyPatch) -> None:
    """The instance that has the work is not asked for."""

    class Anybody(str):
        """Equal to every instance."""

        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return False

    def careless(core: Any) -> Any:
        patch.setattr(core, "accepted_by", lambda _task, _node: Anybody())
        return core

    init = ProgressBoard.__init__
    patch.setattr(ProgressBoard, "__init__", lambda self, core: init(self, careless(core)))


@FAULTS.found_by(test_progress_board)
def what_is_decided_stays_on_the_board(patch: pytest.MonkeyPatch) -> None:
    """Its bytes count twice."""
    patch.setattr(ProgressBoard, "observe", nothing)


@FAULTS.found_by(test_reception)
def deafness_is_not_told(patch: pytest.MonkeyPatch) -> None:
    """A ping that is not answered is no news."""
    patch.setattr(reception, "BusFellSilent", lambda _since: BusHeard())


@FAULTS.found_by(test_reception)
def poison_reaches_the_bus(patch: pytest.MonkeyPatch) -> None:
    """Nobody counts it."""

    def unguarded(_self: Reception, _kind: str, handle: Handler) -> Handler:
        return handle

    patch.setattr(Reception, "_guarded", unguarded)


@FAULTS.found_by(test_store_health)
def a_lost_swap_closes_the_store(patch: pytest.MonkeyPatch) -> None:
    """Every error is trouble."""
    patch.setattr(store_health, "Conflict", TimeoutError)


@FAULTS.found_by(test_store_health)
def a_store_stays_closed(patch: pytest.MonkeyPatch) -> None:
    """Nobody says that it takes writes again."""
    patch.setattr(StoreHealth, "_healed", nothing)


# ── the loop, replicas and the service ──


@FAULTS.found_by(test_loop)
def every_alarm_rings(patch: pytest.MonkeyPatch) -> None:
    """The one before is not taken back."""
    wake_at = Loop._wake_at

    def also(self: Loop, when: float, now: float) -> None:
        self._alarm = None
        wake_at(self, when, now)

    patch.setattr(Loop, "_wake_at", also)


@FAULTS.found_by(test_loop)
def observers_look_afterwards(patch: pytest.MonkeyPatch) -> None:
    """What follows from a decision is told before it."""

    def handle(self: Loop, event: Event) -> None:
        decision: Decision = self._core.handle(event, self._clock())
        for command in decision.commands:
            if type(command) in self._performers:
                self._performers[type(command)](command)
        for observe, _ in self._observers:
            observe(event, decision)

    patch.setattr(Loop, "_handle", handle)


@FAULTS.found_by(test_replica)
def a_follower_is_obeyed(patch: pytest.MonkeyPatch) -> None:
    """Its commands are carried out beside the leader's."""
    init = Replica.__init__

    def commanding(self: Replica, context: Context, observers: Any = ()) -> None:
        init(self, context, observers)
        seals = AgentSeals(context.task_credentials, self.nodes)
        feed, clock = self.loop.feed, context.clock
        dispatcher = Dispatcher(
            context.bus, 1, feed, (), nothing, clock, nothing, seals, self.spawn
        )
        self.loop.attach(
            {
                Assign: dispatcher.assign,
                CancelWork: dispatcher.cancel,
                AskAgent: dispatcher.ask,
            }
        )

    patch.setattr(Replica, "__init__", commanding)


@FAULTS.found_by(test_replica)
def moves_wake_nobody(patch: pytest.MonkeyPatch) -> None:
    """Pages stand still."""
    patch.setattr(LiveChanges, "observe", nothing)


@FAULTS.found_by(test_service)
def who_follows_does_not_answer(patch: pytest.MonkeyPatch) -> None:
    """Only the leader would."""
    unreadable = Service.unreadable

    def shy(self: Service) -> Any:
        return unreadable(self) if self._leads else COORDINATOR_LOADING()

    patch.setattr(Service, "unreadable", shy)


@FAULTS.found_by(test_service)
def who_leads_no_more_says_that_all_is_well(patch: pytest.MonkeyPatch) -> None:
    """Until it follows anew."""
    follow_and_lead = Service._follow_and_lead

    async def lingering(self: Service, *arguments: Any) -> None:
        try:
            await follow_and_lead(self, *arguments)
        except* (DeposedError, BusError):
            self._leads = True
            raise

    patch.setattr(Service, "_follow_and_lead", lingering)


@FAULTS.found_by(test_waiting)
def a_full_house_is_not_said(patch: pytest.MonkeyPatch) -> None:
    """Every pending task is about to start."""
    call = WhyWaiting.__call__

    def hopeful(self: WhyWaiting, task: str) -> Any:
        waits = call(self, task)
        return TASK_STARTING() if waits and waits.code == "task.queued" else waits

    patch.setattr(WhyWaiting, "__call__", hopeful)


@FAULTS.found_by(test_live)
def each_change_wakes(patch: pytest.MonkeyPatch) -> None:
    """Whoever has something to take already is called again."""
    patch.setattr(NameChanges, "look", lambda self: self._wake())


@FAULTS.found_by(test_metrics)
def every_term_counts_anew(patch: pytest.MonkeyPatch) -> None:
    """What is replayed counts like what happens."""
    patch.setattr(Metrics, "_is_news", lambda *_: True)


@pytest.mark.parametrize(("ring", "fault"), FAULTS.all, ids=FAULTS.names)
def test_the_fast_ring_finds_it(
    ring: ModuleType, fault: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each planted fault breaks a test of its module, so that the tests bite."""
    fault(monkeypatch)
    expect_found(ring)
