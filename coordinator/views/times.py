"""Times as the contract writes them, from whole milliseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from msgspec import UNSET, UnsetType

from coordinator.core.task import LATEST


def seconds(time: int) -> str:
    """RFC 3339 in UTC, cut to whole seconds; what lies beyond the years 1970 to 9999 is its end."""
    return f"{_whole(min(max(time, 0), LATEST) // 1000)}Z"


def milliseconds(time: int) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return f"{_whole(min(max(time, 0), LATEST) // 1000)}.{time % 1000:03}Z"


@lru_cache(maxsize=512)
def _whole(second: int) -> str:
    """Thousands of nodes begin and end within the same seconds."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


def seconds_if_known(time: int | None) -> str | UnsetType:
    """As ``seconds``; left out where there is none."""
    return UNSET if time is None else seconds(time)


def milliseconds_if_known(time: int | None) -> str | UnsetType:
    """As ``milliseconds``; left out where there is none."""
    return UNSET if time is None else milliseconds(time)
