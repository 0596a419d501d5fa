from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import Hold
from common.subjects import AttemptKey
from coordinator.core.commands import Assign, FinishTask, WakeAt
from coordinator.core.events import (
    AgentHeard,
    AssignmentAccepted,
    BusFellSilent,
    BusHeard,
    Event,
    OutcomeStored,
    Settled,
    TaskStarted,
    Woken,
)
from coordinator.core.fleet import SilenceClock
from coordinator.core.scheduler import Core, Limits
from tests.core.stage import START, Stage, head, of_kind, pulled, spec

pytestmark = pytest.mark.pure

MOMENTS = st.floats(1.7e9, 1.8e9)
SPANS = st.floats(0, 1e5)


def test_nothing_to_do_is_nothing_to_be_woken_for() -> None:
    """An idle core asks for nothing."""
    assert Core(Limits(), START).handle(Settled(), START) == ([], [])


def test_the_same_wish_is_not_repeated() -> None:
    """The engine keeps the last one until it is fulfilled or replaced."""
    stage = Stage()
    stage.start("t1", "n1")
    assert stage.wake == START + 57
    assert stage.core.handle(AgentHeard("n9", "n9/1"), START).commands == []


def test_while_the_bus_is_silent_silence_wakes_nobody() -> None:
    """Its clock stands; the wish comes back with the bus, later by as much."""
    stage = Stage()
    stage.start("t1", "n1")
    stage.tell(BusFellSilent(stage.now))
    stage.wait(100)
    assert stage.core.handle(BusHeard(), stage.now).commands == [WakeAt(START + 157)]


@given(now=MOMENTS, deaf=SPANS, wait=st.floats(0.1, 1e4))
def test_the_clock_of_silence_has_reached_what_it_was_asked_for(
    now: float, deaf: float, wait: float
) -> None:
    """Whoever is woken at the time that the clock named finds it reached, rounding or not."""
    clock = SilenceClock()
    clock.stop(now, now)
    clock.go_on(now + deaf)
    moment = clock.at(now + deaf) + wait
    assert clock.has_reached(moment, moment + clock.lost)


@given(now=MOMENTS, deaf=SPANS, moves=st.lists(SPANS, max_size=5))
def test_no_moment_asks_for_itself_for_ever(now: float, deaf: float, moves: list[float]) -> None:
    """However times round, being woken at the named time leads on to a later one or to an end."""
    core = Core(Limits(agent_wait=47.3), now)
    core.handle(Settled(), now)
    core.handle(BusFellSilent(now), now)
    now += deaf
    core.handle(BusHeard(), now)
    core.handle(AgentHeard("n1", "n1/1"), now)
    stored = head("t1", spec(max_retries=1))
    commands = core.handle(TaskStarted(stored, 1, ("n1", "n2")), now).commands
    commands += core.handle(AssignmentAccepted(AttemptKey("t1", "n1", 1), "n1/1"), now).commands
    for move in moves:
        now += move
        heard = AgentHeard("n1", "n1/1", (Hold(task="t1", attempt=1),))
        commands += core.handle(heard, now).commands
    wakes = of_kind(commands, WakeAt)
    for _ in range(20):
        now = max(now, wakes[-1].when)
        wakes = of_kind(core.handle(Woken(), now).commands, WakeAt)
        if not wakes:
            return
        assert wakes[-1].when > now
    pytest.fail("the core asks to be woken again and again")


# ── speed ──


def run_through(nodes: int, batch_size: int) -> tuple[int, float]:
    """Bring a task with so many nodes to its end: events handled, and CPU seconds for them."""
    core = Core(Limits(), START)
    names = tuple(f"n{number:05}" for number in range(nodes))
    for name in names:
        core.handle(AgentHeard(name, name, interval=1e6), START)
    core.handle(Settled(), START)
    queue: list[Event] = [TaskStarted(head("t1", spec(batch_size=batch_size)), 1, names)]
    handled, began = 0, time.process_time()
    while queue:
        event = queue.pop()
        handled += not isinstance(event, Woken)
        for command in core.handle(event, START).commands:
            if isinstance(command, Assign):
                key, agent = command.key, command.instance
                hold = Hold(task=key.task, attempt=key.attempt)
                queue.append(OutcomeStored(key, pulled(), handled, START))
                queue.append(AgentHeard(key.node, agent, (hold,), interval=1e6))
                queue.append(AssignmentAccepted(key, agent))
            elif isinstance(command, WakeAt) and command.when <= START:
                queue.append(Woken())
            elif isinstance(command, FinishTask):
                assert command.counts.completed == nodes
                return handled, time.process_time() - began
    raise AssertionError


@pytest.mark.parametrize(
    ("nodes", "batch_size"),
    [
        (2_000, 2_000),
        pytest.param(10_000, 10, marks=pytest.mark.deep),
        pytest.param(10_000, 10_000, marks=pytest.mark.deep),
    ],
)
def test_no_event_looks_at_all_nodes(nodes: int, batch_size: int) -> None:
    """About 20 µs of CPU for each event, whatever the number of nodes; 10 times that is allowed."""
    handled, seconds = run_through(nodes, batch_size)
    assert handled == 1 + 3 * nodes
    assert seconds < handled * 200e-6
