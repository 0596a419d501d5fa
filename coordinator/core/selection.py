"""Which nodes a task is for: labels and expressions exactly as Kubernetes' affinity has them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from coordinator.core.task import Operator, Requirement, TaskSpec


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
    try:
        have, bound = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False  # Kubernetes: a label that is no integer matches neither
    return have > bound if requirement.operator is Operator.GT else have < bound


def select(
    spec: TaskSpec,
    nodes: Iterable[tuple[str, Mapping[str, str]]],
    named: Collection[str] | None,
) -> list[str]:
    """Names of the nodes that a task is for, sorted.

    ``nodes`` are the schedulable ones with their labels. A name in ``named`` that no node has is
    selected too: it fails later, by name, instead of vanishing without a word.
    """
    known = dict(nodes)
    chosen = {name for name, labels in known.items() if matches(spec, labels)}
    if named is not None:
        chosen = {name for name in named if name in chosen or name not in known}
    return sorted(chosen)


def describe(spec: TaskSpec) -> str:
    """The selection in words, for a message about what matched nothing."""
    parts = [f"{key}={value}" for key, value in sorted(spec.node_selector.items())]
    for requirement in spec.match_expressions:
        values = f" [{', '.join(requirement.values)}]" if requirement.values else ""
        parts.append(f"{requirement.key} {requirement.operator}{values}")
    if spec.names_nodes:
        parts.append("nodeNames")
    return ", ".join(parts)
