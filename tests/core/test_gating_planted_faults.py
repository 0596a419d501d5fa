"""Whether the laws of gates would find plausible bugs: each is planted, and found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from common.text import Text
from coordinator.core.sets import gating
from coordinator.core.sets.gating import ConditionMark, GatedSet, NodeGates, TakenTaint
from tests.core.gate_laws import cases, check

pytestmark = [pytest.mark.pure, pytest.mark.deep, pytest.mark.timeout(300)]

Fault = Callable[[pytest.MonkeyPatch], None]
FAULTS: list[Fault] = []


def planted(fault: Fault) -> Fault:
    """A plausible bug, to be found."""
    FAULTS.append(fault)
    return fault


@planted
def a_condition_of_others_is_taken_away(patch: pytest.MonkeyPatch) -> None:
    """Whatever looks like ours is."""
    decide = gating.decide
    patch.setattr(
        gating, "decide", lambda n, m, g, _ours, now, r: decide(n, m, g, lambda _: True, now, r)
    )


@planted
def what_was_not_heard_is_made_something_of(patch: pytest.MonkeyPatch) -> None:
    """A leader that has just begun calls the whole cluster cold."""
    patch.setattr(gating, "_is_early", lambda _each, _now: False)


@planted
def one_gate_that_is_met_is_enough(patch: pytest.MonkeyPatch) -> None:
    """Its taint goes although another set is not warm."""
    look = gating._look_at_taint

    def hasty(node: Any, marks: Any, key: str, gated: Any, *rest: Any) -> None:
        met = [each for each in gated if each.gate.taint == key and each.is_met]
        look(node, marks, key, met or gated, *rest)

    patch.setattr(gating, "_look_at_taint", hasty)


@planted
def a_gate_never_opens(patch: pytest.MonkeyPatch) -> None:
    """Its time is counted from now on, at each look."""
    look = gating._look_at_taint

    def forgetful(n: Any, m: Any, k: Any, g: Any, found: NodeGates, r: Any, now: float) -> None:
        look(n, replace(m, created_at=now), k, g, found, r, now)

    patch.setattr(gating, "_look_at_taint", forgetful)


@planted
def nobody_is_told_that_a_gate_opened(patch: pytest.MonkeyPatch) -> None:
    """The taint goes as if all were well."""
    patch.setattr(gating, "TakenTaint", lambda key, *_: TakenTaint(key))


@planted
def a_taint_that_no_gate_names_stays(patch: pytest.MonkeyPatch) -> None:
    """And its Node takes no pod, for ever."""
    patch.setattr(gating, "UNCLAIMED_SECONDS", 1e12)


@planted
def a_change_of_the_gate_does_not_count(patch: pytest.MonkeyPatch) -> None:
    """It opens at once on a Node that is older than it."""
    look = gating._look_at_taint

    def careless(n: Any, m: Any, k: Any, gated: Any, *rest: Any) -> None:
        look(n, m, k, [replace(each, since=0.0) for each in gated], *rest)

    patch.setattr(gating, "_look_at_taint", careless)


@planted
def the_label_stays_on_a_cold_node(patch: pytest.MonkeyPatch) -> None:
    """Only the condition is compared where it was said before."""
    compare = gating._compare

    def lazy(node: str, marks: Any, each: GatedSet, found: NodeGates) -> None:
        compare(node, marks, each, found)
        if not each.is_met:
            found.labels.pop(each.name, None)

    patch.setattr(gating, "_compare", lazy)


@planted
def the_same_is_written_again(patch: pytest.MonkeyPatch) -> None:
    """Because a sentence differs."""
    condition_of = gating.condition_of

    def wordy(node: str, each: GatedSet) -> tuple[ConditionMark, Text]:
        mark, text = condition_of(node, each)
        return ConditionMark(mark.status, f"{mark.reason}{id(text)}"), text

    patch.setattr(gating, "condition_of", wordy)


@planted
def what_is_not_warm_is_called_unknown(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether it was heard."""
    condition_of = gating.condition_of
    patch.setattr(
        gating, "condition_of", lambda node, each: condition_of(node, replace(each, is_heard=False))
    )


@planted
def nobody_looks_again(patch: pytest.MonkeyPatch) -> None:
    """Time alone opens no gate."""
    patch.setattr(NodeGates, "wait", lambda _self, _until: None)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_planted_faults_are_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the laws, within some hundred Nodes."""
    fault(monkeypatch)
    found = given(cases())(check)
    with pytest.raises((AssertionError, ExceptionGroup, KeyError)):
        settings(
            max_examples=2000,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            database=None,
            deadline=None,
        )(found)()
