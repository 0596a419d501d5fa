"""Which wanted references are on which node: a fold over what agents report, and nothing else.

One number a cell, in a row a node; a digest with its size is kept once. A report counts where it is
of the list that the node is to have, and comes next in the agent's own count: what is doubled, old
or of another list changes nothing, and what was missed is asked for (``Heard.MISSED``).
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from common.inventory import Assembly, Found, Inventory, PinState, inventory_hash
from common.messages import InventoryState
from coordinator.core.sets.membership import Wanted

ABSENT: Final = 0
UNKNOWN_DIGEST: Final = 1
"""Present, and nobody knows which one."""
MOST_UNFINISHED: Final = 256
"""Nodes of which some parts of an inventory are here and others are not."""
TELLERS: Final = 2
"""So many nodes have to tell how large an image is before that counts."""


class Heard(Enum):
    """What became of a report."""

    TAKEN = auto()
    IGNORED = auto()
    MISSED = auto()
    """Something before it is missing: all is to be asked for."""


class Digests:
    """Every digest with a size of its image, once, under a number for as long as a cell has it."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str | None, int], int] = {}
        self._digests: list[str | None] = [None, None]
        self._sizes: list[int] = [0, 0]
        self._uses = array("I", [0, 0])
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> str | None:
        """The digest of a cell; None for what is absent or not known."""
        return self._digests[number]

    def size(self, number: int) -> int:
        """The size (bytes) that was told with it; 0: none was."""
        return self._sizes[number]

    def take(self, digest: str | None, size: int) -> int:
        """One more cell has a digest, of an image of this size (0: not told); its number."""
        if digest is None and not size:
            return UNKNOWN_DIGEST
        number = self._numbers.get((digest, size))
        if number is None:
            number = self._free.pop() if self._free else self._append()
            self._numbers[digest, size] = number
            self._digests[number], self._sizes[number] = digest, size
        self._uses[number] += 1
        return number

    def _append(self) -> int:
        self._digests.append(None)
        self._sizes.append(0)
        self._uses.append(0)
        return len(self._digests) - 1

    def release(self, number: int) -> None:
        """A cell has its digest no more."""
        if number <= UNKNOWN_DIGEST:
            return
        self._uses[number] -= 1
        if not self._uses[number]:
            del self._numbers[self._digests[number], self._sizes[number]]
            self._digests[number], self._sizes[number] = None, 0
            self._free.append(number)


@dataclass(slots=True)
class _Row:
    """What one node has of a list."""

    wanted: Wanted
    instance: str
    number: int
    hash: str
    cells: array[int]
    pins: dict[int, PinState]
    """Of places that are to be pinned and are there: most nodes have none."""


