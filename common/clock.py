"""Time that passes, however the wall clock is set."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

elapsed: Final = partial(time.clock_gettime, _CLOCK)
"""Seconds since the machine was started, those in which it slept included (on Linux)."""
