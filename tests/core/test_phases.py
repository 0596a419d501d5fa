"""The legal moves of a node: one table, the same as in the document."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from coordinator.core.changes import NodeMoved
from coordinator.core.node_run import NEXT_PHASES, OVER, IllegalMoveError, NodePhase
from coordinator.core.run import TaskRun
from tests.core.stage import head

pytestmark = pytest.mark.pure

DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"
MOVES = {(old, new) for old, nexts in NEXT_PHASES.items() for new in nexts}
GROUP = re.compile(r"state open \{(.*?)\}", re.DOTALL)
ARROW = re.compile(r"^ *(\w+) --> (\w+)", re.MULTILINE)


def drawn() -> set[tuple[NodePhase, NodePhase]]:
    """The arrows of the document's diagram; one from ``open`` is one from each state in it."""
    _, _, rest = DOCUMENT.read_text().partition("### A node of a task")
    diagram = rest.split("```")[1]
    group = GROUP.search(diagram)
    assert group is not None
    inside = {name for arrow in ARROW.findall(group[1]) for name in arrow}
    arrows = set()
    for old, new in ARROW.findall(diagram):
        for each in inside if old == "open" else {old}:
            arrows.add((NodePhase(each), NodePhase(new)))
    return arrows


def test_the_document_draws_every_legal_move_and_no_other() -> None:
    """Whoever changes the table changes the picture, and the other way round."""
    assert drawn() == MOVES


def test_the_table_knows_every_phase() -> None:
    """What is over stays what it is; everything else can end in every way."""
    assert NEXT_PHASES.keys() == set(NodePhase)
    for phase, nexts in NEXT_PHASES.items():
        assert nexts == frozenset() if phase in OVER else nexts > OVER


@pytest.mark.parametrize(("old", "new"), sorted(product(NodePhase, repeat=2)))
def test_an_illegal_move_raises_and_a_legal_one_moves(old: NodePhase, new: NodePhase) -> None:
    """Nothing has changed where it raises, and nobody is told of a move."""
    told: list[NodeMoved] = []
    run = TaskRun(head("t1"), ["n1"], told.append)
    node = run.nodes[0]
    run.in_phase[node.phase] -= 1
    run.in_phase[old] += 1
    node.phase = old
    if (old, new) in MOVES:
        run.move(node, new)
        assert (node.phase, told) == (new, [NodeMoved("t1", "n1")])
        return
    with pytest.raises(IllegalMoveError, match=f"t1 n1: {old} to {new}"):
        run.move(node, new)
    assert (node.phase, run.in_phase[old], told) == (old, 1, [])
