"""Which images a node is to have, and which are there: what leader, agents and coordinators say.

Both lists travel in numbered parts, each hashed as a whole. Whoever lost a part, or a report, sees
another hash in the next heartbeat and asks again: nothing is acknowledged. All that is on a node,
whoever brought it, is asked of its agent at the moment that somebody wants to know (``Show``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from common.messages import WHY_LENGTH, Count, Digest, Hash, Message, Reference
from common.removals import Remove

PART_BYTES: Final = 192 * 1024
"""Of what one part of a list holds; with the rest of its message it stays below the limit."""
MOST_PARTS: Final = 100
MOST_REFERENCES: Final = 10_000
"""References that one node is to have: all images of all sets that it can be in."""

CAN_PIN: Final = "pin"
"""Among a heartbeat's ``abilities``: the node's runtime can pin images, and the agent does."""
MOST_NAMES: Final = 50
"""Tags, or digests, that are told of one image of a node."""

ImageId = Annotated[str, Meta(max_length=256)]
PartNumber = Annotated[int, Meta(ge=0, le=MOST_PARTS - 1)]
Parts = Annotated[int, Meta(ge=1, le=MOST_PARTS)]
ReportNumber = Annotated[int, Meta(ge=0, le=2**53)]
T = TypeVar("T")


class Want(Message, frozen=True, kw_only=True, tag_field="kind", tag="want"):
    """The references that a node is to have, or a part of them; sorted, each once.

    Subject: ``subjects.query(node, instance)``. Repeating it is harmless.
    """

    generation: Hash
    """``generation_of`` all references: the same list is the same generation."""
    part: PartNumber = 0
    parts: Parts = 1
    references: Annotated[list[Reference], Meta(max_length=MOST_REFERENCES)]


class PinThese(Message, frozen=True, kw_only=True, tag_field="kind", tag="pin"):
    """The references that are to be kept from the kubelet's clean-up, or a part of them.

    The longest claimed first: the first ones are kept where not all may be. On the same subject,
    for agents alone whose heartbeats have ``CAN_PIN``. Repeating it is harmless.
    """

    hash: Hash
    """``pins_hash`` of all of them."""
    part: PartNumber = 0
    parts: Parts = 1
    references: Annotated[list[Reference], Meta(max_length=MOST_REFERENCES)]


class PinState(StrEnum):
    """Whether an image is kept from the kubelet's clean-up, where it is to be. Public values."""

    PINNED = "pinned"
    SHARE = "share"
    """Not: pins may take no more of the image disk (``IPS_PIN_DISK_PERCENT``)."""
    DISK_UNKNOWN = "diskUnknown"
    """Not: how large the image disk is cannot be seen."""
    REFUSED = "refused"
    """Not: the runtime did not do it."""


class Ask(Message, frozen=True, kw_only=True, tag_field="kind", tag="ask"):
    """Say all that is there; a whole ``Inventory`` follows. On the same subject."""


class Show(Message, frozen=True, kw_only=True, tag_field="kind", tag="show"):
    """Say which images are on the node, whoever wanted them. On the same subject.

    Answered by ``ShownImages``, at its reply subject.
    """

    after: ImageId = ""
    """Only those whose id comes after this one."""


InventoryQuestion = Want | PinThese | Ask | Show | Remove


class ShownImage(Message, frozen=True, kw_only=True):
    """One image of a runtime's store."""

    id: ImageId
    tags: Annotated[tuple[Reference, ...], Meta(max_length=MOST_NAMES)] = ()
    digests: Annotated[tuple[Reference, ...], Meta(max_length=MOST_NAMES)] = ()
    """``repository@sha256:…`` of all manifests and indexes that it is known by."""
    size: Count | None = None
    """Bytes as the runtime counts them."""
    pinned: bool = False
    """Whether the runtime keeps it from the kubelet's clean-up."""


class ShownImages(Message, frozen=True, kw_only=True):
    """The images of a node, ordered by id, as far as one message holds them."""

    images: Annotated[tuple[ShownImage, ...], Meta(max_length=MOST_REFERENCES)] = ()
    more: bool = False
    """Whether others come after the last of these."""
    why_not: Annotated[str, Meta(max_length=WHY_LENGTH)] = ""
    """Why nothing is known of them: the runtime does not answer."""


