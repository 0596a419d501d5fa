"""Taking images off a node: what a coordinator asks of an agent, and what it is told.

The agent alone decides, at the last moment and with its own eyes. A list of wanted references that
is another one there than where the question comes from is a reason to do nothing at all.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from common.messages import MOST_IMAGES, WHY_LENGTH, Count, Hash, Message, Reference

CAN_REMOVE: Final = "remove"
"""Among a heartbeat's ``abilities``: the agent answers ``Remove``."""
MOST_ALSO: Final = 10
"""Other names of a removed image that are told."""


class Remove(Message, frozen=True, kw_only=True, tag_field="kind", tag="remove"):
    """Take images off the node that nobody uses and nobody wants there.

    Subject: ``subjects.query(node, instance)``. Answered by ``Removals``, at its reply subject.
    Repeating it is harmless: what is gone is absent.
    """

    references: Annotated[list[Reference], Meta(min_length=1, max_length=MOST_IMAGES)]
    generation: Hash
    """Of the references that the node is to have (``inventory.generation_of``), as the one who asks
    knows it."""
    dry_run: bool = False
    """Say what would be done, and do nothing."""
    within: Annotated[float, Meta(ge=0.0, le=3600.0)] = 30.0
    """After so many seconds nobody waits for the answer, and nothing more is to be removed."""


class RemovalState(StrEnum):
    """What became of one reference. The values are public."""

    REMOVED = "removed"
    KEPT = "kept"
    ABSENT = "absent"
    """It was not there."""


class KeptFor(StrEnum):
    """Why an image stays. The values are public."""

    IN_USE = "InUse"
    """A container has it, whether it runs or not."""
    WANTED = "Wanted"
    """A warm set has one of its names there."""
    PINNED = "Pinned"
    """Somebody else has pinned it, the runtime its sandbox image for example."""
    PULLING = "Pulling"
    """One of its names is being pulled, or about to be."""
    NOT_REMOVED = "NotRemoved"
    """The runtime did not do it."""
    TOO_LATE = "TooLate"
    """The time was over before its turn came."""


class Removal(Message, frozen=True, kw_only=True):
    """What became of one reference: of all names of its image, as a runtime removes it whole."""

    reference: Reference
    state: RemovalState
    reason: KeptFor | None = None
    """Of one that is kept."""
    about: Annotated[str, Meta(max_length=1280)] = ""
    """The name that is wanted or pulled, or what the runtime said."""
    also: Annotated[tuple[Reference, ...], Meta(max_length=MOST_ALSO)] = ()
    """Other tags of a removed image, which went with it."""
    bytes: Count | None = None
    """Of a removed image, as the runtime counted it; told once for an image."""


class Removals(Message, frozen=True, kw_only=True):
    """The answer: of every reference what became of it, or why nothing was done."""

    removals: Annotated[tuple[Removal, ...], Meta(max_length=MOST_IMAGES)] = ()
    other_list: bool = False
    """The agent was told that its node is to have other references: nothing was done."""
    why_not: Annotated[str, Meta(max_length=WHY_LENGTH)] = ""
    """The runtime does not answer: nothing was done."""
