"""The body of a put of a warm set: a create's, but for what is of one time, and what sets add.

The shape is made of ``CreateTask``, so that each field of a set has the rules of the task's field.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType, inspect

from common.gate_texts import GATE_EMPTY, GATE_OPEN_AFTER, GATE_TAINT
from common.text import Text
from coordinator.api.create_body import CreateTask, order_of
from coordinator.api.faults import clipped, fault, faults, rule
from coordinator.api.problems import bad_request
from coordinator.api.taken_fields import taken
from coordinator.core.sets.gate import OPEN_AFTER, SetGate, is_open_after, is_taint_key
from coordinator.core.task import TaskSpec

_NOT_OF_SETS: Final = frozenset({"node_names", "image_pull_policy"})
"""A set is for nodes by their labels, and is content with what is there."""
_PAUSED: Final = Annotated[
    bool, rule(description="Nothing is pulled while it is true; what is there is still shown.")
]


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
_OWN: Final = ("paused", "gate")
"""Fields that a task does not have."""


PutWarmSet: Final = msgspec.defstruct(
    "PutWarmSet",
    [
        *taken(set(CreateTask.__struct_fields__) - _NOT_OF_SETS),
        ("paused", _PAUSED, False),
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


def read_set(body: Any) -> tuple[TaskSpec, bool, SetGate | None]:
    """Check a decoded body: how repairs are to be, whether the set is paused, and its gate.

    A Refusal names everything that is wrong with it.
    """
    found = list(faults(_SHAPE, body))
    gate = None if found or "gate" not in body else msgspec.convert(body["gate"], PutGate)
    if gate is not None and not gate.condition and gate.taint is UNSET:
        found.append(fault("/gate", GATE_EMPTY()))
    if found:
        raise bad_request(found)
    paused = bool(body.get("paused", False))
    rest = {name: value for name, value in body.items() if name not in _OWN}
    return order_of(msgspec.convert(rest, CreateTask)).spec, paused, _gate(gate)


def _gate(asked: PutGate | None) -> SetGate | None:
    if asked is None:
        return None
    taint = None if asked.taint is UNSET else asked.taint
    return SetGate(condition=asked.condition, taint=taint, open_after=asked.open_after)
