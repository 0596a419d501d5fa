"""How long to wait before the next try: full jitter, so that a crowd does not come back at once."""

from __future__ import annotations

import random


class Backoff:
    """Waits drawn from zero to a ceiling that doubles with each try: 0, then 0.25 s, 0.5 s, 1 s."""

    FIRST_CEILING = 0.25

    def __init__(self, ceiling: float, source: random.Random | None = None) -> None:
        """``source`` draws the waits; without one they are not repeatable."""
        self._limit = ceiling
        self._uniform = random.uniform if source is None else source.uniform
        self._ceiling = 0.0

    def next(self) -> float:
        """Draw the seconds to wait now."""
        wait = self._uniform(0, self._ceiling)
        self._ceiling = min(self._limit, max(self.FIRST_CEILING, self._ceiling * 2))
        return wait

    def reset(self) -> None:
        """Forget the failures; even so the next wait is not zero, for a crowd was cut off."""
        self._ceiling = min(self._limit, self.FIRST_CEILING)
