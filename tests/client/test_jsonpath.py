"""``-o jsonpath=…``, without a service."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ips_client.command.jsonpath import render

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


@given(st.text(alphabet="{}[]().*$'\"ab01 -range\\", max_size=40))
def test_any_text_is_rendered_or_refused(template: str) -> None:
    """And nothing else happens."""
    with suppress(ValueError):
        assert isinstance(render(template, DOCUMENT), str)
