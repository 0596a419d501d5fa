"""The body of a put of a warm set: a create's, but for what is of one time, and what sets add.

The shape is made of ``CreateTask``, so that each field of a set has the rules of the task's field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType, inspect

from common import set_texts as texts
from common.durations import seconds_of
from common.gate_texts import GATE_EMPTY, GATE_OPEN_AFTER, GATE_TAINT
from common.text import Text
from coordinator.api.create_body import CreateTask, order_of
from coordinator.api.faults import clipped, fault, faults, quoted, rule
from coordinator.api.problems import bad_request
from coordinator.api.taken_fields import taken
from coordinator.core.sets.gate import OPEN_AFTER, SetGate, is_open_after, is_taint_key
from coordinator.core.sets.head import (
    CRON_LENGTH,
    DURATION_LENGTH,
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
_PAUSED: Final = Annotated[
    bool, rule(description="Nothing is pulled while it is true; what is there is still shown.")
]


def _check_cron(text: str) -> Iterator[tuple[str, Text]]:
    if not is_cron(text):
        yield "", texts.SET_CRON(text=clipped(text))


def _check_zone(text: str) -> Iterator[tuple[str, Text]]:
    if not is_zone(text):
        yield "", texts.SET_ZONE(text=clipped(text))


def _check_window(text: str) -> Iterator[tuple[str, Text]]:
    yield from _within(text, SHORTEST_WINDOW, LONGEST_WINDOW)


def _check_interval(text: str) -> Iterator[tuple[str, Text]]:
    yield from _within(text, SHORTEST_REFRESH, LONGEST_REFRESH)


def _within(text: str, least: int, most: int) -> Iterator[tuple[str, Text]]:
    try:
        is_within = least <= seconds_of(text) <= most
    except ValueError:
        is_within = False
    if not is_within:
        shortest, longest = f"{least // 60}m", f"{most // 3600}h"
        yield "", texts.VALUE_NOT_DURATION(least=shortest, most=longest, got=quoted(text))


class PutRefresh(
    msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """How often registries are asked whether tags have moved."""

    tags: Annotated[
        str,
        rule(
            _check_interval,
            max_length=DURATION_LENGTH,
            description="Between two looks at the tags, 1m to 168h.",
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
            description="How long a window is open, 1m to 168h; what is not pulled by then goes "
            "on in the next one.",
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


def _check_taint(text: str) -> Iterator[tuple[str, Text]]:
    if not is_taint_key(text):
        yield "", GATE_TAINT(text=clipped(text))


def _check_open_after(text: str) -> Iterator[tuple[str, Text]]:
    if not is_open_after(text):
        yield "", GATE_OPEN_AFTER(text=clipped(text))


class PutGate(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """What Kubernetes is told of the Nodes of a set, so that no pod meets a cold one."""

    condition: Annotated[
        bool,
        rule(
            description="Keep the condition ips.dev/warm-<set> (True, False, Unknown) and the "
            "label ips.dev/warm.<set>=true of each Node."
        ),
    ] = False
    taint: (
        Annotated[
            str,
            rule(
                _check_taint,
                max_length=128,
                description="Key of a startup taint, which is taken away from each Node as soon "
                "as it is warm. Whoever makes the Nodes puts it there.",
                examples=["ips.dev/warming"],
            ),
        ]
        | UnsetType
    ) = UNSET
    open_after: Annotated[
        str,
        rule(
            _check_open_after,
            max_length=32,
            description="After so long the taint is taken away from a cold Node too, with a "
            "warning Event.",
            examples=["10m"],
        ),
    ] = OPEN_AFTER


_GATE: Final = PutGate | UnsetType
_SCHEDULE: Final = (
    Annotated[PutSchedule, rule(description="Without it a set may always pull.")] | UnsetType
)
_REFRESH: Final = (
    Annotated[PutRefresh, rule(description="Without it a set is content with what is there.")]
    | UnsetType
)
_OWN: Final = ("paused", "schedule", "refresh", "gate")
"""Fields that a task does not have."""


PutWarmSet: Final = msgspec.defstruct(
    "PutWarmSet",
    [
        *taken(set(CreateTask.__struct_fields__) - _NOT_OF_SETS),
        ("paused", _PAUSED, False),
        ("schedule", _SCHEDULE, UNSET),
        ("refresh", _REFRESH, UNSET),
        ("gate", _GATE, UNSET),
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
    gate: SetGate | None


def read_set(body: Any) -> SetBody:
    """Check a decoded body. A Refusal names everything that is wrong with it."""
    found = list(faults(_SHAPE, body))
    gate = None if found or "gate" not in body else msgspec.convert(body["gate"], PutGate)
    if gate is not None and not gate.condition and gate.taint is UNSET:
        found.append(fault("/gate", GATE_EMPTY()))
    if found:
        raise bad_request(found)
    asked: Any = msgspec.convert(body, PutWarmSet)
    rest = {name: value for name, value in body.items() if name not in _OWN}
    return SetBody(
        order_of(msgspec.convert(rest, CreateTask)).spec,
        asked.paused,
        None if asked.schedule is UNSET else _schedule(asked.schedule),
        None if asked.refresh is UNSET else Refresh(tags=asked.refresh.tags),
        _gate(gate),
    )


def _schedule(asked: PutSchedule) -> Schedule:
    return Schedule(
        cron=asked.cron, time_zone=asked.time_zone, window=asked.window, joins=asked.joins
    )


def _gate(asked: PutGate | None) -> SetGate | None:
    if asked is None:
        return None
    taint = None if asked.taint is UNSET else asked.taint
    return SetGate(condition=asked.condition, taint=taint, open_after=asked.open_after)
