"""Time that passes, however the wall clock is set."""

from __future__ import annotations

import time
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Seconds since the machine was started, those in which it slept included (on Linux)."""
    return time.clock_gettime(_CLOCK)
