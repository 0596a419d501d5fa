from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.selection import satisfies
from coordinator.label_selector import parse_selector

pytestmark = pytest.mark.pure

LABELS = {"a": "b", "zone": "east", "example.com/cores": "16", "empty": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "a",
        "a=b",
        "a==b",
        " a = b ",
        "a!=c",
        "missing!=x",
        "!missing",
        "! missing",
        "a=b,zone=east",
        "a in (b,c)",
        "a in(b)",
        "a in ( x , b ),zone notin (west)",
        "missing notin (x)",
        "example.com/cores>8",
        "example.com/cores < 17",
        "empty=",
        "empty in ()",
        "a,zone",
        "a in (b,c),zone in (east)",
    ],
)
def test_what_matches(text: str) -> None:
    """The whole grammar of kubectl is understood."""
    assert all(satisfies(requirement, LABELS) for requirement in parse_selector(text))


@pytest.mark.parametrize(
    "text",
    [
        "a=c",
        "missing",
        "!a",
        "a!=b",
        "a notin (b,c)",
        "a in (c)",
        "zone=east,a=x",
        "a>1",
        "empty",
        "example.com/cores>16",
        "example.com/cores<16",
    ],
)
def test_what_does_not_match(text: str) -> None:
    """One requirement that does not hold is enough."""
    labels = {key: value for key, value in LABELS.items() if key != "empty"}
    assert not all(satisfies(requirement, labels) for requirement in parse_selector(text))


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "a=b,",
        ",a",
        "=b",
        "a=b=c",
        "a=b c",
        "a in b",
        "a in (b",
        "a in b)",
        "a (b)",
        "!a=b",
        "!",
        "a!",
        "a/b/c=d",
        "a=b/c",
        "a=" + "x" * 64,
        "a>x",
        "a>",
        "a in (b/c)",
        "((",
        "a\x00",
    ],
)
def test_what_is_no_selector(text: str) -> None:
    """Whatever kubectl would refuse is refused, in words."""
    with pytest.raises(ValueError, match=r"^invalid "):
        parse_selector(text)


@given(st.text(alphabet="ab=!,()<> in/.\x00é", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a ValueError comes of any text."""
    with suppress(ValueError):
        assert all(entry.key for entry in parse_selector(text))
