"""How a node of a set is, and how the set is as a whole: derived, never stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from common import set_texts as texts
from common.text import Text
from common.texts import (
    NODE_CONFLICT,
    NODE_CORDONED,
    NODE_NO_RUNTIME,
    NODE_NOT_READY,
    NODE_READY_UNKNOWN,
    NODE_UNSCHEDULABLE,
)


class SetNodePhase(StrEnum):
    """Each node of a set is in exactly one. The values are public."""

    WARM = "warm"
    PULLING = "pulling"
    WAITING = "waiting"
    """It is to be warmed, and nothing keeps it from that."""
    FAILED = "failed"
    """The last try failed; it is tried again by itself."""
    BLOCKED = "blocked"
    """Nothing is tried, or nothing but a look now and then: somebody has to mend something."""


class Blocked(StrEnum):
    """Why a node is blocked, beside the reasons for which a pull fails. The values are public."""

    CORDONED = "Cordoned"
    NOT_READY = "NotReady"
    NO_AGENT = "NoAgent"
    NO_RUNTIME = "NoRuntime"
    AGENT_CONFLICT = "AgentConflict"
    DISK_FULL = "DiskFull"
    THRASHING = "Thrashing"
    PAUSED = "Paused"
    OUTSIDE_WINDOW = "OutsideWindow"
    """It is to be warmed, and will be: this alone is no trouble of the set."""


BY_CODE: Final = {
    NODE_CORDONED.code: Blocked.CORDONED,
    NODE_NOT_READY.code: Blocked.NOT_READY,
    NODE_READY_UNKNOWN.code: Blocked.NOT_READY,
    NODE_UNSCHEDULABLE.code: Blocked.NOT_READY,
    NODE_CONFLICT.code: Blocked.AGENT_CONFLICT,
    NODE_NO_RUNTIME.code: Blocked.NO_RUNTIME,
}
"""What keeps a node from taking work, by the sentence that says so; any other is ``NO_AGENT``."""


@dataclass(frozen=True, slots=True)
class SetNode:
    """One node of a set at one moment."""

    node: str
    phase: SetNodePhase
    reason: str | None = None
    """A ``Blocked`` or a ``Reason``, of what failed or is blocked."""
    text: Text | None = None
    """Why it is not warm."""
    image: str | None = None
    """Which image failed, by its name in the set."""
    next_try: float | None = None
    """When it is tried again at the latest, in seconds since 1970."""
    task: str | None = None
    """The repair that it is in."""
    is_due: bool = False
    """Whether it could be warmed now."""


class SetCondition(StrEnum):
    """What holds of a set as a whole, or not. The values are public."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether a condition holds, and since when (seconds since 1970) it is so."""

    holds: bool
    since: float


@dataclass(frozen=True, slots=True)
class ConditionState:
    """A condition at one moment."""

    holds: bool
    reason: str
    text: Text


@dataclass(slots=True)
class Tally:
    """How many nodes of a set are how, and why not warm."""

    phases: dict[SetNodePhase, int] = field(default_factory=lambda: dict.fromkeys(SetNodePhase, 0))
    reasons: dict[str, int] = field(default_factory=dict)
    unrefreshed: Text | None = None
    """Why nobody knows whether its tags have moved."""

    @property
    def nodes(self) -> int:
        """All nodes of the set."""
        return sum(self.phases.values())

    @property
    def warm(self) -> int:
        """Nodes with every image."""
        return self.phases[SetNodePhase.WARM]

    def count(self, node: SetNode) -> None:
        """One more node."""
        self.phases[node.phase] += 1
        if node.reason is not None:
            self.reasons[node.reason] = self.reasons.get(node.reason, 0) + 1

    def conditions(self) -> dict[SetCondition, ConditionState]:
        """What holds of the set by that."""
        return {
            SetCondition.READY: self._ready(),
            SetCondition.PROGRESSING: self._progressing(),
            SetCondition.DEGRADED: self._degraded(),
        }

    def _ready(self) -> ConditionState:
        if not self.nodes:
            return ConditionState(holds=False, reason="NoNodes", text=texts.SET_NO_NODES())
        if self.warm == self.nodes:
            return ConditionState(
                holds=True, reason="AllWarm", text=texts.SET_ALL_WARM(nodes=self.nodes)
            )
        text = texts.SET_NOT_WARM(warm=self.warm, nodes=self.nodes)
        return ConditionState(holds=False, reason="NotAllWarm", text=text)

    def _progressing(self) -> ConditionState:
        busy = self.phases[SetNodePhase.PULLING] + self.phases[SetNodePhase.WAITING]
        if not busy:
            return ConditionState(holds=False, reason="AtRest", text=texts.SET_AT_REST())
        return ConditionState(holds=True, reason="Repairing", text=texts.SET_REPAIRING(nodes=busy))

    def _degraded(self) -> ConditionState:
        reasons = {each: n for each, n in self.reasons.items() if each != Blocked.OUTSIDE_WINDOW}
        troubled = sum(reasons.values())
        if not troubled and self.unrefreshed is not None:
            return ConditionState(holds=True, reason="RefreshFailed", text=self.unrefreshed)
        if not troubled:
            return ConditionState(holds=False, reason="Untroubled", text=texts.SET_UNTROUBLED())
        ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(f"{count} {reason}" for reason, count in ranked)
        return ConditionState(
            holds=True,
            reason=ranked[0][0],
            text=texts.SET_TROUBLED(nodes=troubled, reasons=listed),
        )
