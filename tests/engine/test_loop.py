"""The loop around the core, and its clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import get_args

import pytest

from common.clock import Clock
from coordinator.core.changes import BatchSettled, Change, NodeMoved
from coordinator.core.commands import AskAgent, CancelWork, Command, WakeAt
from coordinator.core.events import BusHeard, Event, Settled, StoreClosed, StoreOpened, Woken
from coordinator.core.scheduler import Decision
from coordinator.engine.loop import Loop, Observer, Performers
from coordinator.faults import Faults
from sandbox.virtual.time import virtual

ASK = AskAgent("n1", "i")
STOP = CancelWork("n1", "i", "t")


class ScriptedCore:
    """Answers each kind of event with given commands."""

    def __init__(self, script: dict[Event, list[Command]]) -> None:
        self.script = script
        self.changes: dict[Event, list[Change]] = {}
        self.seen: list[tuple[Event, float]] = []
        self.fault: Exception | None = None

    def handle(self, event: Event, now: float) -> Decision:
        """As ``Core.handle``."""
        self.seen.append((event, now))
        if self.fault is not None:
            raise self.fault
        return Decision(list(self.script.get(event, [])), list(self.changes.get(event, [])))


def looping(script: dict[Event, list[Command]]) -> tuple[Loop, ScriptedCore]:
    """A loop on a scripted core."""
    core = ScriptedCore(script)
    return Loop(core, asyncio.get_running_loop().time), core


def by(perform: Callable[[Command], None]) -> Performers:
    """One performer for every command."""
    return dict.fromkeys(get_args(Command), perform)


@virtual
async def test_observers_see_a_decision_before_its_commands_are_carried_out() -> None:
    """In the order in which the core said them."""
    loop, _ = looping({Settled(): [ASK, STOP]})
    done: list[object] = []
    loop.attach(by(done.append))
    loop.observe(lambda event, decision: done.append((event, len(decision.commands))))
    loop.feed(Settled())
    assert done == [(Settled(), 2), ASK, STOP]


@virtual
async def test_observers_see_what_they_asked_for() -> None:
    """By the type of the event or of any change; each once an event, in the order they came."""
    loop, core = looping({})
    core.changes[StoreClosed()] = [NodeMoved("t", "n1"), NodeMoved("t", "n2")]
    core.changes[StoreOpened()] = [BatchSettled("t", 1, 1.0)]
    seen: list[tuple[str, Event]] = []

    def watching(name: str) -> Observer:
        return lambda event, _: seen.append((name, event))

    loop.observe(watching("moves"), of=(NodeMoved, Settled))
    loop.observe(watching("all"))
    loop.observe(watching("batches"), of=(BatchSettled,))
    for event in (StoreClosed(), StoreOpened(), Settled(), StoreClosed()):
        loop.feed(event)
    assert seen == [
        *(("moves", StoreClosed()), ("all", StoreClosed())),
        *(("all", StoreOpened()), ("batches", StoreOpened())),
        *(("moves", Settled()), ("all", Settled())),
        *(("moves", StoreClosed()), ("all", StoreClosed())),
    ]


@virtual
async def test_what_a_follower_wants_is_not_done() -> None:
    """Nobody carries its commands out; but it is woken, and is observed."""
    loop, core = looping({Settled(): [ASK, WakeAt(5.0)]})
    seen: list[Event] = []
    loop.observe(lambda event, _: seen.append(event))
    loop.feed(Settled())
    await asyncio.sleep(6.0)
    assert seen == [Settled(), Woken()]
    assert core.seen[1] == (Woken(), 5.0)


@virtual
async def test_an_event_from_within_waits_its_turn() -> None:
    """The core is never at two events at once."""
    loop, _ = looping({Settled(): [ASK, STOP]})
    order: list[object] = []

    def perform(command: Command) -> None:
        order.append(command)
        if command == ASK:
            loop.feed(StoreClosed())
            order.append("fed")

    loop.attach(by(perform))
    loop.observe(lambda event, _: order.append(event))
    loop.feed(Settled())
    assert order == [Settled(), ASK, "fed", STOP, StoreClosed()]


@virtual
async def test_the_newest_alarm_replaces_the_one_before() -> None:
    """And one whose time has passed rings at once."""
    script: dict[Event, list[Command]] = {
        StoreClosed(): [WakeAt(5.0)],
        StoreOpened(): [WakeAt(9.0)],
        BusHeard(): [WakeAt(1.0)],
    }
    loop, core = looping(script)
    loop.feed(StoreClosed())
    loop.feed(StoreOpened())
    await asyncio.sleep(20.0)
    loop.feed(BusHeard())
    await asyncio.sleep(1.0)
    woken = [at for event, at in core.seen if event == Woken()]
    assert woken == [9.0, 20.0]


def broken(*_: object) -> None:
    """Whoever does this fails."""
    raise RuntimeError("planted")


def broken_core(loop: Loop, core: ScriptedCore) -> None:
    """The core itself fails."""
    del loop
    core.fault = RuntimeError("planted")


def broken_performer(loop: Loop, core: ScriptedCore) -> None:
    """Whoever carries out fails: what the core believes to be done is not."""
    core.script[Settled()] = [ASK]
    loop.attach(by(broken))


@pytest.mark.parametrize("fault", [broken_core, broken_performer])
def test_a_fault_ends_the_loop_and_no_handler(fault: Callable[[Loop, ScriptedCore], None]) -> None:
    """Whoever fed the event goes on; ``run`` raises, and nothing is fed any more."""

    @virtual
    async def run() -> None:
        loop, core = looping({})
        fault(loop, core)
        running = asyncio.create_task(loop.run())
        loop.feed(Settled())
        seen = len(core.seen)
        loop.feed(Settled())
        with pytest.raises(RuntimeError, match="planted"):
            await running
        assert len(core.seen) == seen

    run()


@virtual
async def test_a_broken_observer_is_counted_and_is_alone_in_it() -> None:
    """The others see the event, its commands are carried out, and the loop goes on."""
    counted: list[str] = []
    core = ScriptedCore({Settled(): [ASK], StoreClosed(): [STOP]})
    loop = Loop(core, asyncio.get_running_loop().time, Faults(counted.append))
    seen: list[Event] = []
    done: list[Command] = []
    loop.attach(by(done.append))
    loop.observe(broken)
    loop.observe(lambda event, _: seen.append(event))
    running = asyncio.create_task(loop.run())
    loop.feed(Settled())
    loop.feed(StoreClosed())
    await asyncio.sleep(1.0)
    assert counted == ["observer", "observer"]
    assert seen == [Settled(), StoreClosed()]
    assert done == [ASK, STOP]
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


@virtual
async def test_after_its_end_nothing_is_fed_and_no_alarm_rings() -> None:
    """A core that was replaced must not command agents beside its successor."""
    loop, core = looping({Settled(): [WakeAt(5.0)], StoreClosed(): [WakeAt(1.0), ASK]})
    done: list[Command] = []
    loop.attach(by(done.append))
    running = asyncio.create_task(loop.run())
    loop.feed(Settled())
    await asyncio.sleep(1.0)
    running.cancel()
    await asyncio.wait([running])
    loop.feed(StoreClosed())
    await asyncio.sleep(60.0)
    assert [event for event, _ in core.seen] == [Settled()]
    assert done == []


def test_a_clock_that_is_set_moves_nothing() -> None:
    """Only what has passed counts."""
    wall, elapsed = [1000.0], [7.0]
    clock = Clock(lambda: wall[0], lambda: elapsed[0])
    assert clock() == 1000.0
    wall[0], elapsed[0] = 1.0, 9.5
    assert clock() == 1002.5
