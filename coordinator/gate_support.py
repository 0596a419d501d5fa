"""Whether gates of sets work here, as far as this coordinator knows."""

from __future__ import annotations

from common.gate_texts import GATE_REFUSED
from common.text import Text


class GateSupport:
    """Asked by whoever shows sets; told by whoever asks Kubernetes for its rights, or uses them."""

    def __init__(self, off: Text | None) -> None:
        """``off``: why no gate can be kept here at all; None where they can."""
        self.off = off
        self._missing: dict[tuple[str, str], Text] = {}

    @property
    def trouble(self) -> Text | None:
        """What keeps gates from working as they should; None where nothing does."""
        return self.off or next(iter(self._missing.values()), None)

    def refused(self, right: str, why: str, *, seen_by: str) -> bool:
        """Somebody has seen that a right to patch is missing; whether that is news."""
        is_new = (right, seen_by) not in self._missing
        self._missing[right, seen_by] = GATE_REFUSED(right=right, why=why.rstrip("."))
        return is_new

    def granted(self, right: str, *, seen_by: str) -> bool:
        """It is there, by the same one; whether that is news."""
        return self._missing.pop((right, seen_by), None) is not None
