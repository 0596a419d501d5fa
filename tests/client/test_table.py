"""Tables, without a service."""

from __future__ import annotations

import csv
import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ips_client.command.output import LONGEST_CELL, show, table
from ips_client.command.text import cut_middle

pytestmark = pytest.mark.pure


class Tty(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self) -> bool:
        """So it says."""
        return True


def test_one_long_name_leaves_the_others_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its middle is cut, since names differ at their ends; elsewhere nothing is."""
    name = "begin-" + "x" * 240 + "-end"
    rows = [(name, "ready"), ("node-1", "offline")]
    assert name in table(("NAME", "STATE"), rows)[1]
    monkeypatch.setattr(sys, "stdout", Tty())
    monkeypatch.setenv("NO_COLOR", "1")
    lines = table(("NAME", "STATE"), rows)
    assert lines[1].startswith("begin-")
    assert lines[1].split()[0].endswith("-end")
    assert len(lines[1].split()[0]) == LONGEST_CELL
    assert [line.split()[1] for line in lines] == ["STATE", "ready", "offline"]


def test_no_cell_of_csv_is_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    """As in what the page gives out: such a cell begins with an apostrophe; a dash is none."""
    cells = ('=HYPERLINK("x")', "+1", "-1", "@a", "\t=1", "\r=1", "-", "a=b", "", "1-2")
    lines = table([f"h{number}" for number in range(len(cells))], [cells])
    show("csv", None, names=(), lines=lines)
    (row,) = list(csv.reader(io.StringIO(capsys.readouterr().out)))[1:]
    expected = ['\'=HYPERLINK("x")', "'+1", "'-1", "'@a", "'\\t=1", "'\\r=1", "-", "a=b", "", "1-2"]
    assert row == expected


def test_a_program_can_count_columns() -> None:
    """What is empty is a dash where nobody reads along."""
    lines = table(("A", "B", "C"), [("1", "", "3"), ("1", "2", "3")])
    assert [line.split() for line in lines[1:]] == [["1", "-", "3"], ["1", "2", "3"]]


def test_a_column_that_is_empty_stays_for_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted today must not be another column tomorrow; a reader is spared it."""
    rows = [("1", "", "3"), ("2", "", "4")]
    assert [line.split() for line in table(("A", "B", "C"), rows)] == [
        *(["A", "B", "C"], ["1", "-", "3"], ["2", "-", "4"])
    ]
    monkeypatch.setattr(sys, "stdout", Tty())
    monkeypatch.setenv("NO_COLOR", "1")
    assert table(("A", "B", "C"), rows)[0].split() == ["A", "C"]


@given(st.text(), st.integers(1, 30))
def test_what_is_cut_has_its_ends(text: str, width: int) -> None:
    """And is as long as it may be."""
    cut = cut_middle(text, width)
    assert len(cut) == min(len(text), width)
    if len(text) > width > 3:
        assert (cut[0], cut[-1]) == (text[0], text[-1])