class Warmth:
    """The rows of all nodes."""

    def __init__(self) -> None:
        self.digests = Digests()
        self._rows: dict[str, _Row] = {}
        self._unfinished: dict[str, Assembly[Inventory]] = {}
        self._told: defaultdict[str, Counter[int]] = defaultdict(Counter)
        """By reference: how many nodes tell each size."""

    # ── what is so ──

    def has_all(self, node: str, references: tuple[str, ...]) -> bool | None:
        """Whether all of these are on a node; None where that was not heard of one of them."""
        row = self._rows.get(node)
        positions = None if row is None else row.wanted.positions(references)
        if row is None or positions is None:
            return None
        cells = row.cells
        return all(cells[place] for place in positions)

    def cell(self, node: str, reference: str) -> tuple[bool, str | None] | None:
        """Whether a reference is on a node, and with which digest; None where nobody said."""
        row = self._rows.get(node)
        place = None if row is None else row.wanted.position(reference)
        if row is None or place is None:
            return None
        number = row.cells[place]
        return number != ABSENT, self.digests[number]

    def pin(self, node: str, reference: str) -> PinState | None:
        """Whether a reference that is to be pinned is; None where it is not to be, or not there."""
        row = self._rows.get(node)
        place = None if row is None else row.wanted.position(reference)
        return None if row is None or place is None else row.pins.get(place)

    def size(self, reference: str) -> int | None:
        """Compressed bytes of an image, as nodes tell that have it; None where too few do.

        The fewest that any of them tells, once ``TELLERS`` do: no single agent, be it the first,
        can make an image too large for all others.
        """
        told = self._told.get(reference)
        return None if told is None or told.total() < TELLERS else min(told)

    def seen_in(self, node: str) -> str:
        """The report that shows what is known of a node: the agent's run, and its number there."""
        row = self._rows.get(node)
        return "" if row is None else f"{row.instance}.{row.number}"

    def is_current(self, node: str, instance: str, state: InventoryState) -> bool:
        """Whether what an agent has last said of its images is what is known here."""
        row = self._rows.get(node)
        return row is not None and (row.instance, row.hash, row.wanted.generation) == (
            instance,
            state.hash,
            state.generation,
        )

    # ── what is heard ──

    def hear(self, node: str, instance: str, report: Inventory, wanted: Wanted) -> Heard:
        """Take a report in, of an agent that serves a node which is to have ``wanted``.

        Raises ValueError for a report that contradicts itself.
        """
        if report.generation != wanted.generation:
            return Heard.IGNORED
        if report.whole:
            return self._hear_whole(node, instance, report, wanted)
        row = self._rows.get(node)
        if row is None or row.instance != instance or row.wanted.generation != wanted.generation:
            return Heard.MISSED
        if report.number <= row.number:
            return Heard.IGNORED
        if report.number > row.number + 1:
            return Heard.MISSED
        self._change(row, report)
        return Heard.TAKEN

    def _hear_whole(self, node: str, instance: str, part: Inventory, wanted: Wanted) -> Heard:
        row = self._rows.get(node)
        if row is not None and (row.instance, row.wanted.generation) == (
            instance,
            wanted.generation,
        ):
            is_old = part.number < row.number
            if is_old or (part.number, part.hash) == (row.number, row.hash):
                return Heard.IGNORED
        parts = self._assembled(node, instance, part)
        if parts is None:
            return Heard.IGNORED
        found = [each for piece in parts for each in piece.found]
        if tuple(each.reference for each in found) != wanted.references:
            raise ValueError("the inventory is not of the references that it names")
        there = ((each.reference, each.digest) for each in found if each.present)
        pins = {each.reference: each.pin for each in found if each.present and each.pin}
        if inventory_hash(wanted.generation, there, pins) != part.hash:
            raise ValueError("the inventory is not what its hash says")
        self.lose(node)
        cells = array("I", [self._take(each) for each in found])
        placed = {place: each.pin for place, each in enumerate(found) if each.present and each.pin}
        self._rows[node] = _Row(wanted, instance, part.number, part.hash, cells, placed)
        return Heard.TAKEN

    def _assembled(self, node: str, instance: str, part: Inventory) -> Sequence[Inventory] | None:
        if part.parts == 1:
            return [part]
        assembly = self._unfinished.pop(node, None) or Assembly()
        whole = assembly.add((instance, part.generation, part.number, part.hash), part)
        if whole is None:
            self._unfinished[node] = assembly
            if len(self._unfinished) > MOST_UNFINISHED:
                del self._unfinished[next(iter(self._unfinished))]
        return whole

    def _change(self, row: _Row, report: Inventory) -> None:
        places = [row.wanted.position(found.reference) for found in report.found]
        if None in places:
            raise ValueError("the inventory names what the node was not told to have")
        for place, found in zip(places, report.found, strict=True):
            if place is not None:
                before = row.cells[place]
                row.cells[place] = self._take(found)
                self._release(found.reference, before)
                row.pins.pop(place, None)
                if found.present and found.pin is not None:
                    row.pins[place] = found.pin
        row.number, row.hash = report.number, report.hash

    def _take(self, found: Found) -> int:
        """The cell of what a node has said of a reference."""
        if not found.present:
            return ABSENT
        size = found.size or 0
        if size:
            self._told[found.reference][size] += 1
        return self.digests.take(found.digest, size)

    def _release(self, reference: str, number: int) -> None:
        """A node says something else of a reference, or nothing any more."""
        size = self.digests.size(number)
        self.digests.release(number)
        if not size:
            return
        told = self._told[reference]
        told[size] -= 1
        if not told[size]:
            del told[size]
        if not told:
            del self._told[reference]

    def lose(self, node: str) -> None:
        """A node has ceased to exist."""
        self._unfinished.pop(node, None)
        row = self._rows.pop(node, None)
        if row is not None:
            for reference, number in zip(row.wanted.references, row.cells, strict=True):
                self._release(reference, number)
