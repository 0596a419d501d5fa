"""How long to wait before the next try: full jitter, so that a crowd does not come back at once."""

from __future__ import annotations

import random


class Backoff:
    """Waits drawn from zero to a ceiling that doubles with each try: 0, then 0.25 s, 0.5 s, 1 s.

    ``ceiling``: the longest wait in seconds. ``rng``: what draws; the process's own if None.
    """

    FIRST_CEILING = 0.25

    def __init__(self, ceiling: float, rng: random.Random | None = None) -> None:
        self._limit = ceiling
        self._uniform = random.uniform if rng is None else rng.uniform
        self._ceiling = 0.0

    def next(self) -> float:
        """Draw the seconds to wait now."""
        wait = self._uniform(0, self._ceiling)
        self._ceiling = min(self._limit, max(self.FIRST_CEILING, self._ceiling * 2))
        return wait

    def reset(self) -> None:
        """Forget the failures; even so the next wait is not zero, for a crowd was cut off."""
        self._ceiling = min(self._limit, self.FIRST_CEILING)
