"""A set as it is stored: what its images and nodes are, and how they are to be pulled."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Meta

from common.subjects import SET_NAME
from coordinator.core.sets.gate import SetGate
from coordinator.core.task import Creator, SetName, StoredRecord, TaskSpec, Time

_NAME: Final = re.compile(SET_NAME)
Generation = Annotated[int, Meta(ge=1, le=2**53)]


def is_set_name(text: str) -> bool:
    """Whether a text is an RFC 1123 label of at most 50 characters."""
    return _NAME.fullmatch(text) is not None


class SetHead(StoredRecord, frozen=True, kw_only=True):
    """One set, swapped as a whole whenever it is changed. Times are milliseconds since 1970."""

    name: SetName
    spec: TaskSpec
    """Its images, nodes, and how each repair is to be."""
    paused: bool = False
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
