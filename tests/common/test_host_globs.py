"""Globs of one label of a host."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.host_globs import LabelGlob

pytestmark = pytest.mark.pure


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_stars_and_question_marks(glob: str, label: str) -> None:
    """As everybody reads them."""
    assert LabelGlob(glob).matches(label) == fnmatchcase(label, glob)


@pytest.mark.parametrize(
    ("glob", "label"), [("[a]", "a"), ("[!b]", "a"), ("[^b]", "a"), ("\\a", "a"), ("*]", "a]")]
)
def test_what_is_not_read(glob: str, label: str) -> None:
    """What a class means is another thing to Go than to others."""
    assert not LabelGlob(glob).matches(label)


def test_a_long_glob() -> None:
    """Nothing is tried twice, and what is longer than any host is not even read."""
    label = "a" * 250
    assert LabelGlob("*a" * 250).matches(label)
    assert not LabelGlob("*a" * 251).matches(label)
    assert not LabelGlob("*a" * 1_000_000).matches(label)
