from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.fleet import Node
from coordinator.core.selection import LabelQuery, Selection, describe, satisfies
from coordinator.core.task import Operator, Requirement, TaskSpec
from tests.core.stage import spec

pytestmark = pytest.mark.pure

LABELS = {"zone": "a", "cpus": "8", "empty": "", "word": "many"}


def matches(wanted: TaskSpec, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is what a task wants."""
    return LabelQuery(wanted).matches(labels)


def select(
    wanted: TaskSpec, nodes: Mapping[str, Node], named: Iterable[str] | None = None
) -> list[str]:
    """All that a task wants, each node looked at by itself."""
    selection = Selection(wanted, nodes, named, 1)
    while selection.left:
        selection.go_on(1)
    return selection.found


def wants(key: str, operator: Operator, *values: str) -> Requirement:
    """One entry of ``matchExpressions``."""
    return Requirement(key=key, operator=operator, values=values)


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (wants("zone", Operator.IN, "a", "b"), True),
        (wants("zone", Operator.IN, "b"), False),
        (wants("zone", Operator.IN), False),
        (wants("absent", Operator.IN, "a"), False),
        (wants("empty", Operator.IN, ""), True),
        (wants("zone", Operator.NOT_IN, "b"), True),
        (wants("zone", Operator.NOT_IN, "a", "b"), False),
        (wants("absent", Operator.NOT_IN, "a"), True),
        (wants("zone", Operator.EXISTS), True),
        (wants("empty", Operator.EXISTS), True),
        (wants("absent", Operator.EXISTS), False),
        (wants("zone", Operator.DOES_NOT_EXIST), False),
        (wants("absent", Operator.DOES_NOT_EXIST), True),
        (wants("cpus", Operator.GT, "7"), True),
        (wants("cpus", Operator.GT, "8"), False),
        (wants("cpus", Operator.GT, "-9"), True),
        (wants("cpus", Operator.GT, "+7"), True),
        (wants("cpus", Operator.LT, "9"), True),
        (wants("cpus", Operator.LT, "008"), False),
        (wants("cpus", Operator.LT, "10"), True),
        (wants("absent", Operator.GT, "1"), False),
        (wants("absent", Operator.LT, "1"), False),
        (wants("word", Operator.GT, "1"), False),
        (wants("empty", Operator.LT, "1"), False),
        (wants("cpus", Operator.GT, "seven"), False),
        (wants("cpus", Operator.GT, " 7"), False),
        (wants("cpus", Operator.GT, "1_0"), False),
        (wants("cpus", Operator.LT, "1e9"), False),
        (wants("cpus", Operator.LT, "9223372036854775807"), True),
        (wants("cpus", Operator.LT, "9223372036854775808"), False),
        (wants("cpus", Operator.LT, "0000000000000000000000009"), True),
        (wants("cpus", Operator.GT), False),
        (wants("cpus", Operator.GT, "1", "2"), False),
    ],
)
def test_a_requirement_means_what_it_means_to_kubernetes(
    requirement: Requirement,
    holds: bool,
) -> None:
    """NotIn holds where the label is absent; Gt and Lt only between two 64-bit integers."""
    assert satisfies(requirement, LABELS) is holds
    assert matches(spec(match_expressions=(requirement,)), LABELS) is holds


def test_selector_and_expressions_are_joined_by_and() -> None:
    """A node is selected only where every label and every expression agrees."""
    both = spec(node_selector={"zone": "a"}, match_expressions=(wants("cpus", Operator.GT, "4"),))
    assert matches(both, LABELS)
    assert not matches(both, LABELS | {"zone": "b"})
    assert not matches(both, LABELS | {"cpus": "4"})
    assert matches(spec(), {})


KEYS = st.sampled_from(["zone", "cpus", "empty", "word", "absent"])
VALUES = st.sampled_from(["a", "b", "", "7", "8", "9", "-1", "many", "08"])


@given(
    wanted=st.dictionaries(KEYS, VALUES, max_size=2),
    requirements=st.lists(
        st.builds(wants, KEYS, st.sampled_from(Operator), VALUES, VALUES)
        | st.builds(wants, KEYS, st.sampled_from(Operator), VALUES)
        | st.builds(wants, KEYS, st.sampled_from(Operator)),
        max_size=4,
    ),
    labels=st.dictionaries(KEYS, VALUES),
)
def test_all_demands_at_once_are_what_each_of_them_is(
    wanted: dict[str, str], requirements: list[Requirement], labels: dict[str, str]
) -> None:
    """However they are put together, several about one label among them."""
    both = spec(node_selector=wanted, match_expressions=tuple(requirements))
    equal = all(labels.get(key) == value for key, value in wanted.items())
    each = all(satisfies(requirement, labels) for requirement in requirements)
    assert matches(both, labels) is (equal and each)


NODES = {
    "n3": Node({"zone": "a"}, schedulable=True),
    "n1": Node({"zone": "a"}, schedulable=True),
    "n2": Node({"zone": "b"}, schedulable=True),
    "n4": Node({"zone": "a"}, schedulable=False),
}


def test_selected_nodes_are_schedulable_and_in_order_of_their_names() -> None:
    """Whatever takes no new work is not among the nodes of a task that names none."""
    assert select(spec(), NODES) == ["n1", "n2", "n3"]
    assert select(spec(node_selector={"zone": "a"}), NODES) == ["n1", "n3"]


def test_named_nodes_are_joined_with_the_selector_by_and() -> None:
    """A named node must match, but one that nobody has or that is cordoned fails by name."""
    named = ("n9", "n4", "n2", "n1", "n1")
    assert select(spec(), NODES, named) == ["n1", "n2", "n4", "n9"]
    assert select(spec(node_selector={"zone": "a"}), NODES, named) == ["n1", "n4", "n9"]
    assert select(spec(), NODES, ()) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"node_selector": {"zone": "a", "disk": "ssd"}}, "disk=ssd, zone=a"),
        (
            {"match_expressions": (wants("zone", Operator.IN, "a", "b"),), "names_nodes": True},
            "zone In [a, b], nodeNames",
        ),
        ({"match_expressions": (wants("gpu", Operator.EXISTS),)}, "gpu Exists"),
    ],
)
def test_a_selection_can_be_said_in_words(fields: dict[str, object], words: str) -> None:
    """The message about what matched nothing names the selector."""
    assert describe(spec(**fields)) == words
