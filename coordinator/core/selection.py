"""Which nodes a task is for: labels and expressions exactly as Kubernetes' affinity has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from coordinator.core.fleet import Node
from coordinator.core.task import Operator, Requirement, TaskSpec

_INTEGER = re.compile(r"[+-]?0*[0-9]{1,19}")
_INT64 = range(-(2**63), 2**63)
DEMANDS_A_STEP = 4
"""Demands on labels that cost about as much as one look at a node."""
DEMANDS_LOOKED_AT = 200
"""A node has no more labels than so many, nearly always, and what is beyond them costs nothing."""


def demands(spec: TaskSpec) -> int:
    """How much a task demands of labels: keys and values."""
    values = sum(1 + len(requirement.values) for requirement in spec.match_expressions)
    return len(spec.node_selector) + values


def satisfies(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """Whether one requirement holds. ``NotIn`` also holds where the label is absent."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case Operator.IN:
            return value in requirement.values
        case Operator.NOT_IN:
            return value not in requirement.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None
        case Operator.GT | Operator.LT:
            return _compares(requirement, value)


def _compares(requirement: Requirement, value: str | None) -> bool:
    """Kubernetes: a label that is no integer, or not exactly one bound, matches neither."""
    if value is None or len(requirement.values) != 1:
        return False
    have, bound = _integer(value), _integer(requirement.values[0])
    if have is None or bound is None:
        return False
    return have > bound if requirement.operator is Operator.GT else have < bound


def _integer(text: str) -> int | None:
    """What Go's ``ParseInt(text, 10, 64)`` makes of it; Python's ``int`` takes blanks and ``_``."""
    number = int(text) if _INTEGER.fullmatch(text) else None
    return number if number is not None and number in _INT64 else None


class LabelQuery:
    """What a task demands of labels, made ready to be asked of many nodes.

    However many demands there are, a node costs no more than its own labels do, and nearly all of
    that is done on whole sets: a request may have 1,000 expressions, and there may be 10,000 nodes.
    """

    def __init__(self, spec: TaskSpec) -> None:
        self._one_of: dict[str, frozenset[str]] = {}
        """Values that a label may have, which must be there."""
        self._none_of: set[tuple[str, str]] = set()
        self._present: set[str] = set()
        self._absent: set[str] = set()
        self._above: dict[str, int] = {}
        self._below: dict[str, int] = {}
        self._is_hopeless = False
        for key, value in spec.node_selector.items():
            self._demand_one_of(key, [value])
        for requirement in spec.match_expressions:
            self._demand(requirement)
        self._pairs = {(key, value) for key, values in self._one_of.items() for value in values}
        self._is_hopeless = self._is_hopeless or not all(self._one_of.values())
        self._numbers: dict[tuple[str, str], bool] = {}
        """Whether a label's value lies between its bounds, as far as that was looked at."""
        self._bounded = self._above.keys() | self._below.keys()
        self.demands = len(self._pairs) + len(self._none_of) + len(self._present | self._absent)
        self.demands += len(self._bounded)

    def _demand(self, requirement: Requirement) -> None:
        key, values = requirement.key, requirement.values
        match requirement.operator:
            case Operator.IN:
                self._demand_one_of(key, values)
            case Operator.NOT_IN:
                self._none_of |= {(key, value) for value in values}
            case Operator.EXISTS:
                self._present.add(key)
            case Operator.DOES_NOT_EXIST:
                self._absent.add(key)
            case Operator.GT | Operator.LT:
                bound = _integer(values[0]) if len(values) == 1 else None
                if bound is None:
                    self._is_hopeless = True
                elif requirement.operator is Operator.GT:
                    self._above[key] = max(bound, self._above.get(key, bound))
                else:
                    self._below[key] = min(bound, self._below.get(key, bound))

    def _demand_one_of(self, key: str, values: Iterable[str]) -> None:
        allowed = frozenset(values)
        self._one_of[key] = allowed & self._one_of.get(key, allowed)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a node with these labels is selected; ``nodeNames`` is not looked at."""
        keys, pairs = labels.keys(), labels.items()
        return (
            not self._is_hopeless
            and (not self._one_of or len(pairs & self._pairs) == len(self._one_of))
            and (not self._present or len(keys & self._present) == len(self._present))
            and (not self._absent or keys.isdisjoint(self._absent))
            and (not self._none_of or pairs.isdisjoint(self._none_of))
            and all(key in labels and self._is_between(key, labels[key]) for key in self._bounded)
        )

    def _is_between(self, key: str, value: str) -> bool:
        known = self._numbers.get((key, value))
        if known is None:
            number = _integer(value)
            known = number is not None and (
                self._above.get(key, number - 1) < number < self._below.get(key, number + 1)
            )
            self._numbers[key, value] = known
        return known


class Selection:
    """The nodes that a task is for, found bit by bit.

    A name in ``named`` that no node has, or one that takes no work now, is selected too: it fails
    later, by name, instead of vanishing without a word.
    """

    def __init__(
        self,
        spec: TaskSpec,
        nodes: Mapping[str, Node],
        named: Iterable[str] | None,
        steps: int,
    ) -> None:
        """Begin with as many nodes as so many steps allow, one at least."""
        self._query = LabelQuery(spec)
        self._nodes = nodes
        self._named = named is not None
        self.left = sorted(nodes if named is None else set(named), reverse=True)
        """Nodes that are still to be looked at."""
        self.found: list[str] = []
        """Sorted."""
        self.steps = self.go_on(steps - len(self.left) // 4 - self._query.demands)
        """What was left of the steps at first, less what it costs to begin."""

    def go_on(self, steps: int) -> int:
        """Look at as many more nodes as so many steps allow, one at least; the steps left."""
        each = 1 + min(self._query.demands, DEMANDS_LOOKED_AT) // DEMANDS_A_STEP
        while self.left:
            name = self.left.pop()
            if self._selects(name):
                self.found.append(name)
            steps -= each
            if steps <= 0:
                break
        return steps

    def _selects(self, name: str) -> bool:
        node = self._nodes.get(name)
        if node is None:
            return self._named
        return (self._named or node.schedulable) and self._query.matches(node.labels)


def describe(spec: TaskSpec) -> str:
    """The selection in words, for a message about what matched nothing."""
    parts = [f"{key}={value}" for key, value in sorted(spec.node_selector.items())]
    for requirement in spec.match_expressions:
        values = f" [{', '.join(requirement.values)}]" if requirement.values else ""
        parts.append(f"{requirement.key} {requirement.operator}{values}")
    if spec.names_nodes:
        parts.append("nodeNames")
    return ", ".join(parts)
