"""The body of a put of a warm set: a create's, but for what is of one time, and what sets add.

The shape is made of ``CreateTask``, so that each field of a set has the rules of the task's field.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import inspect

from coordinator.api.create_body import CreateTask, order_of
from coordinator.api.faults import faults, rule
from coordinator.api.problems import bad_request
from coordinator.api.taken_fields import taken
from coordinator.core.task import TaskSpec

_NOT_OF_SETS: Final = frozenset({"node_names", "image_pull_policy"})
"""A set is for nodes by their labels, and is content with what is there."""
_PAUSED: Final = Annotated[
    bool, rule(description="Nothing is pulled while it is true; what is there is still shown.")
]


PutWarmSet: Final = msgspec.defstruct(
    "PutWarmSet",
    [
        *taken(set(CreateTask.__struct_fields__) - _NOT_OF_SETS),
        ("paused", _PAUSED, False),
    ],
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    omit_defaults=True,
    namespace={"__doc__": "What is to be where, always, and how it is pulled."},
    module=__name__,
)
_SHAPE: Final = inspect.type_info(PutWarmSet)


def read_set(body: Any) -> tuple[TaskSpec, bool]:
    """Check a decoded body: how repairs are to be, and whether the set is paused.

    A Refusal names everything that is wrong with it.
    """
    if found := list(faults(_SHAPE, body)):
        raise bad_request(found)
    paused = bool(body.get("paused", False))
    rest = {name: value for name, value in body.items() if name != "paused"}
    return order_of(msgspec.convert(rest, CreateTask)).spec, paused
