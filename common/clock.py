"""Time that passes, however the wall clock is set."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

elapsed: Final = partial(time.clock_gettime, _CLOCK)
"""Seconds since the machine was started, those in which it slept included (on Linux)."""


class Clock:
    """Seconds since 1970 that never fall: the wall clock at the start, then what has passed.

    Retries and silence are measured with it; a wall clock that is set later does not move them.
    """

    def __init__(self, wall: Callable[[], float], elapsed: Callable[[], float]) -> None:
        """``wall``: seconds since 1970; ``elapsed``: seconds since some moment, never falling."""
        self._elapsed = elapsed
        self._offset = wall() - elapsed()

    def __call__(self) -> float:
        """Seconds since 1970, at this moment."""
        return self._elapsed() + self._offset

    def begin_at(self, now: float) -> None:
        """Show this time from now on; only before anybody lives by it."""
        self._offset = now - self._elapsed()
