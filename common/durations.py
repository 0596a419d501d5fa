"""Durations as users write them: ``90s``, ``10m``, ``1h30m``, ``2d``."""

from __future__ import annotations

import re
from typing import Final

DURATION_LENGTH: Final = 20
DURATION: Final = r"(?=[0-9])(?:[0-9]{1,3}d)?(?:[0-9]{1,4}h)?(?:[0-9]{1,6}m)?(?:[0-9]{1,8}s)?"
"""A pattern: days, hours, minutes and seconds, each a whole number, in this order."""

_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION: Final = re.compile(DURATION)
_PART: Final = re.compile(r"([0-9]+)([dhms])")


def seconds_of(text: str) -> int | None:
    """The seconds of a duration; None for a text that is none."""
    if len(text) > DURATION_LENGTH or _DURATION.fullmatch(text) is None:
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
