"""The leader's own outcomes: which are on their way into the store, and which nodes are to leave.

A verdict concerns the attempt in progress, or the next one of a node that waits. It is asked for
once; the store takes it, refuses it for now, or has an outcome of the agent's already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from common.messages import Outcome
from common.subjects import AttemptKey
from coordinator.core.commands import Command, StoreVerdict


class Verdicts:
    """Verdicts by task and node."""

    def __init__(self, emit: Callable[[Command], None]) -> None:
        self._emit = emit
        self._pending: dict[str, dict[str, int]] = defaultdict(dict)
        """The attempt of each node whose verdict is on its way, by task."""
        self._gone: dict[str, dict[str, None]] = defaultdict(dict)
        """Nodes that have ceased to exist and are to leave their task, by task."""

    def is_pending(self, task: str, node: str) -> bool:
        """Whether a verdict on a node is on its way into the store."""
        return node in self._pending.get(task, ())

    def is_gone(self, task: str, node: str) -> bool:
        """Whether a node is to leave its task."""
        return node in self._gone.get(task, ())

    def is_leaving(self, task: str, node: str) -> bool:
        """Whether a node's attempt is as good as decided: by a verdict, or because it is gone."""
        return node in self._pending.get(task, ()) or node in self._gone.get(task, ())

    def gone(self) -> list[tuple[str, str]]:
        """Every node that is to leave a task, as (task, node)."""
        return [(task, node) for task, nodes in self._gone.items() for node in nodes]

    def store(self, key: AttemptKey, outcome: Outcome) -> None:
        """Ask for a verdict to be stored."""
        self._pending[key.task][key.node] = key.attempt
        self._emit(StoreVerdict(key, outcome))

    def refused(self, key: AttemptKey) -> bool:
        """The store does not take a verdict for now; False where none was on its way."""
        pending = self._pending.get(key.task, {})
        if pending.get(key.node) != key.attempt:
            return False
        del pending[key.node]
        return True

    def decided(self, task: str, node: str) -> bool:
        """An attempt is decided, and what was on its way about it; whether its node is to leave."""
        self._pending.get(task, {}).pop(node, None)
        return node in self._gone.get(task, ())

    def mark_gone(self, task: str, node: str) -> None:
        """A node has ceased to exist."""
        self._gone[task][node] = None

    def unmark_gone(self, task: str, node: str) -> None:
        """A node exists again, or has left its task."""
        self._gone.get(task, {}).pop(node, None)

    def forget(self, task: str) -> None:
        """A task is over."""
        self._pending.pop(task, None)
        self._gone.pop(task, None)
