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


NO_REST: Final = Rest(0)
