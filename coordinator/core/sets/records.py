"""What is remembered of a node beyond its inventory: that it failed, is new, and what vanished.

A node that failed is tried again with back-off. One from which a set's images vanished three times
within an hour is left alone for an hour. All of it outlives every coordinator: the leader stores
what ``take_unsaved`` names.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
    served_by: str = ""
    """The run of the node's agent by then, and its credentials: another one may succeed."""

    def bounded(self, now: float) -> RepairFailure:
        """The same, with no time later than one that is noted at this moment can be."""
        again = min(self.next_try, now + LONGEST_BACK_OFF_SECONDS)
        return replace(self, next_try=again, told_from=min(self.told_from, now + UNSEEN_SECONDS))


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """What is remembered of one node in one set."""

    failure: RepairFailure | None = None
    vanished: tuple[float, ...] = ()
    """When images vanished lately (seconds since 1970), the oldest first."""
    is_new: bool = False
    """Whether it has joined since the set is known, and was never warm in it."""

    def __bool__(self) -> bool:
        """Whether there is anything to remember."""
        return self.failure is not None or bool(self.vanished) or self.is_new

    def bounded(self, now: float) -> NodeMemory:
        """The same, with no time later than one that is noted at this moment can be."""
        failure = None if self.failure is None else self.failure.bounded(now)
        return NodeMemory(failure, tuple(min(at, now) for at in self.vanished), self.is_new)


NOTHING_REMEMBERED: Final = NodeMemory()


