"""Ids of events of sets: what an event says which set, in which state of it, and what happened.

Each coordinator gives an event the same id. What stands in the store under no such id is not ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from common.subjects import SET_NAME
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.standing import SetCondition
from coordinator.engine.set_notes import SetNote

TOLD: Final[Mapping[SetCondition, str]] = {
    SetCondition.READY: "set.ready",
    SetCondition.DEGRADED: "set.degraded",
}
"""The event that says that a condition has begun to hold."""
CREATED: Final = "set.created"
UPDATED: Final = "set.updated"
DELETED: Final = "set.deleted"

_SPEC_ID: Final = re.compile(
    rf"set/({SET_NAME})/([0-9]{{1,19}})\.([0-9]{{1,19}})/({CREATED}|{UPDATED}|{DELETED})"
)


class SpecId(NamedTuple):
    """The id of an event that a set was put or deleted; of one set, a later one is greater."""

    name: str
    created_at: int
    generation: int
    type: str

    @classmethod
    def of(cls, head: SetHead, event_type: str) -> Self:
        """What is told of a set as it is stored."""
        return cls(head.name, head.created_at, head.generation, event_type)

    @classmethod
    def parse(cls, event_id: str) -> Self | None:
        """None for an id that is not ours."""
        found = _SPEC_ID.fullmatch(event_id)
        return None if found is None else cls(found[1], int(found[3]), int(found[4]), found[5])

    def __str__(self) -> str:
        return f"set/{self.name}/{self.created_at}.{self.generation}/{self.type}"

    def moment(self) -> tuple[int, int, bool]:
        """The greater, the later among those of the same name."""
        return self.created_at, self.generation, self.type == DELETED


def put_id(head: SetHead) -> SpecId:
    """The id of the event that a set was put as it is stored."""
    return SpecId.of(head, CREATED if head.generation == 1 else UPDATED)


def turn_id(note: SetNote, condition: SetCondition, since: int) -> str:
    """The id of the event that a condition began to hold (ms since 1970), and of its webhook."""
    return f"set/{note.name}/{note.created_at}.{since}/{TOLD[condition]}"
