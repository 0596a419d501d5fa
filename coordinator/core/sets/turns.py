"""Since when what holds of a set holds, and what is told when it turns."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.core.sets.decisions import SetChange, SetTurned
from coordinator.core.sets.standing import SetCondition, Tally


@dataclass(frozen=True, slots=True)
class Turn:
    """A condition, and since when (seconds since 1970) it is as it is."""

    holds: bool
    since: float


class Turns:
    """By set and condition. What held when this core first looked is told of new sets alone."""

    def __init__(self) -> None:
        self._turns: dict[str, dict[SetCondition, Turn]] = {}
        self._fresh: set[str] = set()
        """Sets that were put since this core began, and were not looked at yet."""

    def get(self, name: str, condition: SetCondition) -> Turn | None:
        """The last turn of a condition; None where the set was not looked at yet."""
        return self._turns.get(name, {}).get(condition)

    def begin(self, name: str) -> None:
        """A set is new."""
        self._fresh.add(name)

    def forget(self, name: str) -> None:
        """A set is gone."""
        self._turns.pop(name, None)
        self._fresh.discard(name)

    def look(self, name: str, found: Tally, now: float) -> list[SetChange]:
        """See what holds of a set now; what has turned."""
        turned: list[SetChange] = []
        turns = self._turns.setdefault(name, {})
        for condition, state in found.conditions().items():
            before = turns.get(condition)
            if before is None or before.holds != state.holds:
                turns[condition] = Turn(state.holds, now)
                if before is not None or (name in self._fresh and state.holds):
                    turned.append(SetTurned(name, condition, state.holds))
        self._fresh.discard(name)
        return turned
