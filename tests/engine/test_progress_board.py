"""What a task's bytes come to."""

from __future__ import annotations

from common.messages import AttemptProgress, ImageOutcome, ImageProgress, ImageState, Outcome
from coordinator.engine.progress_board import ProgressBoard
from coordinator.snapshots import Transfer
from tests.core.stage import Stage, spec

TASK = "task-20260101-000000-00000001"


class Watched:
    """A task of two images on four nodes, two at a time, and its board."""

    def __init__(self) -> None:
        self.stage = Stage("n1", "n2", "n3", "n4")
        self.stage.start(TASK, "n1 n2 n3 n4", spec("a", "b", batch_size=2, max_retries=0))
        self.run = self.stage.run(TASK)
        self.board = ProgressBoard(self.stage.core)

    def pulling(self, node: str, **images: tuple[int, int | None]) -> None:
        """A report on images: bytes so far, and of all."""
        pulls = [
            ImageProgress(image=name, state=ImageState.PULLING, bytes=now, total_bytes=total)
            for name, (now, total) in images.items()
        ]
        report = AttemptProgress(task=TASK, attempt=1, images=pulls)
        assert self.board.report(self.run, self.run.by_name[node], report)

    def outcome(self, node: str, **images: int | None) -> None:
        """Images have been pulled; None has failed."""
        ends = [
            ImageOutcome(image=name, state=ImageState.FAILED)
            if size is None
            else ImageOutcome(image=name, state=ImageState.PULLED, bytes=size)
            for name, size in images.items()
        ]
        self.stage.store(TASK, node, Outcome(images=ends))
        self.board.drop_node(TASK, node)

    @property
    def transfer(self) -> Transfer:
        """What is told of it."""
        return self.board.transfer(self.run)


def test_the_whole_is_unknown_until_each_image_was_seen() -> None:
    """Nodes that wait count as well: half of the nodes are never almost all of the bytes."""
    watched = Watched()
    assert watched.transfer == Transfer()
    watched.pulling("n1", a=(10, 100))
    assert watched.transfer == Transfer(bytes=10)
    watched.pulling("n2", a=(0, 100), b=(5, 30))
    assert watched.transfer == Transfer(bytes=15, total_bytes=4 * 130)


def test_the_whole_becomes_what_has_arrived() -> None:
    """A node that is given up takes what it lacks out of it."""
    watched = Watched()
    for node in ("n1", "n2", "n3"):
        watched.outcome(node, a=100, b=30)
    assert watched.transfer == Transfer(bytes=390, total_bytes=520)
    watched.outcome("n4", a=100, b=None)
    assert watched.transfer == Transfer(bytes=490, total_bytes=490)


def test_without_sizes_nothing_is_said() -> None:
    """Not every runtime tells them."""
    watched = Watched()
    watched.pulling("n1", a=(10, None))
    assert watched.transfer == Transfer(bytes=10)
