"""Nodes that ceased to exist, as far as a start that names them may still be on its way."""

from __future__ import annotations

from coordinator.core.run import TaskRun

REMEMBERED = 10_000
"""Vanished nodes that are known not to exist when another leader's start names them."""


class Vanished:
    """The nodes that ceased to exist last."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self._meanwhile: set[str] = set()
        """Nodes that ceased to exist while a start that may name them was being stored."""

    def note(self, name: str, *, starting: bool) -> None:
        """A node has ceased to exist; ``starting``: while any start is being stored."""
        remember(self.names, name, REMEMBERED)
        if starting:
            self._meanwhile.add(name)

    def returned(self, name: str) -> None:
        """A node exists again."""
        self.names.pop(name, None)
        self._meanwhile.discard(name)

    def nothing_starts(self) -> None:
        """No start is being stored any more."""
        self._meanwhile.clear()

    def missing_of(self, run: TaskRun) -> set[str]:
        """Nodes of a task that ceased to exist after they were chosen for it.

        A node that was chosen by its labels existed then. One that was named did not have to: it
        is missing only if it vanished while this core's own start of the task was being stored.
        """
        vanished = self._meanwhile if run.spec.names_nodes else self.names.keys()
        return vanished & run.by_name.keys()


def remember(memory: dict[str, None], name: str, most: int) -> None:
    """Add the newest name to a memory of so many."""
    memory.pop(name, None)
    memory[name] = None
    if len(memory) > most:
        del memory[next(iter(memory))]
