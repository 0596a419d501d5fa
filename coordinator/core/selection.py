"""Which nodes a task is for: labels and expressions exactly as Kubernetes' affinity has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from coordinator.core.fleet import Node
from coordinator.core.task import Operator, Requirement, TaskSpec

_INTEGER = re.compile(r"[+-]?0*[0-9]{1,19}")
_INT64 = range(-(2**63), 2**63)


def matches(spec: TaskSpec, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is selected; ``nodeNames`` is not looked at."""
    return all(labels.get(key) == value for key, value in spec.node_selector.items()) and all(
        satisfies(requirement, labels) for requirement in spec.match_expressions
    )


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


def select(
    spec: TaskSpec, nodes: Mapping[str, Node], named: Iterable[str] | None = None
) -> list[str]:
    """Names of the nodes that a task is for, sorted.

    A name in ``named`` that no node has, or one that takes no work now, is selected too: it fails
    later, by name, instead of vanishing without a word.
    """
    if named is None:
        return sorted(
            name for name, node in nodes.items() if node.schedulable and matches(spec, node.labels)
        )
    return sorted(
        name for name in set(named) if name not in nodes or matches(spec, nodes[name].labels)
    )


def describe(spec: TaskSpec) -> str:
    """The selection in words, for a message about what matched nothing."""
    parts = [f"{key}={value}" for key, value in sorted(spec.node_selector.items())]
    for requirement in spec.match_expressions:
        values = f" [{', '.join(requirement.values)}]" if requirement.values else ""
        parts.append(f"{requirement.key} {requirement.operator}{values}")
    if spec.names_nodes:
        parts.append("nodeNames")
    return ", ".join(parts)
