"""The body of a put of a warm set: a create's, but for what is of one time, and what sets add.

The shape is made of ``CreateTask``, so that each field of a set has the rules of the task's field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import NODEFAULT, UNSET, UnsetType, inspect

from common import set_texts as texts
from common.durations import DURATION_LENGTH, seconds_of
from common.text import Text
from coordinator.api.create_body import CreateTask, order_of
from coordinator.api.faults import clipped, faults, quoted, rule
from coordinator.api.problems import bad_request
from coordinator.core.sets.head import (
    CRON_LENGTH,
    LONGEST_REFRESH,
    LONGEST_WINDOW,
    SHORTEST_REFRESH,
    SHORTEST_WINDOW,
    ZONE_LENGTH,
    Joins,
    Refresh,
    Schedule,
)
from coordinator.core.task import TaskSpec
from coordinator.cron import is_cron, is_zone

_NOT_OF_SETS: Final = frozenset({"node_names", "image_pull_policy"})
"""A set is for nodes by their labels, and is content with what is there."""
_HINTS: Final = get_type_hints(CreateTask, include_extras=True)


def _check_cron(text: str) -> Iterator[tuple[str, Text]]:
    if not is_cron(text):
        yield "", texts.SET_CRON(text=clipped(text))


def _check_zone(text: str) -> Iterator[tuple[str, Text]]:
    if not is_zone(text):
        yield "", texts.SET_ZONE(text=clipped(text))


def _check_window(text: str) -> Iterator[tuple[str, Text]]:
    seconds = seconds_of(text)
    if seconds is None or not SHORTEST_WINDOW <= seconds <= LONGEST_WINDOW:
        yield "", texts.VALUE_NOT_DURATION(least="1m", most="7d", got=quoted(text))


def _check_interval(text: str) -> Iterator[tuple[str, Text]]:
    seconds = seconds_of(text)
    if seconds is None or not SHORTEST_REFRESH <= seconds <= LONGEST_REFRESH:
        yield "", texts.VALUE_NOT_DURATION(least="1m", most="7d", got=quoted(text))


class PutRefresh(
    msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """How often registries are asked whether tags have moved."""

    tags: Annotated[
        str,
        rule(
            _check_interval,
            max_length=DURATION_LENGTH,
            description="Between two looks at the tags, 1m to 7d.",
            examples=["10m"],
        ),
    ]


class PutSchedule(
    msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """When a set may pull."""

    cron: Annotated[
        str,
        rule(
            _check_cron,
            max_length=CRON_LENGTH,
            description="Five fields: minute, hour, day of month, month, day of week. Each moment "
            "begins a window.",
            examples=["0 2 * * 1-5"],
        ),
    ]
    window: Annotated[
        str,
        rule(
            _check_window,
            max_length=DURATION_LENGTH,
            description="How long a window is open, 1m to 7d; what is not pulled by then goes on "
            "in the next one.",
            examples=["2h"],
        ),
    ]
    time_zone: Annotated[
        str,
        rule(
            _check_zone,
            max_length=ZONE_LENGTH,
            description="A time zone of the IANA data base.",
            examples=["Asia/Shanghai"],
        ),
    ] = "UTC"
    joins: Annotated[
        Joins,
        rule(description="When nodes that join are warmed: in a window, or always at once."),
    ] = Joins.WINDOW


_ADDED: Final = (
    (
        "schedule",
        Annotated[PutSchedule, rule(description="Without it a set may always pull.")] | UnsetType,
        UNSET,
    ),
    (
        "refresh",
        Annotated[PutRefresh, rule(description="Without it a set is content with what is there.")]
        | UnsetType,
        UNSET,
    ),
    (
        "paused",
        Annotated[
            bool,
            rule(description="Nothing is pulled while it is true; what is there is still shown."),
        ],
        False,
    ),
)
"""What sets add: name, type and default."""


def _field(entry: msgspec.structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    if entry.default is not NODEFAULT:
        return entry.name, _HINTS[entry.name], entry.default
    if entry.default_factory is not NODEFAULT:
        made = msgspec.field(default_factory=entry.default_factory)
        return entry.name, _HINTS[entry.name], made
    return entry.name, _HINTS[entry.name]


PutWarmSet: Final = msgspec.defstruct(
    "PutWarmSet",
    [
        *(_field(e) for e in msgspec.structs.fields(CreateTask) if e.name not in _NOT_OF_SETS),
        *_ADDED,
    ],
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    omit_defaults=True,
    namespace={"__doc__": "What is to be where, always, and how it is pulled."},
    module=__name__,
)
_SHAPE: Final = inspect.type_info(PutWarmSet)


@dataclass(frozen=True, slots=True)
class SetBody:
    """A checked body of a put."""

    spec: TaskSpec
    """How each repair is to be."""
    paused: bool
    schedule: Schedule | None
    refresh: Refresh | None


def read_set(body: Any) -> SetBody:
    """Check a decoded body. A Refusal names everything that is wrong with it."""
    if found := list(faults(_SHAPE, body)):
        raise bad_request(found)
    asked: Any = msgspec.convert(body, PutWarmSet)
    added = {name for name, _, _ in _ADDED}
    rest = {name: value for name, value in body.items() if name not in added}
    return SetBody(
        order_of(msgspec.convert(rest, CreateTask)).spec,
        asked.paused,
        None if asked.schedule is UNSET else _schedule(asked.schedule),
        None if asked.refresh is UNSET else Refresh(tags=asked.refresh.tags),
    )


def _schedule(asked: PutSchedule) -> Schedule:
    return Schedule(
        cron=asked.cron, time_zone=asked.time_zone, window=asked.window, joins=asked.joins
    )
