"""Since when what holds of a set holds. Only who leads sees it turn; who follows is told by notes.

A set that was there when this core began is not judged at once: which nodes there are and
what is on them is not heard yet, and so it would turn at each restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from coordinator.core.sets.decisions import SetTurned
from coordinator.core.sets.standing import SetCondition, Tally, Turn

HEARD_SECONDS: Final = 30.0
"""After which whoever is to be heard has been."""


class Turns:
    """By set and condition; the first look at a set that was never judged is a turn of each."""

    def __init__(self) -> None:
        self._turns: dict[str, dict[SetCondition, Turn]] = {}
        self._judged_from: dict[str, float] = {}
        """Of sets that were found."""

    def get(self, name: str, condition: SetCondition) -> Turn | None:
        """The last turn of a condition; None where none is known."""
        return self._turns.get(name, {}).get(condition)

    def find(self, name: str, now: float) -> None:
        """A set was there before this core."""
        self._judged_from.setdefault(name, now + HEARD_SECONDS)

    def judged_from(self, name: str) -> float:
        """When a set is judged for the first time (seconds since 1970)."""
        return self._judged_from.get(name, 0.0)

    def forget(self, name: str) -> None:
        """A set is gone."""
        self._turns.pop(name, None)
        self._judged_from.pop(name, None)

    def adopt(self, name: str, turns: Mapping[SetCondition, Turn]) -> None:
        """This is what the leader has seen last."""
        self._turns[name] = dict(turns)

    def look(self, name: str, found: Tally, now: float) -> list[SetTurned]:
        """See what holds of a set now; what has turned."""
        if now < self.judged_from(name):
            return []
        turned: list[SetTurned] = []
        turns = self._turns.setdefault(name, {})
        for condition, state in found.conditions().items():
            before = turns.get(condition)
            if before is None or before.holds != state.holds:
                turns[condition] = Turn(state.holds, now)
                turned.append(SetTurned(name, condition, turns[condition]))
        return turned
