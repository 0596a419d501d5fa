"""The nodes of a task are looked at bit by bit: no task holds the loop, however much it demands."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from coordinator.core import queue, scheduler
from coordinator.core.commands import Assign, LoadNames, StartTask, StoreVerdict
from coordinator.core.events import (
    NamesLoaded,
    NodeSeen,
    NodeVanished,
    Settled,
    StoreClosed,
    StoreOpened,
    TaskCreated,
    TaskStarted,
    Woken,
)
from coordinator.core.selection import LabelQuery
from coordinator.core.task import Operator, Requirement, TaskStatus
from tests.core.stage import Said, Stage, head, of_kind, spec

pytestmark = pytest.mark.pure

NODES = tuple(f"n{number:02}" for number in range(40))
STEPS = 15
LARGE = "task-20260101-000000-00000001"


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event looks at a few nodes; ten of them are spent on sorting."""
    monkeypatch.setattr(scheduler, "STEPS_AN_EVENT", STEPS)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, str]]:
    """Labels that were looked at."""
    seen: list[Mapping[str, str]] = []
    matches = LabelQuery.matches

    def counted(self: LabelQuery, labels: Mapping[str, str]) -> bool:
        seen.append(labels)
        return matches(self, labels)

    monkeypatch.setattr(LabelQuery, "matches", counted)
    return seen


def chosen(stage: Stage, most: int = 100) -> list[Said]:
    """All that follows at once, event by event."""
    commands: list[Said] = []
    for _ in range(most):
        if stage.wake is None or stage.wake > stage.now:
            return commands
        stage.wake = None
        commands += stage.tell(Woken())
    raise AssertionError("it does not end")


def test_one_event_looks_at_few_nodes(looks: list[Mapping[str, str]]) -> None:
    """The core asks to be woken at once, and goes on where it was."""
    stage = Stage(*NODES)
    assert stage.create("t1") == []
    assert 0 < len(looks) <= STEPS
    seen = len(looks)
    assert stage.wake == stage.now
    stage.wake = None
    assert stage.tell(Woken()) == []
    assert seen < len(looks) <= seen + STEPS
    assert chosen(stage) == [StartTask("t1", NODES)]
    assert len(looks) == len(NODES)


def test_a_task_that_demands_much_looks_at_fewer(looks: list[Mapping[str, str]]) -> None:
    """A thousand expressions are put together once, and each event does its part."""
    absent = tuple(
        Requirement(key=f"k{number}", operator=Operator.DOES_NOT_EXIST) for number in range(1000)
    )
    stage = Stage(*NODES)
    stage.tell(TaskCreated(head(LARGE, spec(match_expressions=absent)), 1))
    assert len(looks) == 1
    assert chosen(stage) == [StartTask(LARGE, NODES)]


def test_tasks_are_chosen_for_in_their_order(looks: list[Mapping[str, str]]) -> None:
    """All at once would be as bad as one that is large; each holds its place meanwhile."""
    stage = Stage(*NODES, settled=False, max_concurrent_tasks=2)
    for number in range(3):
        stage.tell(TaskCreated(head(f"t{number}"), number))
    assert stage.tell(Settled()) == []
    assert stage.core.places_taken == 1
    assert chosen(stage) == [StartTask("t0", NODES), StartTask("t1", NODES)]
    assert len(looks) == 2 * len(NODES)


def test_a_task_that_is_cancelled_meanwhile_gives_its_place_back() -> None:
    """Nothing more is looked at for it."""
    stage = Stage(*NODES, max_concurrent_tasks=1)
    assert stage.create("t1") == []
    stage.create("t2")
    stage.end("t1", TaskStatus.CANCELLED)
    assert chosen(stage) == [StartTask("t2", NODES)]


def test_a_store_that_closes_meanwhile_is_waited_for() -> None:
    """Nothing is started that cannot be stored."""
    stage = Stage(*NODES)
    stage.create("t1")
    stage.tell(StoreClosed())
    assert chosen(stage) == []
    assert of_kind([*stage.tell(StoreOpened()), *chosen(stage)], StartTask) == [
        StartTask("t1", NODES)
    ]


def test_nodes_that_go_meanwhile_are_none_of_the_tasks() -> None:
    """Whether they were looked at by then or not."""
    stage = Stage(*NODES)
    stage.create("t1")
    for gone in (NODES[0], NODES[-1]):
        stage.tell(NodeVanished(gone))
    ((start),) = of_kind(chosen(stage), StartTask)
    assert NODES[-1] not in start.nodes
    said = stage.tell(TaskStarted(head("t1", status=TaskStatus.RUNNING), 1, start.nodes))
    assert [v.key.node for v in of_kind(said, StoreVerdict)] == [NODES[0]]
    assert NODES[0] not in {assign.key.node for assign in of_kind(said, Assign)}


def test_names_that_are_read_are_looked_at_bit_by_bit_too() -> None:
    """Two tasks may name their nodes at the same moment."""
    stage = Stage(*NODES, max_concurrent_tasks=2)
    naming = spec(names_nodes=True)
    assert stage.create("t1", naming) == [LoadNames("t1")]
    assert stage.create("t2", naming) == [LoadNames("t2")]
    assert stage.tell(NamesLoaded("t1", (*NODES, "x"))) == []
    assert stage.tell(NamesLoaded("t2", NODES[:2])) == []
    assert chosen(stage) == [StartTask("t1", (*NODES, "x")), StartTask("t2", NODES[:2])]


def test_what_was_found_at_the_start_is_not_looked_at_before_the_first_look_ends(
    looks: list[Mapping[str, str]],
) -> None:
    """A thousand tasks that wait would be asked of each node that comes back."""
    stage = Stage(first_look=10.0)
    for number in range(50):
        stage.tell(TaskCreated(head(f"t{number:02}"), number, found=True))
    for node in NODES:
        stage.tell(NodeSeen(node, {}, True, None))
    assert looks == []
    assert chosen(stage) == []
    started = of_kind([*stage.wait(10.0), *chosen(stage)], StartTask)
    assert [start.task for start in started] == ["t00", "t01", "t02"]


def test_of_tasks_put_aside_few_are_asked_of_each_node_that_appears(
    looks: list[Mapping[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others, and those that demand much, wait for the end of the first look."""
    monkeypatch.setattr(queue, "ASIDE_LOOKED_AT", 2)
    stage = Stage(first_look=10.0)
    for number in range(5):
        stage.create(f"t{number}", spec(node_selector={"zone": str(number)}))
    looks.clear()
    stage.tell(NodeSeen("n1", {"zone": "9"}, True, None))
    assert len(looks) == 2
    assert of_kind(stage.tell(NodeSeen("n2", {"zone": "1"}, True, None)), StartTask) == [
        StartTask("t1", ("n2",))
    ]
