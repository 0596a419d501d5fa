"""``-w``, without a service: what is written when what is shown has changed."""

from __future__ import annotations

import io
import sys

import pytest
from ips_client.command.output import Row, show, table
from ips_client.command.watch import Shown

pytestmark = pytest.mark.pure

HEAD = ("ID", "STATUS", "AGE", "IMAGES")


class Tty(io.StringIO):
    """A terminal whose encoding has every character."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """So it says."""
        return True


def written(
    monkeypatch: pytest.MonkeyPatch, where: io.StringIO, output: str, *looks: list[Row]
) -> list[str]:
    """What each of these looks adds."""
    monkeypatch.setattr(sys, "stdout", where)
    coming = iter(looks)

    def show_once() -> int:
        rows = next(coming)
        document = {"ids": [row[0] for row in rows]}
        show(output, document, names=document["ids"], lines=table(HEAD, rows, none="none"))
        return 0

    shown, added = Shown(show_once, output), []
    for _ in looks:
        before = len(where.getvalue())
        assert shown.again() == 0
        added.append(where.getvalue()[before:])
    return added


@pytest.mark.parametrize("output", ["table", "wide", "csv"])
def test_an_age_is_no_news_in_a_pipe(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    """Whatever else of a row is another one writes it, wider columns do not."""
    first: list[Row] = [("a", "running", "9s", ""), ("b", "pending", "5s", "x, y")]
    older: list[Row] = [("a", "running", "10s", ""), ("b", "pending", "1m05s", "x, y")]
    ended: list[Row] = [("a", "completed", "1h10m", ""), ("b", "pending", "1h11m", "x, y")]
    added = written(monkeypatch, io.StringIO(), output, first, older, ended, [], ended)
    assert [len(each.splitlines()) for each in added[:3]] == [3, 0, 1]
    assert "completed" in added[2]
    assert "pending" in added[4]


def test_names_and_documents_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is new, a document that is another one, in the encoding of the pipe."""
    one: list[Row] = [("节点", "x", "1s", "")]
    two: list[Row] = [("节点", "x", "2s", ""), ("b", "x", "1s", "")]
    assert written(monkeypatch, io.StringIO(), "name", one, two) == ["节点\n", "b\n"]
    pipe = type("Pipe", (io.StringIO,), {"encoding": "utf-8"})()
    first, again, other = written(monkeypatch, pipe, "json", one, one, two)
    assert "节点" in first
    assert again == ""
    assert '"b"' in other


def test_a_terminal_keeps_what_can_be_scrolled_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is drawn over the one before, and only what is left of that is erased."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    rows: list[Row] = [("a", "running", "1s", "")]
    (drawn, again) = written(monkeypatch, Tty(), "table", rows, rows)
    assert drawn == again == "\x1b[HID  STATUS   AGE\x1b[K\na   running  1s\x1b[K\n\x1b[J"


def test_a_look_that_fails_leaves_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is collected before anything is drawn."""
    where = Tty()
    monkeypatch.setattr(sys, "stdout", where)

    def fail() -> int:
        sys.stdout.write("half of it")
        raise ValueError("away")

    with pytest.raises(ValueError, match="away"):
        Shown(fail, "table").again()
    assert where.getvalue() == ""


def test_a_terminal_that_can_nothing_is_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sequence of control characters is for it."""
    monkeypatch.setenv("TERM", "dumb")
    rows: list[Row] = [("a", "running", "1s", "")]
    first, again = written(monkeypatch, Tty(), "table", rows, rows)
    assert "\x1b" not in first
    assert again == ""
