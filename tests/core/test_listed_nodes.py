"""A node source that can name all nodes: nothing is chosen before it has."""

from __future__ import annotations

import math

import pytest

from common.messages import Outcome
from common.text import Text
from coordinator.core.commands import StartTask, StoreVerdict
from coordinator.core.events import NodeSeen, NodesListed
from tests.core.stage import Stage, of_kind, spec

pytestmark = pytest.mark.pure


def test_nothing_starts_on_half_of_the_nodes() -> None:
    """A list comes in pages: a task that matches some nodes of the first one waits for the last."""
    stage = Stage("n1", first_look=math.inf)
    assert stage.create("t1") == []
    assert stage.tell(NodeSeen("n2", {})) == []
    assert stage.wait(3600) == []
    assert stage.tell(NodesListed()) == [StartTask("t1", ("n1", "n2"))]


def test_that_nothing_matches_is_said_as_soon_as_all_nodes_are_known() -> None:
    """There is nothing to wait for then."""
    stage = Stage(first_look=math.inf)
    assert stage.create("t1", spec(node_selector={"zone": "a"})) == []
    assert stage.tell(NodesListed()) == [StartTask("t1", ())]
    assert stage.create("t2", spec(node_selector={"zone": "b"})) == [StartTask("t2", ())]


def test_names_alone_need_no_list() -> None:
    """They start at once, even if the source is away."""
    stage = Stage(first_look=math.inf)
    assert stage.create("t1", spec(names_nodes=True), ("n9",)) == [StartTask("t1", ("n9",))]


def test_a_node_that_vanished_while_nobody_led_leaves_its_task() -> None:
    """The list does not name it; those that are named stay."""
    stage = Stage(first_look=math.inf)
    stage.start("t1", "n1 n2 n3", spec(batch_size=1))
    stage.tell(NodeSeen("n2", {}))
    commands = of_kind(stage.tell(NodesListed()), StoreVerdict)
    assert [(command.key.node, command.outcome) for command in commands] == [
        ("n1", Outcome(removed=True)),
        ("n3", Outcome(removed=True)),
    ]


def test_a_name_that_no_node_has_stays_in_its_task() -> None:
    """It was asked for by name, and fails by name."""
    stage = Stage(first_look=math.inf)
    stage.start("t1", "n9", spec(names_nodes=True))
    assert stage.tell(NodesListed()) == []


def test_a_second_list_changes_nothing() -> None:
    """A source says so once, but whoever says it twice does no harm."""
    stage = Stage("n1", first_look=math.inf)
    stage.tell(NodesListed())
    assert stage.tell(NodesListed()) == []


def test_why_a_node_takes_no_work_is_in_the_words_of_its_source() -> None:
    """A cordon is called a cordon."""
    stage = Stage()
    stage.tell(NodeSeen("n1", {}, schedulable=False, problem=Text("Node n1 is cordoned.")))
    assert str(stage.core.fleet.why_unavailable("n1")) == "Node n1 is cordoned."
