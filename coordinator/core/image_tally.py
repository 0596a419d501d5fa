"""What became of one image of a running task, counted as its outcomes come."""

from __future__ import annotations

from collections import Counter
from typing import Final

from common.messages import ImageOutcome, ImageState, total_bytes
from common.reasons import Reason
from coordinator.core.task import ImageCounts

LONGEST_SECONDS: Final = 1e9


class ImageTally:
    """Over all nodes of one task."""

    __slots__ = ("_bytes", "_failed", "_present", "_pulled", "_reasons", "_seconds", "_timed")

    def __init__(self) -> None:
        self._present = self._pulled = self._failed = self._timed = 0
        self._seconds = 0.0
        self._bytes: int | None = None
        self._reasons: Counter[str] = Counter()

    def arrived(self, image: ImageOutcome) -> None:
        """One more node has it."""
        if image.state is ImageState.PRESENT:
            self._present += 1
            return
        self._pulled += 1
        if image.seconds is not None:
            self._timed += 1
            self._seconds = min(self._seconds + image.seconds, LONGEST_SECONDS)
            if image.bytes is not None:
                self._bytes = total_bytes([self._bytes or 0, image.bytes])

    def given_up(self, image: ImageOutcome | None) -> None:
        """A node is given up that has not got it; ``image`` is what it last said of it."""
        self._failed += 1
        if image is not None:
            self._reasons[image.reason or Reason.UNKNOWN] += 1

    def counts(self) -> ImageCounts:
        """What is so by now."""
        return ImageCounts(
            present=self._present,
            pulled=self._pulled,
            failed=self._failed,
            reasons=dict(self._reasons),
            timed=self._timed,
            seconds=self._seconds,
            bytes=self._bytes,
        )
