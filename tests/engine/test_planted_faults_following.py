"""Plausible bugs of what follows and answers, each of which the fast tests find."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from types import ModuleType
from typing import Any

import pytest

from common.bus import BusError, Handler
from coordinator.core.commands import Command
from coordinator.core.events import BusHeard, Event, OutcomeStored
from coordinator.core.fleet import Node
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskHead
from coordinator.engine import finished_folds, reception, store_health
from coordinator.engine.dispatcher import Dispatcher
from coordinator.engine.heads import Heads
from coordinator.engine.leader import DeposedError
from coordinator.engine.live import NameChanges
from coordinator.engine.loop import Loop
from coordinator.engine.nodes import NodeTable
from coordinator.engine.persistence import Persistently
from coordinator.engine.progress_board import ProgressBoard
from coordinator.engine.reception import Reception
from coordinator.engine.replica import Context, Replica
from coordinator.engine.service import Service
from coordinator.engine.store_health import StoreHealth
from coordinator.engine.tasks import TaskTable
from coordinator.engine.waiting import WhyWaiting
from coordinator.metrics import Metrics
from coordinator.snapshots import KnownNode
from coordinator.store import Gone, Store, StoredHead
from sandbox.virtual.time import Deadlock
from tests.engine import (
    test_finished_folds,
    test_heads,
    test_intake,
    test_live,
    test_loop,
    test_metrics,
    test_nodes,
    test_persistence,
    test_progress_board,
    test_reception,
    test_replica,
    test_service,
    test_store,
    test_store_health,
    test_tasks,
    test_waiting,
)

FOUND = (AssertionError, TimeoutError, Deadlock, pytest.fail.Exception)
"""How a test says no. Anything else is a fault of the planting."""

Fault = Callable[[pytest.MonkeyPatch], None]
FAULTS: list[tuple[ModuleType, Fault]] = []


def planted(ring: ModuleType) -> Callable[[Fault], Fault]:
    """A plausible bug, to be found by the tests of a module."""

    def plant(fault: Fault) -> Fault:
        FAULTS.append((ring, fault))
        return fault

    return plant


def nothing(*_arguments: Any, **_options: Any) -> None:
    """What a forgotten line does."""


async def nothing_at_all(*_arguments: Any, **_options: Any) -> None:
    """The same, where it is awaited."""


# ── the table of tasks ──


@planted(test_tasks)
def withheld_outcomes_are_dropped(patch: pytest.MonkeyPatch) -> None:
    """They wait for nothing."""

    @contextmanager
    def withholding(self: TaskTable, task: str) -> Iterator[None]:
        take_in = self._feed
        self._feed = lambda event: (
            None if isinstance(event, OutcomeStored) and event.key.task == task else take_in(event)
        )
        yield
        self._feed = take_in

    patch.setattr(TaskTable, "withholding", withholding)


@planted(test_tasks)
def withheld_outcomes_come_when_the_first_is_done(patch: pytest.MonkeyPatch) -> None:
    """Nobody counts who holds them."""
    original = TaskTable.withholding

    @contextmanager
    def withholding(self: TaskTable, task: str) -> Iterator[None]:
        with original(self, task):
            yield
            withheld = self._withheld[task]
            for event in withheld.events:
                self._feed(event)
            withheld.events.clear()

    patch.setattr(TaskTable, "withholding", withholding)


@planted(test_tasks)
def revisions_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes last counts."""

    def apply(self: Heads, stored: StoredHead) -> bool:
        self._by_id[stored.head.id] = stored
        self._sorted.clear()
        return True

    patch.setattr(Heads, "apply", apply)


@planted(test_heads)
def lists_are_sorted_once_and_for_all(patch: pytest.MonkeyPatch) -> None:
    """What was sorted stays, whatever changes."""
    apply = Heads.apply

    def lazy(self: Heads, stored: StoredHead) -> bool:
        before = dict(self._sorted)
        applied = apply(self, stored)
        self._sorted.update(before)
        return applied

    patch.setattr(Heads, "apply", lazy)


@planted(test_tasks)
def a_deleted_task_goes_on(patch: pytest.MonkeyPatch) -> None:
    """Its head is forgotten, and the core not told."""

    def forget(self: TaskTable, task: str) -> None:
        self._heads.remove(task)

    patch.setattr(TaskTable, "forget", forget)


@planted(test_tasks)
def the_place_of_outcomes_is_not_moved(patch: pytest.MonkeyPatch) -> None:
    """A start reads none of those that came before it."""
    take_in = TaskTable._take_in

    def still(self: TaskTable, event: OutcomeStored) -> None:
        before = self.outcomes_seen
        take_in(self, event)
        self.outcomes_seen = before

    patch.setattr(TaskTable, "_take_in", still)


