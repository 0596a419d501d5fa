"""What is remembered of a cold node beyond its inventory: that it failed, and what vanished.

A node that failed is tried again with back-off. One from which a set's images vanished three times
within an hour is left alone for an hour.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from common.messages import Outcome
from common.reasons import Reason
from common.set_texts import SET_NODE_UNSEEN
from common.text import Text
from common.texts import OUTCOME_INCOMPLETE
from coordinator.core.changes import AttemptDecided, Step

UNSEEN_SECONDS: Final = 5.0
"""So long what was pulled may be missing in a node's inventory before that is said."""
FIRST_BACK_OFF_SECONDS: Final = 60.0
LONGEST_BACK_OFF_SECONDS: Final = 3600.0
THRASHING_TIMES: Final = 3
THRASHING_SECONDS: Final = 3600.0
"""Both the time within which images vanish so often, and the time without a further try."""


def back_off(times: int) -> float:
    """Seconds until a node is tried again that failed so many times in a row."""
    return min(LONGEST_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2.0 ** min(times - 1, 10))


@dataclass(frozen=True, slots=True)
class RepairFailure:
    """The last of a node's failed repairs in a row."""

    times: int
    next_try: float
    """Seconds since 1970."""
    reason: Reason
    text: Text
    image: str | None = None
    """By its name in the set; None where the fault was not an image's."""
    told_from: float = 0.0
    """Before this time (seconds since 1970) nothing is said of it."""


class Records:
    """By set and node; forgotten as soon as the node is warm, but for what vanished."""

    def __init__(self) -> None:
        self._failures: defaultdict[str, dict[str, RepairFailure]] = defaultdict(dict)
        self._vanished: defaultdict[str, dict[str, deque[float]]] = defaultdict(dict)

    def failure(self, name: str, node: str) -> RepairFailure | None:
        """How the last repair of a node ended, if it failed."""
        return self._failures[name].get(node)

    def failed(
        self,
        name: str,
        node: str,
        why: tuple[Reason, Text, str | None],
        at: float,
        *,
        quiet: float = 0.0,
    ) -> None:
        """A repair failed on a node; nothing is said of it for ``quiet`` seconds."""
        before = self._failures[name].get(node)
        times = 1 if before is None else before.times + 1
        self._failures[name][node] = RepairFailure(times, at + back_off(times), *why, at + quiet)

    def decided(self, name: str, event: AttemptDecided) -> None:
        """A node of a set's repair is done, and still cold."""
        at = event.event.stored_at
        if event.step is Step.FAILED:
            self.failed(name, event.node, why_failed(event.event.outcome), at)
        elif event.step is Step.SUCCEEDED:
            # Forgotten as soon as its inventory bears it out; else it would be pulled for ever.
            text = SET_NODE_UNSEEN(task=event.task, node=event.node)
            self.failed(name, event.node, (Reason.UNKNOWN, text, None), at, quiet=UNSEEN_SECONDS)

    def vanished(self, name: str, node: str, now: float) -> None:
        """An image of a set that was complete on a node is gone."""
        times = self._vanished[name].setdefault(node, deque(maxlen=THRASHING_TIMES))
        times.append(now)

    def thrashes_until(self, name: str, node: str) -> float | None:
        """Until when a node is left alone, where images vanished too often."""
        times = self._vanished[name].get(node)
        if times is None or len(times) < THRASHING_TIMES:
            return None
        return times[-1] + THRASHING_SECONDS if times[-1] - times[0] <= THRASHING_SECONDS else None

    # ── what is forgotten ──

    def warm(self, name: str, node: str) -> None:
        """A node is warm again."""
        self._failures[name].pop(node, None)

    def set_changed(self, name: str) -> None:
        """A set is another one, or is gone."""
        self._failures.pop(name, None)
        self._vanished.pop(name, None)

    def node_changed(self, names: Iterable[str], node: str) -> None:
        """A node is not as it was, or another agent serves it: what failed there may succeed."""
        for name in names:
            self._failures[name].pop(node, None)

    def node_gone(self, names: Iterable[str], node: str) -> None:
        """A node has ceased to exist, or has left these sets."""
        for name in names:
            self._failures[name].pop(node, None)
            self._vanished[name].pop(node, None)


def why_failed(outcome: Outcome) -> tuple[Reason, Text, str | None]:
    """Why an attempt failed: by the fault of the node, or of the first image that did."""
    if outcome.reason is not None:
        return outcome.reason, outcome.text or OUTCOME_INCOMPLETE(), None
    for image in outcome.images:
        if image.reason is not None:
            return image.reason, image.text or OUTCOME_INCOMPLETE(), image.image
    return Reason.UNKNOWN, OUTCOME_INCOMPLETE(), None
