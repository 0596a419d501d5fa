"""A set as it is stored: what its images and nodes are, and how they are to be pulled."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from common.durations import DURATION, seconds_of
from common.subjects import SET_NAME
from coordinator.core.sets.gate import SetGate
from coordinator.core.task import Creator, SetName, StoredRecord, TaskSpec, Time

_NAME: Final = re.compile(SET_NAME)
Generation = Annotated[int, Meta(ge=1, le=2**53)]
DURATION_LENGTH: Final = 20
Duration = Annotated[str, Meta(pattern=rf"^{DURATION}\Z", max_length=DURATION_LENGTH)]
CRON_LENGTH: Final = 100
ZONE_LENGTH: Final = 64
SHORTEST_WINDOW: Final = 60
LONGEST_WINDOW: Final = 7 * 86_400
"""Seconds."""


SHORTEST_REFRESH: Final = 60
LONGEST_REFRESH: Final = 7 * 86_400


class Joins(StrEnum):
    """When nodes that are new to a set are warmed. The values are public."""

    WINDOW = "window"
    ALWAYS = "always"


def is_set_name(text: str) -> bool:
    """Whether a text is an RFC 1123 label of at most 50 characters."""
    return _NAME.fullmatch(text) is not None


class Schedule(StoredRecord, frozen=True, kw_only=True):
    """When a set may pull: for so long from each moment that cron names."""

    cron: Annotated[str, Meta(max_length=CRON_LENGTH)]
    """Five fields."""
    time_zone: Annotated[str, Meta(max_length=ZONE_LENGTH)] = "UTC"
    """Of the IANA data base."""
    window: Duration
    """As the user wrote it."""
    joins: Joins = Joins.WINDOW

    @property
    def window_seconds(self) -> int:
        """How long a window is open."""
        return max(SHORTEST_WINDOW, min(seconds_of(self.window), LONGEST_WINDOW))


class Refresh(StoredRecord, frozen=True, kw_only=True):
    """How often registries are asked whether tags have moved."""

    tags: Duration
    """As the user wrote it."""


class SetHead(StoredRecord, frozen=True, kw_only=True):
    """One set, swapped as a whole whenever it is changed. Times are milliseconds since 1970."""

    name: SetName
    spec: TaskSpec
    """Its images, nodes, and how each repair is to be."""
    paused: bool = False
    schedule: Schedule | None = None
    refresh: Refresh | None = None
    refresh_asked_at: Time = 0
    """When a user last asked for a look at the tags (ms since 1970); 0 for never."""
    gate: SetGate | None = None
    gate_since: Time = 0
    """When the gate was put as it is."""
    generation: Generation = 1
    """Counts what was put under the name since it was created."""
    created_at: Time
    updated_at: Time
    created_by: Creator | None = None
    """Whose set it is: who put it last."""

    @property
    def references(self) -> tuple[str, ...]:
        """What the runtimes of its nodes are to have."""
        return tuple(image.reference for image in self.spec.work)
