"""Exit codes, as they are documented."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

COMPLETED: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
CANCELLED: Final = 3
TIME_LIMIT: Final = 4
NO_ANSWER: Final = 5
INTERRUPTED: Final = 130
"""Ctrl-C, as shells say it."""

OF_STATUS: Final = {"completed": COMPLETED, "failed": FAILED, "cancelled": CANCELLED}
_WORST_FIRST: Final = (NO_ANSWER, TIME_LIMIT, WRONG_USE, FAILED, CANCELLED, COMPLETED)


def worst(codes: Iterable[int]) -> int:
    """The code of several things together."""
    return min(codes, key=_WORST_FIRST.index, default=COMPLETED)
