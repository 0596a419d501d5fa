"""Which references this node is to have, and which of them are there; decides what is reported.

A list that was told counts from the moment that all its parts are here. What is there is looked up
by whoever asks ``unknown``, and taken in by ``settle``, which says what to report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from agent.runtime.protocol import PresentImage, StoredImage
from common.inventory import (
    MOST_REFERENCES,
    PART_BYTES,
    Assembly,
    Found,
    Inventory,
    PinState,
    PinThese,
    Want,
    generation_of,
    in_parts,
    inventory_hash,
    pins_hash,
)
from common.messages import InventoryState

V = TypeVar("V")
AMBIGUOUS = ""
"""The mark of a name that is looked up each time."""


class Stock:
    """One node's wanted references and what was found of them."""

    def __init__(self) -> None:
        self._assembly: Assembly[Want] = Assembly()
        self._generation: str | None = None
        self._wanted: tuple[str, ...] = ()
        self._marks: dict[str, str] = {}
        """Of each reference, what its image was marked with when it was looked up."""
        self._there: dict[str, str | None] = {}
        """The digest of each that is there."""
        self._sizes: dict[str, int] = {}
        """Compressed bytes of those of them of which that is known."""
        self._claimed: Assembly[PinThese] = Assembly()
        self._claims: tuple[str, ...] | None = None
        self._claims_hash: str | None = None
        self._pins: dict[str, PinState] = {}
        """Of each that is there and claimed, whether it is pinned."""
        self._told_pins: dict[str, PinState] = {}
        """The same, as it was reported."""
        self._hash: str | None = None
        """Of what is there, once that was looked at."""
        self._number = 0

    @property
    def state(self) -> InventoryState:
        """What a heartbeat says of it."""
        return InventoryState(
            generation=self._generation,
            number=self._number,
            hash=self._hash,
            pins=self._claims_hash,
        )

    @property
    def claims(self) -> tuple[str, ...] | None:
        """The references that are to be pinned, the longest claimed first; None: nobody said."""
        return self._claims

    @property
    def wanted(self) -> tuple[str, tuple[str, ...]]:
        """The generation of what the node is to have, and the references."""
        return self._generation or generation_of(()), self._wanted

    @property
    def wants_any(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._wanted)

    def told(self, want: Want) -> bool:
        """Take a part of a list in; whether there is another list now, which is to be looked at.

        A list that is not what it is called, or too long, is none.
        """
        parts = self._assembly.add(want.generation, want)
        if parts is None or want.generation == self._generation:
            return False
        references = [reference for part in parts for reference in part.references]
        if len(references) > MOST_REFERENCES or generation_of(references) != want.generation:
            return False
        self._generation, self._wanted = want.generation, tuple(references)
        self._marks = _among(self._marks, references)
        self._there = _among(self._there, references)
        self._sizes = _among(self._sizes, references)
        self._hash = None
        return True

    def claimed(self, pins: PinThese) -> bool:
        """Take a part of what is to be pinned in; whether that is another list now."""
        parts = self._claimed.add(pins.hash, pins)
        if parts is None or pins.hash == self._claims_hash:
            return False
        references = [reference for part in parts for reference in part.references]
        if len(references) > MOST_REFERENCES or pins_hash(references) != pins.hash:
            return False
        self._claims_hash, self._claims = pins.hash, tuple(references)
        return True

    def pinned(self, states: Mapping[str, PinState]) -> None:
        """Note whether what is claimed is pinned, of references that are there; then ``settle``."""
        self._pins = dict(states)

    def unknown(self, listed: Mapping[str, str]) -> list[str]:
        """References that have to be looked up, since their images are not those they were."""
        return [
            reference
            for reference in self._wanted
            if reference in listed
            and (listed[reference] == AMBIGUOUS or self._marks.get(reference) != listed[reference])
        ]

    def settle(
        self, listed: Mapping[str, str], found: Mapping[str, PresentImage | None]
    ) -> list[Inventory]:
        """Take in what was looked up; the reports to send.

        What ``unknown`` named and is not in ``found`` could not be looked up: it is as it was.
        """
        changed: list[Found] = []
        for reference in self._wanted:
            if reference in found:
                self._marks[reference] = listed[reference]
                image = found[reference]
            elif reference not in listed:
                self._marks.pop(reference, None)
                image = None
            else:
                if self._pins.get(reference) != self._told_pins.get(reference):
                    changed.append(self._found(reference))
                continue
            is_new = self._pins.get(reference) != self._told_pins.get(reference)
            if self._note(reference, image) or is_new:
                changed.append(self._found(reference))
        return self._reports(changed)

    def _note(self, reference: str, image: PresentImage | None) -> bool:
        """Whether a reference is not as it was."""
        before = reference in self._there, self._there.get(reference)
        self._sizes.pop(reference, None)
        if image is not None and image.size is not None:
            self._sizes[reference] = image.size
        if image is None:
            self._there.pop(reference, None)
        else:
            self._there[reference] = image.digest
        return before != (reference in self._there, self._there.get(reference))

    def _reports(self, changed: list[Found]) -> list[Inventory]:
        is_first = self._hash is None
        if self._generation is None or not (changed or is_first):
            return []
        self._told_pins = {name: pin for name, pin in self._pins.items() if name in self._there}
        self._hash = inventory_hash(self._generation, self._there.items(), self._told_pins)
        self._number += 1
        if is_first or sum(map(_size, changed)) > PART_BYTES:
            return self.whole()
        report = Inventory(
            generation=self._generation, number=self._number, hash=self._hash, found=changed
        )
        return [report]

    def whole(self) -> list[Inventory]:
        """All that is there, in parts; nothing where that was not looked at yet."""
        if self._generation is None or self._hash is None:
            return []
        found = [self._found(reference) for reference in self._wanted]
        parts = in_parts(found, _size)
        return [
            Inventory(
                generation=self._generation,
                number=self._number,
                hash=self._hash,
                whole=True,
                part=number,
                parts=len(parts),
                found=part,
            )
            for number, part in enumerate(parts)
        ]

    def _found(self, reference: str) -> Found:
        present = reference in self._there
        return Found(
            reference=reference,
            present=present,
            digest=self._there.get(reference),
            pin=self._pins.get(reference) if present else None,
            size=self._sizes.get(reference) if present else None,
        )


def marks(images: Iterable[StoredImage]) -> dict[str, str]:
    """Every name of an image on a node, each with a mark.

    It is another one whenever the name stands for another image, or for one that is known by other
    digests. A tag of an image that is known by several has ``AMBIGUOUS``: it may be moved from one
    of them to another, or back, and no list shows that.
    """
    found: dict[str, str] = {}
    for image in images:
        mark = " ".join((image.id, *sorted(image.digests)))
        found.update(dict.fromkeys(image.digests, mark))
        is_one = len({each.partition("@")[2] for each in image.digests}) <= 1
        found.update(dict.fromkeys(image.tags, mark if is_one else AMBIGUOUS))
    return found


def _size(found: Found) -> int:
    return len(msgspec.json.encode(found))


def _among(known: Mapping[str, V], references: Iterable[str]) -> dict[str, V]:
    return {reference: known[reference] for reference in references if reference in known}