@planted(test_intake)
def earlier_outcomes_do_not_count(patch: pytest.MonkeyPatch) -> None:
    """What outran its start is gone."""
    patch.setattr(TaskTable, "_take_earlier", nothing_at_all)


@planted(test_tasks)
def what_was_read_is_not_looked_at_again(patch: pytest.MonkeyPatch) -> None:
    """The task has ended meanwhile."""

    async def introduce(self: TaskTable, stored: StoredHead, *, found: bool) -> None:
        nodes = await self._persistently(lambda: self._list_of(stored.head))
        self.begin(stored, nodes, found=found)

    patch.setattr(TaskTable, "introduce", introduce)


@planted(test_intake)
def it_is_not_said_that_a_task_was_found(patch: pytest.MonkeyPatch) -> None:
    """A lost argument."""
    begin = TaskTable.begin

    def forgetful(self: TaskTable, stored: StoredHead, nodes: Any, *, found: bool) -> None:
        del found
        begin(self, stored, nodes, found=False)

    patch.setattr(TaskTable, "begin", forgetful)


# ── what comes in ──


@planted(test_intake)
def a_load_skips_pending_tasks(patch: pytest.MonkeyPatch) -> None:
    """They wait for somebody to rewrite them."""
    introduce = TaskTable.introduce

    async def skipping(self: TaskTable, stored: StoredHead, *, found: bool) -> None:
        if not found:
            await introduce(self, stored, found=found)

    patch.setattr(TaskTable, "introduce", skipping)


@planted(test_intake)
def tombstones_are_passed_over(patch: pytest.MonkeyPatch) -> None:
    """A value that is none is no head."""
    watch = Store.watch_heads

    async def watch_heads(self: Store, start: int) -> AsyncIterator[StoredHead | Gone]:
        async for stored in watch(self, start):
            if isinstance(stored, StoredHead):
                yield stored

    patch.setattr(Store, "watch_heads", watch_heads)


