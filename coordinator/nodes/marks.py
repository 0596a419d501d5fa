"""What Nodes say that is of gates: conditions and labels of sets, and startup taints.

Told by the watch of Nodes, and by the answers to what is written here: of two words about one Node
the newer one counts, whichever came first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coordinator.core.sets.gate import CONDITION_PREFIX, DOMAIN, LABEL_PREFIX
from coordinator.core.sets.gating import ConditionMark, NodeMarks
from coordinator.nodes.node_object import NodeObject

_NOTHING: Final[dict[str, str]] = {}


@dataclass(frozen=True, slots=True)
class _Marked:
    marks: NodeMarks
    version: int
    """Of the Node; 0 for one that is no number, of which nobody knows what is newer."""
    places: tuple[tuple[int, str, str], ...]
    """Where the taints of ours are in the Node's list: place, key and effect."""


class MarkedNodes:
    """Every Node there is, those that no agent runs on too."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Marked] = {}
        self._listener: Callable[[str], None] = lambda _name: None

    def listen(self, on_change: Callable[[str], None]) -> None:
        """Have this one told of each Node that is there, says something else, or is gone."""
        self._listener = on_change

    @property
    def names(self) -> Collection[str]:
        """Every Node."""
        return self._nodes.keys()

    def get(self, name: str) -> NodeMarks | None:
        """What a Node says; None for one that is not there."""
        found = self._nodes.get(name)
        return None if found is None else found.marks

    def places(self, name: str, key: str) -> list[tuple[int, str]]:
        """Where a taint is in the Node's list, and with which effect."""
        found = self._nodes.get(name)
        return [] if found is None else [(n, effect) for n, k, effect in found.places if k == key]

    def see(self, node: NodeObject) -> None:
        """A Node as it was at one moment."""
        name, new = node.metadata.name, _marked(node)
        known = self._nodes.get(name)
        if known is not None and _is_older(new, known):
            return
        self._nodes[name] = new
        if known is None or known.marks != new.marks or known.places != new.places:
            self._listener(name)

    def lose(self, name: str) -> None:
        """It is there no more."""
        if self._nodes.pop(name, None) is not None:
            self._listener(name)


def _is_older(new: _Marked, known: _Marked) -> bool:
    is_same = new.marks.uid == known.marks.uid
    return is_same and bool(new.version) and new.version < known.version


def _marked(node: NodeObject) -> _Marked:
    places = tuple(
        (place, taint.key, taint.effect)
        for place, taint in enumerate(node.spec.taints)
        if taint.key.startswith(DOMAIN)
    )
    marks = NodeMarks(
        node.metadata.uid,
        _seconds(node.metadata.creation_timestamp),
        {
            each.type.removeprefix(CONDITION_PREFIX): ConditionMark(each.status, each.reason)
            for each in node.status.conditions
            if each.type.startswith(CONDITION_PREFIX)
        },
        {
            key.removeprefix(LABEL_PREFIX): value
            for key, value in node.metadata.labels.items()
            if key.startswith(LABEL_PREFIX)
        }
        or _NOTHING,
        tuple(sorted({key for _, key, _ in places})),
    )
    version = node.metadata.resource_version
    is_number = version.isascii() and version.isdigit()
    return _Marked(marks, int(version) if is_number else 0, places)


def _seconds(timestamp: str) -> float:
    """Seconds since 1970 of a time of Kubernetes; 0 for none, so that what waits for it is due."""
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0
