"""What of a set as a whole is in no inventory, and outlives every coordinator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coordinator.core.sets.freshness import LookFailure
from coordinator.core.sets.repairs import InVain


@dataclass(frozen=True, slots=True)
class Rest:
    """Why a set is left alone for a while, as it was put last."""

    generation: int
    """Of the set: put anew, it is tried at once."""
    look_failure: LookFailure | None = None
    in_vain: InVain | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to remember."""
        return self.look_failure is not None or self.in_vain is not None

    def bounded(self, now: float) -> Rest:
        """The same, with no time later than one that is noted at this moment can be."""
        look, in_vain = self.look_failure, self.in_vain
        return Rest(
            self.generation,
            None if look is None else look.bounded(now),
            None if in_vain is None else in_vain.bounded(now),
        )


NO_REST: Final = Rest(0)
