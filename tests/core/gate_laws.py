"""Nodes, gates and how nodes stand, drawn; and what holds of every decision about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from hypothesis import strategies as st

from common.text import Text
from coordinator.core.sets import gating
from coordinator.core.sets.gate import LABEL_VALUE, SetGate
from coordinator.core.sets.gating import (
    ConditionMark,
    ConditionStatus,
    GatedSet,
    NodeGates,
    NodeMarks,
    Taints,
)
from coordinator.core.sets.standing import SetNode, SetNodePhase

NOW: Final = 1_000_000.0
NODE: Final = "n1"
SETS: Final = ("a", "b", "c", "gone", "foreign")
"""The first three may be gated, the fourth was deleted, and the last is another installation's."""
OURS: Final = frozenset(SETS[:4])
KEYS: Final = ("ips.dev/warming", "ips.dev/starting", "ips.dev/other")
STATUSES: Final = ("True", "False", "Unknown", "?")
_TIMES: Final = st.sampled_from((0.0, NOW - 700, NOW - 600, NOW - 599, NOW - 30, NOW, NOW + 50))


@dataclass(frozen=True)
class Case:
    """All that a decision depends on."""

    marks: NodeMarks
    gated: tuple[GatedSet, ...]
    remembered: Taints
    now: float = NOW

    def decide(self) -> NodeGates:
        """What is to be changed."""
        return gating.decide(
            NODE, self.marks, self.gated, OURS.__contains__, self.now, self.remembered
        )


@st.composite
def _gated(draw: st.DrawFn, name: str) -> GatedSet:
    phase = draw(st.sampled_from(SetNodePhase))
    reasons = {SetNodePhase.FAILED: "ImageNotFound", SetNodePhase.BLOCKED: "NoAgent"}
    return GatedSet(
        name,
        SetGate(
            condition=draw(st.booleans()),
            taint=draw(st.sampled_from((None, *KEYS[:2]))),
            open_after=draw(st.sampled_from(("10m", "1s", "1h"))),
        ),
        since=draw(_TIMES),
        standing=SetNode(NODE, phase, reasons.get(phase), Text("because.")),
        is_heard=phase is SetNodePhase.WARM or draw(st.booleans()),
        judged_from=draw(st.sampled_from((0.0, NOW + 20))),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any Node in any sets."""
    marks = NodeMarks(
        "uid",
        draw(_TIMES),
        draw(
            st.dictionaries(
                st.sampled_from(SETS),
                st.builds(
                    ConditionMark,
                    st.sampled_from(STATUSES),
                    st.sampled_from(("Warm", "Warming", "NoAgent", "NotHeard")),
                ),
            )
        ),
        draw(st.dictionaries(st.sampled_from(SETS), st.sampled_from((LABEL_VALUE, "false")))),
        tuple(sorted(draw(st.sets(st.sampled_from(KEYS))))),
    )
    names = draw(st.sets(st.sampled_from(SETS[:3])))
    gated = tuple(draw(_gated(name)) for name in sorted(names))
    appeared = draw(st.dictionaries(st.sampled_from(KEYS), _TIMES))
    released = draw(st.frozensets(st.sampled_from(KEYS)))
    return Case(marks, gated, Taints(appeared, released))


def applied(case: Case, gates: NodeGates) -> Case:
    """The same after everything was written."""
    marks = case.marks
    conditions, labels = dict(marks.conditions), dict(marks.labels)
    for name, wanted in gates.conditions.items():
        if wanted is None:
            del conditions[name]  # there is nothing to take away where there is none
        else:
            conditions[name] = wanted.mark
    for name, value in gates.labels.items():
        if value is None:
            del labels[name]
        else:
            labels[name] = value
    gone = {each.key for each in gates.taints}
    assert gone <= set(marks.taints)
    left = tuple(key for key in marks.taints if key not in gone)
    return replace(case, marks=replace(marks, conditions=conditions, labels=labels, taints=left))


def check(case: Case) -> None:
    """Every law."""
    gates = case.decide()
    after = applied(case, gates)
    assert not after.decide(), "what was written is written again"
    _check_conditions(case, after.marks)
    _check_taints(case, gates)
    at_last = replace(after, now=max(NOW + 3650.0, *(e.since + 3601 for e in case.gated), 0.0))
    assert applied(at_last, at_last.decide()).marks.taints == (), "a gate never opens"
    if gates.look_again is not None:
        assert gates.look_again > case.now, "it is to be looked at again at once, for ever"
        later = replace(after, now=gates.look_again)
        assert later.decide() or any(e.judged_from for e in case.gated), "it was waited in vain"
    elif after.marks.taints:
        raise AssertionError("nobody looks after a taint")


def _check_conditions(case: Case, marks: NodeMarks) -> None:
    kept = {each.name: each for each in case.gated if each.gate.condition}
    for name in SETS:
        if name not in OURS:
            assert marks.conditions.get(name) == case.marks.conditions.get(name)
            assert marks.labels.get(name) == case.marks.labels.get(name)
        elif name not in kept:
            assert name not in marks.conditions
            assert name not in marks.labels
        elif kept[name].is_heard or kept[name].judged_from <= case.now:
            mark, is_warm = marks.conditions[name], kept[name].is_met
            assert (mark.status == ConditionStatus.TRUE) == is_warm
            assert (marks.labels.get(name) == LABEL_VALUE) == is_warm
            assert (mark.status == ConditionStatus.UNKNOWN) == (
                not kept[name].is_heard and not is_warm
            )
        else:
            assert marks.conditions.get(name) == case.marks.conditions.get(name)
            assert marks.labels.get(name) == case.marks.labels.get(name)


def _check_taints(case: Case, gates: NodeGates) -> None:
    taken = {each.key: each for each in gates.taints}
    for key in case.marks.taints:
        began = max(case.marks.created_at, case.remembered.appeared.get(key, 0.0))
        claims = [each for each in case.gated if each.gate.taint == key]
        cold = [each for each in claims if not each.is_met]
        if not cold if claims else key in case.remembered.released:
            assert taken[key].warning is None
        elif not claims:
            assert (key in taken) == (began + 600 <= case.now)
        elif any(
            case.now < max(began, each.since) + each.gate.open_after_seconds
            or (not each.is_heard and case.now < each.judged_from)
            for each in cold
        ):
            assert key not in taken
        else:
            assert taken[key].warning is not None, "a gate opens, and nobody says so"