@planted(test_persistence)
def a_store_that_is_away_is_asked_once(patch: pytest.MonkeyPatch) -> None:
    """Whoever needed it has an error instead."""

    async def once(_: Persistently, work: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await work()
        except BusError:
            return None

    patch.setattr(Persistently, "__call__", once)


@planted(test_store)
def a_probe_asks_the_heads_alone(patch: pytest.MonkeyPatch) -> None:
    """Streams stop one after the other."""

    async def probe(self: Store) -> None:
        await self._heads.delete("probe")

    patch.setattr(Store, "probe", probe)


@planted(test_finished_folds)
def outcomes_after_the_end_count(patch: pytest.MonkeyPatch) -> None:
    """A finished task changes."""
    fold = finished_folds.fold

    async def greedy(store: Any, head: TaskHead, _upto: int, on_step: Any) -> TaskRun:
        return await fold(store, head, 1_000, on_step)

    patch.setattr(finished_folds, "fold", greedy)


# ── nodes, agents and the bus ──


@planted(test_nodes)
def silence_is_not_noticed(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks."""

    async def asleep(_: NodeTable) -> None:
        await asyncio.Future()

    patch.setattr(NodeTable, "watch_silence", asleep)


@planted(test_nodes)
def who_fell_silent_is_never_told(patch: pytest.MonkeyPatch) -> None:
    """Whoever is shown as connected stays so."""

    def once(self: NodeTable, name: str) -> bool:
        new = name not in self._shown_connected
        self._shown_connected.add(name)
        return new

    patch.setattr(NodeTable, "_connection_changed", once)


@planted(test_nodes)
def a_question_inserts_a_node(patch: pytest.MonkeyPatch) -> None:
    """A table that makes what it is asked for."""
    get = NodeTable.get

    def inserting(self: NodeTable, name: str) -> KnownNode | None:
        if name not in self._fleet.nodes and name not in self._heard:
            self.seen(name, Node({}, schedulable=True))
        return get(self, name)

    patch.setattr(NodeTable, "get", inserting)


@planted(test_progress_board)
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


@planted(test_progress_board)
def what_is_decided_stays_on_the_board(patch: pytest.MonkeyPatch) -> None:
    """Its bytes count twice."""
    patch.setattr(ProgressBoard, "observe", nothing)


@planted(test_reception)
def deafness_is_not_told(patch: pytest.MonkeyPatch) -> None:
    """A ping that is not answered is no news."""
    patch.setattr(reception, "BusFellSilent", lambda _since: BusHeard())


@planted(test_reception)
def poison_reaches_the_bus(patch: pytest.MonkeyPatch) -> None:
    """Nobody counts it."""

    def unguarded(_self: Reception, _kind: str, handle: Handler) -> Handler:
        return handle

    patch.setattr(Reception, "_guarded", unguarded)


@planted(test_store_health)
def a_lost_swap_closes_the_store(patch: pytest.MonkeyPatch) -> None:
    """Every error is trouble."""
    patch.setattr(store_health, "Conflict", TimeoutError)


@planted(test_store_health)
def a_store_stays_closed(patch: pytest.MonkeyPatch) -> None:
    """Nobody says that it takes writes again."""
    patch.setattr(StoreHealth, "_healed", nothing)


# ── the loop, replicas and the service ──


@planted(test_loop)
def every_alarm_rings(patch: pytest.MonkeyPatch) -> None:
    """The one before is not taken back."""
    wake_at = Loop._wake_at

    def also(self: Loop, when: float) -> None:
        self._alarm = None
        wake_at(self, when)

    patch.setattr(Loop, "_wake_at", also)


@planted(test_loop)
def observers_look_afterwards(patch: pytest.MonkeyPatch) -> None:
    """What follows from a decision is told before it."""

    def handle(self: Loop, event: Event) -> None:
        decision: Decision = self._core.handle(event, self._clock())
        for command in decision.commands:
            if self._perform is not None:
                self._perform(command)
        for observe in self._observers:
            observe(event, decision)

    patch.setattr(Loop, "_handle", handle)


@planted(test_replica)
def a_follower_is_obeyed(patch: pytest.MonkeyPatch) -> None:
    """Its commands are carried out beside the leader's."""
    init = Replica.__init__

    def commanding(self: Replica, context: Context, observers: Any = ()) -> None:
        init(self, context, observers)
        dispatcher = Dispatcher(context.bus, 1, self.loop.feed, lambda: 0, nothing)
        carry_out: dict[str, Callable[[Any], None]] = {
            "Assign": dispatcher.assign,
            "CancelWork": dispatcher.cancel,
            "AskAgent": dispatcher.ask,
        }

        def perform(command: Command) -> None:
            carry_out.get(type(command).__name__, nothing)(command)

        self.loop.attach(perform)

    patch.setattr(Replica, "__init__", commanding)


@planted(test_replica)
def moves_wake_nobody(patch: pytest.MonkeyPatch) -> None:
    """Pages stand still."""
    patch.setattr(Replica, "_show_changes", nothing)


@planted(test_service)
def a_standby_answers_from_memory(patch: pytest.MonkeyPatch) -> None:
    """As if nobody else led."""
    unreadable = Service.unreadable

    def proud(self: Service) -> Any:
        return None if self._replica is not None else unreadable(self)

    patch.setattr(Service, "unreadable", proud)


@planted(test_service)
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


@planted(test_waiting)
def a_full_house_is_not_said(patch: pytest.MonkeyPatch) -> None:
    """Every pending task is about to start."""
    call = WhyWaiting.__call__

    def hopeful(self: WhyWaiting, task: str) -> Any:
        waits = call(self, task)
        return test_waiting.TASK_STARTING() if waits and waits.code == "task.queued" else waits

    patch.setattr(WhyWaiting, "__call__", hopeful)


@planted(test_live)
def each_change_wakes(patch: pytest.MonkeyPatch) -> None:
    """Whoever has something to take already is called again."""

    def add(self: NameChanges, names: Any) -> None:
        self._names.update(names)
        self._wake()

    patch.setattr(NameChanges, "add", add)


@planted(test_metrics)
def every_term_counts_anew(patch: pytest.MonkeyPatch) -> None:
    """What is replayed counts like what happens."""
    patch.setattr(Metrics, "_is_news", lambda *_: True)


def ring_of(module: ModuleType) -> Iterator[Callable[[], None]]:
    """The tests of a module, each with all its parameters."""
    for name, test in vars(module).items():
        if name.startswith("test_") and callable(test):
            for arguments in cases_of(test):
                if "counted" in inspect.signature(test).parameters:
                    arguments["counted"] = test_metrics.Counted()
                yield partial(test, **arguments)


def run_all(module: ModuleType) -> None:
    """Run the tests of a module until one fails."""
    for test in ring_of(module):
        test()


def cases_of(test: Any) -> Iterator[dict[str, Any]]:
    """What pytest would call a test with."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    for values in product(*(mark.args[1] for mark in marks)):
        case: dict[str, Any] = {}
        for mark, value in zip(marks, values, strict=True):
            names = mark.args[0]
            case |= {names: value} if isinstance(names, str) else zip(names, value, strict=True)
        yield case


@pytest.mark.parametrize(("ring", "fault"), FAULTS, ids=[fault.__name__ for _, fault in FAULTS])
def test_the_fast_ring_finds_it(
    ring: ModuleType, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each planted fault breaks a test of its module, so that the tests bite."""
    fault(monkeypatch)
    with pytest.raises(FOUND):
        run_all(ring)
