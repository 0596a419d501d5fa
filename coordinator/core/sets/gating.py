"""What is to become of a Node by the gates of its sets. Pure; the one place that decides it.

A Node's condition and label follow how it stands in each set that is gated. Its startup taint goes
as soon as every gate that names it is met or open. Nothing is ever added to a Node's taints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from common import gate_texts as texts
from common.durations import seconds_of
from common.text import Text
from coordinator.core.sets.gate import LABEL_VALUE, OPEN_AFTER, SetGate
from coordinator.core.sets.standing import SetNode, SetNodePhase

UNCLAIMED_SECONDS: Final = float(seconds_of(OPEN_AFTER))
"""So long after its beginning a Node keeps a taint that no gate of its sets names: its labels may
come later than itself, and the set too."""
REASONS_NAMED: Final = 3
"""Sets of which an Event says why they are not warm."""


class ConditionStatus(StrEnum):
    """As Kubernetes has it."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionMark(NamedTuple):
    """What tells one state of a condition from another: while it stays, nothing is written."""

    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class NodeMarks:
    """What a Node says that is of gates."""

    uid: str
    created_at: float
    """Seconds since 1970."""
    conditions: Mapping[str, ConditionMark] = field(default_factory=dict)
    """By the name of the set."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """By the name of the set."""
    taints: tuple[str, ...] = ()
    """Keys under our domain, each once, sorted."""


@dataclass(frozen=True, slots=True)
class GatedSet:
    """How a Node stands in a set that has a gate."""

    name: str
    gate: SetGate
    since: float
    """When the gate was put as it is (seconds since 1970)."""
    standing: SetNode
    is_heard: bool
    """Whether it is known which images are there."""
    judged_from: float = 0.0
    """Before that moment nothing is made of what was not heard."""

    @property
    def is_met(self) -> bool:
        """Whether the node is warm."""
        return self.standing.phase is SetNodePhase.WARM


class WantedCondition(NamedTuple):
    """A condition as it is to be written."""

    mark: ConditionMark
    text: Text
    is_turn: bool
    """Whether its status is another one by that."""


@dataclass(frozen=True, slots=True)
class TakenTaint:
    """A taint that is to go."""

    key: str
    warning: Text | None = None
    """Why it goes although not every gate is met; None where all are."""
    opened_at: float = 0.0


@dataclass(slots=True)
class NodeGates:
    """What is to be changed of one Node; nothing, where all is as it should be."""

    conditions: dict[str, WantedCondition | None] = field(default_factory=dict)
    """By the name of the set; None for one that is to go."""
    labels: dict[str, str | None] = field(default_factory=dict)
    """As above."""
    taints: list[TakenTaint] = field(default_factory=list)
    look_again: float | None = None
    """When time alone makes a difference (seconds since 1970)."""

    def __bool__(self) -> bool:
        return bool(self.conditions or self.labels or self.taints)

    def wait(self, until: float) -> None:
        """Have the Node looked at then, or before."""
        self.look_again = until if self.look_again is None else min(until, self.look_again)


class Taints(NamedTuple):
    """What is remembered of a Node's taints beyond what it says."""

    appeared: Mapping[str, float]
    """When one was put onto a Node that was there without it."""
    released: frozenset[str] = frozenset()
    """Keys whose gate the Node was in, and which went or changed."""


NO_TAINTS: Final = Taints({})


def decide(
    node: str,
    marks: NodeMarks,
    gated: Sequence[GatedSet],
    is_ours: Callable[[str], bool],
    now: float,
    remembered: Taints = NO_TAINTS,
) -> NodeGates:
    """Compare what a Node says with how it stands; ``is_ours``: whether a set is or was one."""
    found = NodeGates()
    kept = {each.name: each for each in gated if each.gate.condition}
    for each in kept.values():
        if _is_early(each, now):
            found.wait(each.judged_from)
        else:
            _compare(node, marks, each, found)
    for name in marks.conditions:
        if name not in kept and is_ours(name):
            found.conditions[name] = None
    for name in marks.labels:
        if name not in kept and is_ours(name):
            found.labels[name] = None
    for key in marks.taints:
        _look_at_taint(node, marks, key, gated, found, remembered, now)
    return found


def _is_early(each: GatedSet, now: float) -> bool:
    return not each.is_heard and now < each.judged_from


def _compare(node: str, marks: NodeMarks, each: GatedSet, found: NodeGates) -> None:
    mark, text = condition_of(node, each)
    said = marks.conditions.get(each.name)
    if said != mark:
        is_turn = said is None or said.status != mark.status
        found.conditions[each.name] = WantedCondition(mark, text, is_turn)
    label = LABEL_VALUE if each.is_met else None
    if marks.labels.get(each.name) != label:
        found.labels[each.name] = label


def condition_of(node: str, each: GatedSet) -> tuple[ConditionMark, Text]:
    """The condition of a Node for one set."""
    standing = each.standing
    if each.is_met:
        text = texts.GATE_NODE_WARM(set=each.name, node=node)
        return ConditionMark(ConditionStatus.TRUE, "Warm"), text
    if not each.is_heard:
        text = standing.text or texts.GATE_NODE_UNHEARD(set=each.name, node=node)
        return ConditionMark(ConditionStatus.UNKNOWN, standing.reason or "NotHeard"), text
    text = standing.text or texts.GATE_NODE_COLD(set=each.name, node=node)
    return ConditionMark(ConditionStatus.FALSE, standing.reason or "Warming"), text


def _look_at_taint(
    node: str,
    marks: NodeMarks,
    key: str,
    gated: Sequence[GatedSet],
    found: NodeGates,
    remembered: Taints,
    now: float,
) -> None:
    """A taint goes when all gates that name it are met or open."""
    began = max(marks.created_at, remembered.appeared.get(key, 0.0))
    claims = [each for each in gated if each.gate.taint == key]
    unmet = [each for each in claims if not each.is_met]
    if not unmet if claims else key in remembered.released:
        found.taints.append(TakenTaint(key))
    else:
        opens = [max(began, each.since) + each.gate.open_after_seconds for each in unmet]
        opens += [each.judged_from for each in unmet if _is_early(each, now)]
        opens_at = max(opens, default=began + UNCLAIMED_SECONDS)
        if now < opens_at:
            found.wait(opens_at)
        else:
            found.taints.append(TakenTaint(key, _warning(node, key, unmet), opens_at))


def _warning(node: str, key: str, unmet: Sequence[GatedSet]) -> Text:
    if not unmet:
        return texts.GATE_UNCLAIMED(taint=key, node=node)
    named = [f"{each.name}: {_why(node, each)}" for each in unmet[:REASONS_NAMED]]
    if len(unmet) > REASONS_NAMED:
        named.append(f"{len(unmet) - REASONS_NAMED} sets more")
    return texts.GATE_OPENED(taint=key, node=node, sets="; ".join(named))


def _why(node: str, each: GatedSet) -> str:
    mark, text = condition_of(node, each)
    return f"{mark.reason} ({text.message.rstrip('.')})"
