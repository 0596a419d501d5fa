"""Durations as people write them into documents: ``90s``, ``10m``, ``1h30m``."""

from __future__ import annotations

import re
from typing import Final

DURATION: Final = r"(?=[0-9])(?:[0-9]{1,5}h)?(?:[0-9]{1,6}m)?(?:[0-9]{1,7}s)?"
"""Whole hours, minutes and seconds, in this order, each at most once."""
_PARTS: Final = re.compile(
    r"(?=[0-9])(?:(?P<h>[0-9]{1,5})h)?(?:(?P<m>[0-9]{1,6})m)?(?:(?P<s>[0-9]{1,7})s)?"
)


def seconds_of(text: str) -> int:
    """How long that is. Raises ValueError for what is no duration."""
    found = _PARTS.fullmatch(text)
    if found is None:
        raise ValueError("it is no duration such as 90s, 10m or 1h30m")
    hours, minutes, seconds = (int(found[part] or 0) for part in "hms")
    return hours * 3600 + minutes * 60 + seconds