class Found(Message, frozen=True, kw_only=True):
    """What an agent has found of one reference."""

    reference: Reference
    present: bool = True
    digest: Digest | None = None
    """Of the manifest or index that the reference names on the node; None where unknown."""
    pin: PinState | None = None
    """Of one that is there and is to be pinned."""
    size: Count | None = None
    """Compressed bytes of one that is there, where the runtime tells; of no hash a part."""


class Inventory(Message, frozen=True, kw_only=True):
    """What of the wanted references is on a node: all of it, or what has changed.

    Subject: ``subjects.inventory(node, instance)``.
    """

    generation: Hash
    """Of the list that it is about."""
    number: ReportNumber
    """Counts an instance's reports of changes; a whole one has the number of the last of them."""
    hash: Hash
    """``inventory_hash`` of all that is there once this is taken in."""
    whole: bool = False
    part: PartNumber = 0
    parts: Parts = 1
    found: Annotated[list[Found], Meta(max_length=MOST_REFERENCES)]


def generation_of(references: Iterable[str]) -> str:
    """The name of a list of references, whatever its order: 16 hex digits."""
    return _hash(sorted(references))


def pins_hash(references: Iterable[str]) -> str:
    """The name of a list of references that are to be pinned; their order counts."""
    return _hash(references)


NO_PINS: Final[Mapping[str, PinState]] = MappingProxyType({})


def inventory_hash(
    generation: str,
    found: Iterable[tuple[str, str | None]],
    pins: Mapping[str, PinState] = NO_PINS,
) -> str:
    """The hash of what is there: pairs of reference and digest, of present images alone.

    A third word follows for those of ``pins``.
    """
    lines = []
    for reference, digest in found:
        pin = pins.get(reference)
        lines.append(f"{reference} {digest or '-'}" + (f" {pin}" if pin is not None else ""))
    return _hash([generation, *sorted(lines)])


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def in_parts(items: Sequence[T], size: Callable[[T], int]) -> list[list[T]]:
    """A list cut so that no part takes more than ``PART_BYTES``; one empty part of none."""
    parts: list[list[T]] = [[]]
    room = PART_BYTES
    for item in items:
        taken = size(item) + 1
        if taken > room and parts[-1]:
            parts.append([])
            room = PART_BYTES
        parts[-1].append(item)
        room -= taken
    return parts


def wants(references: Sequence[str]) -> Iterator[Want]:
    """The messages that say which references a node is to have."""
    ordered = sorted(set(references))
    generation = generation_of(ordered)
    parts = in_parts(ordered, lambda reference: len(msgspec.json.encode(reference)))
    for number, part in enumerate(parts):
        yield Want(generation=generation, part=number, parts=len(parts), references=part)


def pin_these(references: Sequence[str]) -> Iterator[PinThese]:
    """The messages that say which references are to be pinned."""
    name = pins_hash(references)
    parts = in_parts(references, lambda reference: len(msgspec.json.encode(reference)))
    for number, part in enumerate(parts):
        yield PinThese(hash=name, part=number, parts=len(parts), references=part)


class Part(Protocol):
    """A message that may be one of several."""

    @property
    def part(self) -> int:
        """Its place, from 0."""

    @property
    def parts(self) -> int:
        """How many there are."""


P = TypeVar("P", bound=Part)


class Assembly(Generic[P]):
    """Puts parts together again; one list at a time, a newer one replaces what is unfinished."""

    def __init__(self) -> None:
        self._of: object = None
        self._parts: dict[int, P] = {}

    def add(self, what: object, message: P) -> list[P] | None:
        """Take one part of ``what`` in; all of them, in order, as soon as none is missing."""
        if message.part >= message.parts:
            return None
        if self._of != (what, message.parts):
            self._of, self._parts = (what, message.parts), {}
        self._parts[message.part] = message
        if len(self._parts) < message.parts:
            return None
        whole = [self._parts[number] for number in range(message.parts)]
        self._of, self._parts = None, {}
        return whole
