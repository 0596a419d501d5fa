from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.inventory import (
    MOST_PARTS,
    MOST_REFERENCES,
    Assembly,
    Inventory,
    InventoryQuestion,
    Want,
    generation_of,
    in_parts,
    inventory_hash,
    wants,
)
from common.subjects import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.pure

REFERENCES = st.lists(st.text(max_size=1280), max_size=400)


@given(REFERENCES, st.randoms(use_true_random=False))
def test_a_list_comes_whole_in_whatever_order_its_parts_come(
    references: list[str], rng: Random
) -> None:
    """Doubled parts change nothing, and the generation is that of the list."""
    parts = list(wants(references))
    came = parts * 2
    rng.shuffle(came)
    assembly = Assembly[Want]()
    wholes = [whole for part in came if (whole := assembly.add(part.generation, part)) is not None]
    assert wholes
    for whole in wholes:
        got = [reference for part in whole for reference in part.references]
        assert got == sorted(set(references))
        assert generation_of(got) == parts[0].generation


def test_no_part_is_too_large_for_a_message() -> None:
    """However many references there are, and however long."""
    references = [f"registry.example/{number:06}/" + "\u00e4" * 590 for number in range(2000)]
    for want in wants(references):
        payload = msgspec.json.encode(want)
        assert len(payload) <= MAX_MESSAGE_BYTES
        assert msgspec.json.decode(payload, type=InventoryQuestion) == want


def test_the_longest_list_has_no_more_parts_than_there_may_be() -> None:
    """Of references of the greatest length, in the most bytes that a message has for them."""
    longest = [f"{number:06}" + "x" * 1274 for number in range(MOST_REFERENCES)]
    assert len(list(wants(longest))) <= MOST_PARTS


def test_what_is_not_all_of_a_list_is_nothing() -> None:
    """Parts of another list, of another count, or beyond the end do not complete one."""
    assembly = Assembly[Inventory]()
    first = Inventory(generation="0" * 16, number=1, hash="1" * 16, whole=True, parts=2, found=[])
    assert assembly.add(1, first) is None
    assert assembly.add(1, msgspec.structs.replace(first, part=2)) is None
    assert assembly.add(2, msgspec.structs.replace(first, part=1)) is None
    assert assembly.add(2, first) is not None


def test_an_empty_list_is_one_part() -> None:
    """So that a node from which everything was taken hears of it."""
    assert in_parts([], len) == [[]]
    (want,) = wants([])
    assert want.references == []


def test_the_hash_says_all_that_is_there_and_of_which_list() -> None:
    """In no order; another digest, another list or one image more is another hash."""
    there = [("a", "sha256:1"), ("b", None)]
    known = inventory_hash("0" * 16, there)
    assert known == inventory_hash("0" * 16, reversed(there))
    others = [("1" * 16, there), ("0" * 16, there[:1]), ("0" * 16, [("a", "sha256:2"), there[1]])]
    assert known not in {inventory_hash(*other) for other in others}
