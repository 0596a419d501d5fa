from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.protocol import PresentImage, StoredImage
from agent.stock import Stock, marks
from common.inventory import Inventory, Want, inventory_hash, wants

pytestmark = pytest.mark.pure


def told(stock: Stock, *references: str) -> bool:
    """Whether a list is news."""
    return [stock.told(want) for want in wants(references)][-1]


def look(stock: Stock, images: dict[str, str]) -> list[Inventory]:
    """What is reported where these images are there, by name and digest."""
    found = {name: PresentImage(images[name], 1) for name in stock.unknown(images)}
    return stock.settle(images, found)


def test_the_first_report_is_whole_and_the_next_ones_are_changes() -> None:
    """Numbered, each with the hash of all that is there; no change is no report."""
    stock = Stock()
    assert told(stock, "a", "b")
    assert stock.state.hash is None
    (first,) = look(stock, {"a": "sha256:1"})
    assert (first.whole, first.number) == (True, 1)
    assert [(f.reference, f.present) for f in first.found] == [("a", True), ("b", False)]
    assert look(stock, {"a": "sha256:1"}) == []
    (second,) = look(stock, {"a": "sha256:1", "b": "sha256:2"})
    assert (second.whole, second.number) == (False, 2)
    assert [f.reference for f in second.found] == ["b"]
    assert second.hash == stock.state.hash
    (third,) = look(stock, {"b": "sha256:3"})
    assert [(f.reference, f.present) for f in third.found] == [("a", False), ("b", True)]


def test_the_same_list_again_is_no_news() -> None:
    """Another one is, and what is known of the images in both is not looked up again."""
    stock = Stock()
    told(stock, "a", "b")
    look(stock, {"a": "sha256:1", "c": "sha256:3"})
    assert not told(stock, "b", "a")
    assert told(stock, "a", "c")
    assert stock.unknown({"a": "sha256:1", "c": "sha256:3"}) == ["c"]
    (report,) = look(stock, {"a": "sha256:1", "c": "sha256:3"})
    assert report.whole
    assert all(found.present for found in report.found)


def test_what_cannot_be_looked_up_stays_as_it_was() -> None:
    """Until a look succeeds: a runtime that stumbles makes no image vanish."""
    stock = Stock()
    told(stock, "a")
    look(stock, {"a": "sha256:1"})
    assert stock.unknown({"a": "sha256:2"}) == ["a"]
    assert stock.settle({"a": "sha256:2"}, {}) == []
    assert stock.unknown({"a": "sha256:2"}) == ["a"]
    assert [found.digest for found in look(stock, {"a": "sha256:2"})[0].found] == ["sha256:2"]


def test_an_image_that_cannot_run_here_is_not_there() -> None:
    """Although the runtime lists it; it is looked up again only once it is another one."""
    stock = Stock()
    told(stock, "a")
    (report,) = stock.settle({"a": "mark"}, {"a": None})
    assert not report.found[0].present
    assert stock.unknown({"a": "mark"}) == []
    assert stock.unknown({"a": "other"}) == ["a"]


def test_a_list_that_is_not_what_it_is_called_is_none() -> None:
    """So nobody is told of a list that nobody meant."""
    stock = Stock()
    assert not stock.told(Want(generation="0" * 16, references=["a"]))
    assert stock.state.generation is None


def test_nothing_wanted_is_reported_once() -> None:
    """So that a coordinator hears that the list was understood."""
    stock = Stock()
    assert told(stock)
    assert not stock.wants_any
    assert [report.found for report in stock.settle({}, {})] == [[]]
    assert stock.settle({}, {}) == []


IMAGES = st.dictionaries(st.sampled_from("abcde"), st.sampled_from(["sha256:1", "sha256:2"]))


@given(st.lists(st.one_of(IMAGES, st.sets(st.sampled_from("abcde"))), max_size=12))
def test_the_reports_add_up_to_what_is_there(steps: list[dict[str, str] | set[str]]) -> None:
    """Whoever takes in every report knows what the last look saw, and has its hash."""
    stock, known, images, wanted = Stock(), dict[str, str | None](), dict[str, str](), set[str]()
    for step in [set[str](), *steps]:
        if isinstance(step, dict):
            images = step
        else:
            wanted = step
            told(stock, *wanted)
        for report in look(stock, images):
            if report.whole:
                known.clear()
            for found in report.found:
                known.pop(found.reference, None)
                if found.present:
                    known[found.reference] = found.digest
            assert report.hash == inventory_hash(report.generation, known.items())
        assert known == {name: images[name] for name in wanted if name in images}
        assert stock.state.hash is not None


def test_a_tag_that_is_put_back_to_a_digest_that_its_image_had_is_seen() -> None:
    """The list of images is the same before and after: the image is known by both digests."""
    stock = Stock()
    told(stock, "r/a:1")
    one = StoredImage("sha256:id", ("r/a:1",), ("r/a@sha256:1",), 10)
    both = StoredImage("sha256:id", ("r/a:1",), ("r/a@sha256:1", "r/a@sha256:2"), 10)
    shown = []
    for image, digest in ((one, 1), (both, 2), (both, 1), (both, 1)):
        listed = marks([image])
        found = {name: PresentImage(f"sha256:{digest}", 1) for name in stock.unknown(listed)}
        shown.append(
            [each.digest for report in stock.settle(listed, found) for each in report.found]
        )
    assert shown == [["sha256:1"], ["sha256:2"], ["sha256:1"], []]
    assert stock.unknown(marks([one])) == ["r/a:1"]


def test_what_is_there_is_told_with_its_size() -> None:
    """Which makes no report by itself, and goes with the image."""
    stock = Stock()
    told(stock, "a", "b")
    images = {"a": "sha256:1", "b": "sha256:2"}
    (whole,) = stock.settle(
        images, {"a": PresentImage("sha256:1", 70), "b": PresentImage(None, None)}
    )
    assert [each.size for each in whole.found] == [70, None]
    (gone,) = look(stock, {"b": "sha256:2"})
    assert [(each.reference, each.size) for each in gone.found] == [("a", None)]
