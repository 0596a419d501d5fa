"""What becomes of a Node by the gates of its sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.durations import seconds_of
from common.text import Text
from coordinator.core.sets import gating
from coordinator.core.sets.gate import SetGate, is_open_after, is_taint_key
from coordinator.core.sets.gating import GatedSet
from coordinator.core.sets.standing import SetNode, SetNodePhase
from tests.core.gate_laws import Case, cases, check

pytestmark = pytest.mark.pure


@given(cases())
def test_what_holds_of_every_node(case: Case) -> None:
    """It converges, keeps to its own, is true, and leaves no taint for ever."""
    check(case)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h0m5s", 3605)]
)
def test_durations(text: str, seconds: int) -> None:
    """As people write them."""
    assert seconds_of(text) == seconds


@given(st.one_of(st.text(), st.from_regex(r"[0-9]{0,9}[hms]?[0-9]{0,9}[hms]?")))
def test_no_other_text_opens_a_gate(text: str) -> None:
    """What is taken is from a second to a week."""
    if is_open_after(text):
        assert 1 <= seconds_of(text) <= 7 * 24 * 3600


@pytest.mark.parametrize(
    ("key", "is_one"),
    [
        ("ips.dev/warming", True),
        ("ips.dev/a", True),
        ("ips.dev/" + "a" * 63, True),
        ("ips.dev/" + "a" * 64, False),
        ("ips.dev/", False),
        ("ips.dev/-a", False),
        ("ips.dev/a\n", False),
        ("ipsxdev/a", False),
        ("node.kubernetes.io/not-ready", False),
    ],
)
def test_taints_of_ours(key: str, *, is_one: bool) -> None:
    """No gate takes another's away."""
    assert is_taint_key(key) is is_one


def test_an_event_says_which_sets_are_not_warm() -> None:
    """And why, of the first."""
    case = Case(
        gating.NodeMarks("uid", 0.0, taints=("ips.dev/warming",)),
        tuple(
            GatedSet(
                name,
                SetGate(taint="ips.dev/warming"),
                0.0,
                SetNode("n1", SetNodePhase.BLOCKED, "Unauthorized", Text("At r.corp.")),
                is_heard=True,
            )
            for name in "abcde"
        ),
        gating.NO_TAINTS,
    )
    [taken] = case.decide().taints
    assert taken.warning is not None
    assert "a: Unauthorized (At r.corp); b: " in taken.warning.message
    assert "2 sets more" in taken.warning.message
