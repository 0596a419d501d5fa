"""What is on which node, report by report: doubled, old and foreign ones change nothing."""

from __future__ import annotations

from typing import Final

import pytest
from msgspec.structs import replace

from agent.runtime.protocol import PresentImage
from agent.stock import Stock
from common.inventory import Inventory, wants
from coordinator.core.sets.membership import Wanted
from coordinator.core.sets.warmth import Heard, Warmth

pytestmark = pytest.mark.pure

NODE, INSTANCE = "n1", "0123456789abcdef"
WANTED: Final = Wanted(("ref/a", "ref/b"))
ONE, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


class Said:
    """An agent's own stock, and the fold of what it says."""

    def __init__(self) -> None:
        self.warmth = Warmth()
        self.stock = Stock()
        for want in wants(WANTED.references):
            self.stock.told(want)

    def report(self, **there: str) -> Inventory:
        """What the agent says once these are there, by the last letter of their names."""
        listed = {f"ref/{name}": digest for name, digest in there.items()}
        found = {name: PresentImage(listed[name], 1) for name in self.stock.unknown(listed)}
        (report,) = self.stock.settle(listed, found)
        return report

    def hear(self, report: Inventory, wanted: Wanted = WANTED, instance: str = INSTANCE) -> Heard:
        """Take a report in."""
        return self.warmth.hear(NODE, instance, report, wanted)

    @property
    def cells(self) -> list[tuple[bool, str | None] | None]:
        """What is known of both references."""
        return [self.warmth.cell(NODE, reference) for reference in WANTED.references]


def test_changes_follow_the_whole() -> None:
    """What nobody said is not known, and neither there nor away."""
    it = Said()
    assert it.cells == [None, None]
    assert it.warmth.has_all(NODE, WANTED.references) is None
    assert it.hear(it.report(a=ONE)) is Heard.TAKEN
    assert it.cells == [(True, ONE), (False, None)]
    assert it.hear(it.report(a=ONE, b=OTHER)) is Heard.TAKEN
    assert it.warmth.has_all(NODE, WANTED.references) is True
    assert it.warmth.is_current(NODE, INSTANCE, it.stock.state)


def test_a_report_that_comes_again_or_late_changes_nothing() -> None:
    """However it is doubled and whenever it comes, the newest counts."""
    it = Said()
    reports = [it.report(a=ONE), it.report(), it.report(a=OTHER, b=OTHER), it.report(b=OTHER)]
    for number, report in enumerate(reports):
        assert it.hear(report) is Heard.TAKEN
        before = it.cells
        for old in reports[: number + 1]:
            assert it.hear(old) is Heard.IGNORED
            assert it.cells == before
    assert it.cells == [(False, None), (True, OTHER)]


def test_what_was_missed_is_asked_for() -> None:
    """A change is nothing without those before it; all of it at once makes up for them."""
    it = Said()
    first, missed, last = it.report(a=ONE), it.report(a=ONE, b=ONE), it.report(b=ONE)
    assert it.hear(missed) is Heard.MISSED
    assert it.hear(first) is Heard.TAKEN
    assert it.hear(last) is Heard.MISSED
    assert it.cells == [(True, ONE), (False, None)]
    (whole,) = it.stock.whole()
    assert it.hear(whole) is Heard.TAKEN
    assert it.cells == [(False, None), (True, ONE)]


def test_another_list_and_another_instance() -> None:
    """A report of a list that is not the node's is nothing; a new instance says all again."""
    it = Said()
    first, change = it.report(a=ONE), it.report()
    assert it.hear(first, Wanted(("ref/c",))) is Heard.IGNORED
    assert it.cells == [None, None]
    assert it.hear(first) is Heard.TAKEN
    assert it.hear(change, instance="f" * 16) is Heard.MISSED


@pytest.mark.parametrize("spoilt", ["hash", "found"])
def test_a_whole_that_contradicts_itself_is_refused(spoilt: str) -> None:
    """And nothing of it is kept."""
    it = Said()
    report = it.report(a=ONE)
    other = it.report(a=OTHER)
    value = other.hash if spoilt == "hash" else report.found[:1]
    with pytest.raises(ValueError, match="inventory"):
        it.hear(replace(report, **{spoilt: value}))
    assert it.cells == [None, None]


def test_a_digest_is_kept_once_and_no_longer_than_a_node_has_it() -> None:
    """Of however many cells."""
    it = Said()
    it.hear(it.report(a=ONE, b=ONE))
    assert len(it.warmth.digests) == 1
    it.hear(it.report(a=OTHER, b=ONE))
    assert len(it.warmth.digests) == 2
    it.warmth.lose(NODE)
    assert len(it.warmth.digests) == 0
