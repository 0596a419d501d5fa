"""Numbers and times in words."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP: Final = 1024
_THREE_DIGITS: Final = 99.95
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def size(count: float) -> str:
    """Bytes with three digits: ``512 B``, ``1.2 GiB``, ``118 MiB``."""
    value, unit = float(count), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    digits = 0 if unit == 0 or value >= _THREE_DIGITS else 1
    return f"{value:.{digits}f} {_UNITS[unit]}"


def transfer(done: int, total: int | None) -> str:
    """What has come of a whole: ``12.0 of 41.2 MiB``."""
    if not total:
        return size(done)
    whole, part = size(total), size(done)
    same_unit = whole.rpartition(" ")[2] == part.rpartition(" ")[2]
    return f"{part.rpartition(' ')[0] if same_unit else part} of {whole}"


def span(seconds: float) -> str:
    """A duration: ``8s``, ``2m05s``, ``1h30m``, ``3d4h``."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR}h"


def roughly(seconds: float) -> str:
    """An estimate, with two digits that count: ``~4m10s``, ``~1h50m``."""
    steps = ((36_000, 3_600), (3_600, 600), (600, 60), (60, 10))
    step = next((step for least, step in steps if seconds >= least), 1)
    return f"~{span(max(1, round(seconds / step) * step))}"


def age(moment: datetime) -> str:
    """How long ago something was."""
    return span((datetime.now(timezone.utc) - moment).total_seconds())


def stamp(moment: datetime) -> str:
    """A time on the user's clock, with its offset: ``2026-01-16 16:12:34+01:00``."""
    return moment.astimezone().isoformat(" ", "seconds")


def clock(moment: datetime) -> str:
    """The same without the day."""
    return stamp(moment).partition(" ")[2]


def count(number: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def cut(text: str, width: int) -> str:
    """A text that is no wider."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"[: max(0, width)]


def cut_middle(text: str, width: int) -> str:
    """A text that is no wider; names differ at their ends, so that its middle goes."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def shown(text: str) -> str:
    """A text without anything that steers a terminal: control characters become their escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