class Records:
    """By set and node; forgotten as soon as the node is warm, but for what vanished."""

    def __init__(self) -> None:
        self._failures: defaultdict[str, dict[str, RepairFailure]] = defaultdict(dict)
        self._vanished: defaultdict[str, dict[str, deque[float]]] = defaultdict(dict)
        self._newcomers: defaultdict[str, set[str]] = defaultdict(set)
        self._unsaved: defaultdict[str, set[str]] = defaultdict(set)
        """Nodes of each set of which something else is remembered than before."""

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
        served_by: str = "",
    ) -> None:
        """A repair failed on a node; nothing is said of it for ``quiet`` seconds."""
        before = self._failures[name].get(node)
        times = 1 if before is None else before.times + 1
        again, told = at + back_off(times), at + quiet
        self._failures[name][node] = RepairFailure(times, again, *why, told, served_by)
        self._unsaved[name].add(node)

    def decided(self, name: str, event: AttemptDecided, served_by: str) -> None:
        """A node of a set's repair is done, and still cold; ``served_by``: by which agent."""
        at = event.event.stored_at
        if event.step is Step.FAILED:
            why = why_failed(event.event.outcome)
            self.failed(name, event.node, why, at, served_by=served_by)
        elif event.step is Step.SUCCEEDED:
            # Forgotten as soon as its inventory bears it out; else it would be pulled for ever.
            text = SET_NODE_UNSEEN(task=event.task, node=event.node)
            unseen = (Reason.UNKNOWN, text, None)
            quiet = UNSEEN_SECONDS
            self.failed(name, event.node, unseen, at, quiet=quiet, served_by=served_by)

    def vanished(self, name: str, node: str, now: float) -> None:
        """An image of a set that was complete on a node is gone."""
        times = self._vanished[name].setdefault(node, deque(maxlen=THRASHING_TIMES))
        times.append(now)
        self._unsaved[name].add(node)

    def joined(self, name: str, node: str) -> None:
        """A node is new to a set."""
        self._newcomers[name].add(node)
        self._unsaved[name].add(node)

    def is_new(self, name: str, node: str) -> bool:
        """Whether a node has joined a set since it is known, and was never warm in it."""
        return node in self._newcomers[name]

    def thrashes_until(self, name: str, node: str) -> float | None:
        """Until when a node is left alone, where images vanished too often."""
        times = self._vanished[name].get(node)
        if times is None or len(times) < THRASHING_TIMES:
            return None
        return times[-1] + THRASHING_SECONDS if times[-1] - times[0] <= THRASHING_SECONDS else None

    # ── what is forgotten ──

    def warm(self, name: str, node: str) -> None:
        """A node is warm again."""
        self._forget_failure(name, node)
        if node in self._newcomers[name]:
            self._newcomers[name].remove(node)
            self._unsaved[name].add(node)

    def set_changed(self, name: str) -> None:
        """A set is another one: its nodes are tried anew."""
        self._unsaved[name].update(self.remembered(name))
        self._failures.pop(name, None)
        self._vanished.pop(name, None)

    def credentials_changed(self, name: str) -> None:
        """Registries may let the nodes of a set in by now."""
        for node in list(self._failures[name]):
            self._forget_failure(name, node)

    def set_gone(self, name: str) -> None:
        """A set is gone."""
        for memory in (self._failures, self._vanished, self._newcomers, self._unsaved):
            memory.pop(name, None)

    def node_changed(self, names: Iterable[str], node: str) -> None:
        """A node is not as it was, or another agent serves it: what failed there may succeed."""
        for name in names:
            self._forget_failure(name, node)

    def agent_found(self, names: Iterable[str], node: str, served_by: str) -> None:
        """A node's agent is heard for the first time; what failed by another one may succeed."""
        for name in names:
            failure = self.failure(name, node)
            if failure is not None and failure.served_by != served_by:
                self._forget_failure(name, node)

    def node_gone(self, names: Iterable[str], node: str) -> None:
        """A node has ceased to exist, or has left these sets."""
        for name in names:
            if self.memory(name, node):
                self._unsaved[name].add(node)
            self._failures[name].pop(node, None)
            self._vanished[name].pop(node, None)
            self._newcomers[name].discard(node)

    def _forget_failure(self, name: str, node: str) -> None:
        if self._failures[name].pop(node, None) is not None:
            self._unsaved[name].add(node)

    # ── what outlives a leader ──

    def memory(self, name: str, node: str) -> NodeMemory:
        """All that is remembered of one node in one set."""
        vanished = tuple(self._vanished[name].get(node, ()))
        return NodeMemory(self.failure(name, node), vanished, self.is_new(name, node))

    def remembered(self, name: str) -> set[str]:
        """The nodes of a set of which anything is remembered."""
        return {*self._failures[name], *self._vanished[name], *self._newcomers[name]}

    def take_unsaved(self) -> dict[str, frozenset[str]]:
        """By set: the nodes of which something else is remembered than when this was last asked."""
        if not self._unsaved:
            return {}
        unsaved = {name: frozenset(nodes) for name, nodes in self._unsaved.items() if nodes}
        self._unsaved.clear()
        return unsaved

    def adopt(self, name: str, node: str, noted: NodeMemory, before: NodeMemory) -> None:
        """Take over what the leader has stored, where it is not older than what is known here.

        ``before``: what the leader had stored earlier; of that, what is gone is forgotten here too.
        """
        failure, gone, known = noted.failure, before.failure, self.failure(name, node)
        if failure is not None and (known is None or known.next_try < failure.next_try):
            self._failures[name][node] = failure
        elif not failure and known and gone and known.next_try <= gone.next_try:
            del self._failures[name][node]
        times = self._vanished[name].get(node)
        if noted.vanished and (not times or times[-1] < noted.vanished[-1]):
            self._vanished[name][node] = deque(noted.vanished, maxlen=THRASHING_TIMES)
        elif not noted.vanished and times and before.vanished and times[-1] <= before.vanished[-1]:
            del self._vanished[name][node]
        if noted.is_new:
            self._newcomers[name].add(node)
        elif before.is_new:
            self._newcomers[name].discard(node)


def why_failed(outcome: Outcome) -> tuple[Reason, Text, str | None]:
    """Why an attempt failed: by the fault of the node, or of the first image that did."""
    if outcome.reason is not None:
        return outcome.reason, outcome.text or OUTCOME_INCOMPLETE(), None
    for image in outcome.images:
        if image.reason is not None:
            return image.reason, image.text or OUTCOME_INCOMPLETE(), image.image
    return Reason.UNKNOWN, OUTCOME_INCOMPLETE(), None
