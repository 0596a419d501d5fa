"""Who downloads and who only waits, from what a containerd lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent.runtime.containerd import Ingest
from agent.runtime.slots import MOVES_SECONDS, Slots

pytestmark = pytest.mark.pure

START = 1_000.0
"""On the wall's clock, when every pull here begins."""


class Node:
    """What a containerd lists, looked at once a second."""

    def __init__(self) -> None:
        self.slots = Slots(lambda: START)
        self.now = 0.0
        self._listed: dict[str, Ingest] = {}

    def list(self, offset: int, *names: str, started: float = START + 1) -> None:
        """List blobs from now on; each begins with its pull's letter."""
        for name in names:
            self._listed[name] = Ingest(name, offset, 10, started)

    def drop(self, *names: str) -> None:
        """List blobs no more."""
        for name in names:
            del self._listed[name]

    def look(self, seconds: float = 1.0) -> None:
        """Look once more."""
        self.now += seconds
        self.slots.see(self._listed.values(), self.now)

    def downloads(self, lease: str) -> bool:
        """Whether a pull has a download open."""
        own = {name for name in self._listed if name[0] == lease}
        self.slots.claim(lease, own)
        return self.slots.has_one(lease, self._listed.keys() - own, self.now)


@pytest.fixture
def node() -> Iterator[Node]:
    """Pull two images, ``a`` first."""
    node = Node()
    with ExitStack() as stack:
        for lease in "ab":
            stack.enter_context(node.slots.turn(lease))
        yield node


def test_alone_it_has_a_place(node: Node) -> None:
    """Though not a byte has come: nobody else can have it."""
    node.list(0, "a1", "a2")
    node.look()
    assert node.downloads("a")


def test_behind_three_that_have_come_first_it_waits(node: Node) -> None:
    """Silent as they are: they will be found stalled, and give their places back."""
    node.list(0, "a1", "a2", "a3", "b1")
    node.look()
    assert node.downloads("a")
    assert not node.downloads("b")
    node.drop("a3")
    node.look()
    assert node.downloads("b")


def test_while_others_move_it_may_wait(node: Node) -> None:
    """A node may have fewer places than three."""
    node.list(0, "a1", "b1")
    node.look()
    node.list(5, "a1")
    node.look()
    assert node.downloads("a")
    assert not node.downloads("b")
    node.look(MOVES_SECONDS)
    assert node.downloads("b")


def test_bytes_prove_a_place(node: Node) -> None:
    """Whatever others do."""
    node.list(0, "a1", "a2", "a3", "b1")
    node.look()
    node.list(5, "a1", "b1")
    node.look()
    assert node.downloads("b")


def test_bytes_of_an_earlier_pull_prove_nothing(node: Node) -> None:
    """What was interrupted is listed as it was left."""
    node.list(5, "b1", started=START - 50)
    node.list(0, "a1", "a2", "a3")
    node.look()
    assert not node.downloads("b")


def test_who_came_later_and_moves_proves_a_place(node: Node) -> None:
    """Places are given in order."""
    node.list(0, "a1")
    node.list(0, "b1", "b2", "b3", started=START + 5)
    node.look()
    node.list(5, "b1", started=START + 5)
    node.look()
    assert node.downloads("a")


def test_what_is_seen_after_a_pause_has_not_moved_now() -> None:
    """Between two pulls nobody looks."""
    node = Node()
    node.list(0, "b1", started=START - 50)
    with node.slots.turn("b"):
        node.look()
    node.list(5, "b1", started=START - 50)
    node.list(0, "a1", "a2", "a3")
    with node.slots.turn("a"), node.slots.turn("b"):
        node.look()
        assert not node.downloads("b")


def test_where_each_image_has_its_own_places_nobody_waits(node: Node) -> None:
    """Up to 2.0 containerd lists a blob once its download begins."""
    node.slots.of_node = False
    node.list(0, "a1", "a2", "a3", "b1")
    node.look()
    assert node.downloads("b")
