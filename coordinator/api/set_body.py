"""The body of a put of a warm set: a create's, but for what is of one time, and what sets add.

The shape is made of ``CreateTask``, so that each field of a set has the rules of the task's field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType, inspect

from common import texts
from common.text import Text
from coordinator.api.create_body import CreateTask, order_of
from coordinator.api.faults import faults, quoted, rule
from coordinator.api.problems import bad_request
from coordinator.api.queries import moment
from coordinator.api.taken_fields import taken
from coordinator.core.sets.head import SetPin
from coordinator.core.task import TaskSpec

_NOT_OF_SETS: Final = frozenset({"node_names", "image_pull_policy"})
"""A set is for nodes by their labels, and is content with what is there."""
_PAUSED: Final = Annotated[
    bool, rule(description="Nothing is pulled while it is true; what is there is still shown.")
]


def _check_moment(text: str) -> Iterator[tuple[str, Text]]:
    if moment(text) is None:
        yield "", texts.VALUE_NOT_TIME(got=quoted(text))


class PinOfSet(
    msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """The set's images are kept from the kubelet's clean-up."""

    until: (
        Annotated[
            str,
            rule(
                _check_moment,
                max_length=64,
                description="RFC 3339. Without it, as long as the set asks for it.",
                examples=["2026-12-24T06:00:00Z"],
            ),
        ]
        | UnsetType
    ) = UNSET


_PIN: Final = Annotated[
    PinOfSet,
    rule(description="Keep its images from the kubelet's clean-up, where the runtime can do that."),
]


PutWarmSet: Final = msgspec.defstruct(
    "PutWarmSet",
    [
        *taken(set(CreateTask.__struct_fields__) - _NOT_OF_SETS),
        ("paused", _PAUSED, False),
        ("pin", _PIN | UnsetType, UNSET),
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
class ReadSet:
    """A checked body: how repairs are to be, and what sets have beside that."""

    spec: TaskSpec
    paused: bool
    pin: SetPin | None


def read_set(body: Any) -> ReadSet:
    """Check a decoded body. A Refusal names everything that is wrong with it."""
    if found := list(faults(_SHAPE, body)):
        raise bad_request(found)
    rest = {name: value for name, value in body.items() if name not in {"paused", "pin"}}
    spec = order_of(msgspec.convert(rest, CreateTask)).spec
    pin = body.get("pin")
    until = None if pin is None else moment(pin.get("until", ""))
    return ReadSet(
        spec, bool(body.get("paused", False)), None if pin is None else SetPin(until=until)
    )
