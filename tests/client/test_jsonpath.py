"""``-o jsonpath=…``, without a service."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ips_client.command.jsonpath import DEEPEST, render
from ips_client.command.output import show

pytestmark = pytest.mark.pure

DOCUMENT: dict[str, Any] = {
    "total": 2,
    "tasks": [
        {"taskId": "a", "images": ["x", "y"], "labels": {"a.b/c": "d"}, "ok": True},
        {"taskId": "b", "images": [], "labels": {}},
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{.total}", "2"),
        ("{.tasks[*].taskId}", "a b"),
        ("{$.tasks[0].images[*]}", "x y"),
        ("{.tasks[-1].taskId}", "b"),
        ("{.tasks[0].images}", '["x", "y"]'),
        ("{.tasks[*].labels['a.b/c']}", "d"),
        ("{.tasks[0].ok}", "true"),
        ("n={.total}!", "n=2!"),
        ("{.missing}{.tasks[9].taskId}{.total.deep}{.total[0]}", ""),
        ('{range .tasks[*]}{.taskId}{"\\t"}{.images[0]}{"\\n"}{end}', "a\tx\nb\t\n"),
        ("{range .tasks[*]}{range .images[*]}<{$}>{end}{end}", "<x><y>"),
        ("{.tasks[0].*}", 'a ["x", "y"] {"a.b/c": "d"} true'),
        ("", ""),
    ],
)
def test_what_a_template_finds(template: str, expected: str) -> None:
    """As kubectl's; what is not there is empty."""
    assert render(template, DOCUMENT) == expected


@pytest.mark.parametrize(
    "template",
    ["{.a", "a}", "{a b}", "{..}", "{.a[x]}", "{end}", "{range .a}", '{"\\q"}', "{.a{.b}}"],
)
def test_what_is_no_template(template: str) -> None:
    """Is said to be none."""
    with pytest.raises(ValueError, match="jsonpath"):
        render(template, DOCUMENT)


def test_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """The template's own texts as they are; no value ends a line or steers a terminal."""
    document = {"a": ["x\u2028y\x0b", "\x85z\n\x1b[2J"], "b": {"k": "\u2029"}}
    template = 'jsonpath={range .a[*]}{"\\t"}{$}{"\\n"}{end}|\t{.b}'
    show(template, document, names=(), lines=())
    assert capsys.readouterr().out == (
        '\tx\\u2028y\\x0b\n\t\\x85z\\n\\x1b[2J\n|\t{"k": "\\u2029"}\n'
    )
    for template, out in (
        ("x", "x\n"),
        ('x{"\\n"}', "x\n"),
        ('x{"\\n\\n"}', "x\n\n"),
        ("{.c}", ""),
    ):
        show(f"jsonpath={template}", document, names=(), lines=())
        assert capsys.readouterr().out == out


def test_ranges_stand_in_one_another_so_deep_and_no_deeper() -> None:
    """A template from a script may be of any size; it is refused in words."""
    assert render("{range .a[*]}" * DEEPEST + "x" + "{end}" * DEEPEST, {"a": [1]}) == ""
    with pytest.raises(ValueError, match="jsonpath: more than 20 ranges"):
        render("{range .a[*]}" * 1000 + "{end}" * 1000, {"a": [1]})


@given(st.text(alphabet="{}[]().*$'\"ab01 -range\\", max_size=40))
def test_any_text_is_rendered_or_refused(template: str) -> None:
    """And nothing else happens."""
    with suppress(ValueError):
        assert isinstance(render(template, DOCUMENT), str)
