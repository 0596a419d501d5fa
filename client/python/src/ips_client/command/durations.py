"""Durations as people write them on a command line."""

from __future__ import annotations

import argparse
import re
from typing import Final

_DURATION: Final = re.compile(
    r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?)s?)?", re.ASCII
)


def duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``10m``, ``1h30m``."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90s, 10m or 1h30m")
    return int(found["h"] or 0) * 3600 + int(found["m"] or 0) * 60 + float(found["s"] or 0)
