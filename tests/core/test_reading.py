"""Whoever reads the core changes nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from itertools import count
from types import MappingProxyType
from typing import Any, get_args

import msgspec
import pytest

from common.text import Text
from coordinator.core.events import BusFellSilent, Event, NodeSeen
from coordinator.core.fleet import FleetView
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Core
from tests.core.stage import FLAKY, Stage, pulled, spec

pytestmark = pytest.mark.pure

NAMES = ("n1", "n2", "n3", "n9", "t1", "t9")


def state_of(value: Any, seen: dict[int, int] | None = None) -> Any:
    """Everything that an object holds, however deep, as values that can be compared."""
    seen = {} if seen is None else seen
    if value is None or isinstance(value, str | int | float | Enum):
        return value
    if callable(value) or isinstance(value, count):
        return type(value).__name__
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = len(seen)
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return [type(value).__name__, *((n, state_of(v, seen)) for n, v in contents(value))]


def contents(value: Any) -> Iterator[tuple[Any, Any]]:
    """What is in a container, or the attributes of an object, slots or not."""
    if isinstance(value, Mapping):
        yield from value.items()
        return
    if isinstance(value, list | tuple):
        yield from enumerate(value)
        return
    if isinstance(value, msgspec.Struct):
        yield from msgspec.structs.asdict(value).items()
        return
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(value, name):
                yield name, getattr(value, name)


@pytest.fixture
def core() -> Core:
    """A leader in the middle of things, while the bus is silent."""
    stage = Stage("n1", "n2", "n3", max_concurrent_tasks=1)
    stage.tell(NodeSeen("n4", {}, schedulable=False, problem=Text("Node n4 is cordoned.")))
    stage.start("t1", "n1 n2 n3 n4", spec(batch_size=3, max_retries=2))
    stage.create("t2")
    stage.accept("t1", "n1")
    stage.store("t1", "n2", FLAKY)
    stage.store("t1", "n3", pulled())
    stage.tell(BusFellSilent(stage.now))
    return stage.core


def reads_of_core(core: Core) -> Iterator[Callable[[], object]]:
    """Every way to read a core."""
    yield lambda: core.leads
    yield lambda: core.in_flight
    yield lambda: core.is_behind
    yield lambda: core.places_taken
    for name in NAMES:
        yield lambda name=name: core.runs.get(name)  # type: ignore[misc]
        yield lambda name=name: core.waiting.get(name)  # type: ignore[misc]
        yield lambda name=name: core.awaits_place(name)  # type: ignore[misc]
        for other in NAMES:
            yield lambda a=name, b=other: core.accepted_by(a, b)  # type: ignore[misc]
            yield lambda a=name, b=other: core.in_flight.get((a, b))  # type: ignore[misc]


def reads_of_fleet(fleet: FleetView) -> Iterator[Callable[[], object]]:
    """Every way to read the fleet."""
    yield lambda: fleet.clock.stands
    yield lambda: fleet.clock.at(2000.0)
    for name in NAMES:
        yield lambda name=name: fleet.nodes.get(name)  # type: ignore[misc]
        yield lambda name=name: fleet.instance(name)  # type: ignore[misc]
        yield lambda name=name: fleet.connected(name, 2000.0)  # type: ignore[misc]
        yield lambda name=name: fleet.agent_for(name, 2000.0)  # type: ignore[misc]
        yield lambda name=name: fleet.has_conflict(name)  # type: ignore[misc]
        yield lambda name=name: fleet.lacks_runtime(name)  # type: ignore[misc]
        yield lambda name=name: fleet.why_unavailable(name)  # type: ignore[misc]


def reads_of_run(run: TaskRun) -> Iterator[Callable[[], object]]:
    """Every way to read a task, and its nodes."""
    yield from (run.counts, run.ending)
    for node in run.nodes:
        yield lambda node=node: node.failures  # type: ignore[misc]
        yield lambda node=node: node.arrived("a")  # type: ignore[misc]
        yield lambda node=node: node.wanted(run.spec.work)  # type: ignore[misc]
        yield lambda node=node: list(node.failed_images())  # type: ignore[misc]
        yield node.failed_details


def test_reading_leaves_the_core_as_it_is(core: Core) -> None:
    """Known or unknown, whatever is asked for is not inserted, counted or taken out."""
    before = state_of(core)
    for read in (*reads_of_core(core), *reads_of_fleet(core.fleet), *reads_of_run(core.runs["t1"])):
        read()
        assert state_of(core) == before


WRITES = {"take_in", "close", "move", "place", "place_next", "has_work"}


def test_every_public_name_of_the_core_is_read_or_known_to_write(core: Core) -> None:
    """A new way to read has to be added above, so that it is held to the same."""
    public = {name for name in dir(core) if not name.startswith("_")}
    assert public == {
        *("handle", "limits", "runs", "waiting", "fleet"),
        *("leads", "is_behind", "in_flight", "accepted_by", "places_taken", "awaits_place"),
    }
    methods = {n for n in vars(TaskRun) if not n.startswith("_")} - WRITES
    assert methods == {"counts", "ending"}
    views = {name for name in vars(FleetView) if not name.startswith("_")}
    assert views == {
        *("nodes", "clock", "connected", "agent_for", "instance", "has_conflict", "lacks_runtime"),
        "why_unavailable",
    }


def test_views_cannot_be_written_to(core: Core) -> None:
    """Not even by mistake."""
    for view in (core.runs, core.waiting, core.fleet.nodes):
        with pytest.raises(TypeError):
            view["n9"] = None  # type: ignore[index]
        assert isinstance(view, MappingProxyType)


def test_the_core_takes_every_kind_of_event_in(core: Core) -> None:
    """One that nobody takes in would end the program when it comes."""
    assert core._handlers.keys() == set(get_args(Event))
