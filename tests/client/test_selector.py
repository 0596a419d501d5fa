"""Selectors as kubectl takes them."""

from __future__ import annotations

import pytest
from ips_client.selector import parse_selector

pytestmark = pytest.mark.pure


def test_every_form() -> None:
    """Equality becomes labels, the rest expressions."""
    selection = parse_selector("a=b, c==d,e!=f,g in (h, i),j notin (k),l,!m,n>1,o<2,p=")
    assert selection.labels == {"a": "b", "c": "d", "p": ""}
    assert selection.expressions == [
        {"key": "e", "operator": "NotIn", "values": ["f"]},
        {"key": "g", "operator": "In", "values": ["h", "i"]},
        {"key": "j", "operator": "NotIn", "values": ["k"]},
        {"key": "l", "operator": "Exists"},
        {"key": "m", "operator": "DoesNotExist"},
        {"key": "n", "operator": "Gt", "values": ["1"]},
        {"key": "o", "operator": "Lt", "values": ["2"]},
    ]


def test_a_label_that_must_be_two_things() -> None:
    """Nothing is lost: the second demand is an expression, and no node matches."""
    selection = parse_selector("a=1,a=2,a=1")
    assert selection.labels == {"a": "1"}
    assert selection.expressions == [{"key": "a", "operator": "In", "values": ["2"]}]


@pytest.mark.parametrize("text", ["", "  "])
def test_nothing(text: str) -> None:
    """An empty selector demands nothing."""
    assert parse_selector(text) == ({}, [])


@pytest.mark.parametrize("text", ["a b", "=x", "a in b", "a=b,", "a in (b"])
def test_faults(text: str) -> None:
    """What is no selector is refused."""
    with pytest.raises(ValueError, match="invalid selector term"):
        parse_selector(text)
