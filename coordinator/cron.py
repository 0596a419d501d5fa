"""When the windows of a schedule begin and end: five-field cron in a time zone.

No clock is read. A moment that the clocks skip is at the end of what they skip, and one that they
show twice is the first of both; where minutes or hours begin with a star, a run is at each moment
that the clocks show so (as Debian's cron, https://manpages.debian.org/cron.8).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from coordinator.core.sets.head import Schedule
from coordinator.core.sets.windows import Window

OVERLAP_SECONDS: Final = 3 * 3600
"""No clock is put back further."""
LOOKS_BACK: Final = 7200
"""Seconds in which the last run is looked for first: of a run a minute that is 120 of them."""
_ANY_START: Final = datetime(2001, 1, 1, tzinfo=UTC)
"""Days of a month and of a week come together again within 28 years; 50 are searched."""

_FIELDS: Final = re.compile(r"[0-9A-Za-z*,/#-]+(?: +[0-9A-Za-z*,/#-]+){4}")
_ZONE: Final = re.compile(r"[A-Z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9_+-]{1,31}){0,2}")
_UNREADABLE: Final = (CronSimError, KeyError, ValueError, OSError, OverflowError)
"""What a schedule that another version, or another system, can read raises here."""


def is_cron(text: str) -> bool:
    """Whether a text is five fields of cron that hold of any moment at all."""
    if _FIELDS.fullmatch(text) is None:
        return False
    try:
        return next(CronSim(text, _ANY_START), None) is not None
    except CronSimError:
        return False


def is_zone(text: str) -> bool:
    """Whether a text names a time zone of the IANA data base that is known here."""
    try:
        _zone(text)
    except _UNREADABLE:
        return False
    return True


@lru_cache(maxsize=512)
def _zone(text: str) -> ZoneInfo:
    if _ZONE.fullmatch(text) is None:
        raise ValueError(text)
    return ZoneInfo(text)


def window_at(schedule: Schedule, now: float) -> Window:
    """What a schedule says of a moment (seconds since 1970); nothing of an unreadable one."""
    try:
        zone, seconds = _zone(schedule.time_zone), schedule.window_seconds
        last = _last(schedule.cron, zone, now, seconds)
        next_one = next(_runs(schedule.cron, zone, now), None)
        shown = "" if next_one is None else f"{datetime.fromtimestamp(next_one, zone):%F %H:%M}"
    except _UNREADABLE:
        return Window(None, None)
    return Window(None if last is None else last + seconds, next_one, shown)


def _last(cron: str, zone: ZoneInfo, now: float, seconds: int) -> float | None:
    """The last run within so many seconds before a moment, that included; None where none is."""
    for back in sorted({min(LOOKS_BACK, seconds), seconds}):
        last = None
        for run in _runs(cron, zone, now - back):
            if run > now:
                break
            last = run
        if last is not None:
            return last
    return None


def _runs(cron: str, zone: ZoneInfo, after: float) -> Iterator[float]:
    """Every run after a moment. Clocks may show the same twice, so the search begins before."""
    for run in CronSim(cron, datetime.fromtimestamp(after - OVERLAP_SECONDS, zone)):
        if (moment := run.timestamp()) > after:
            yield moment
