"""Faults of one task, or of one who looks on: logged, counted, and the end of nothing else.

What decides (the core) and what stores are not guarded by this: their faults end the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.logs import Log

log = Log(__name__)

LOGGED_OF_A_PART = 100
"""Faults of one part that are logged in full; what follows is counted only."""


class Faults:
    """Where faults that end nothing are told."""

    def __init__(self, count: Callable[[str], None] = lambda _part: None) -> None:
        """``count`` is told the part of each fault, out of a few: ``event``, ``webhook``, …."""
        self._count = count
        self._logged: dict[str, int] = {}

    def note(self, part: str, fault: Exception, *, task: str = "") -> None:
        """Something has failed that only this part of this task has need of."""
        self._count(part)
        logged = self._logged.get(part, 0) + 1
        self._logged[part] = logged
        if logged <= LOGGED_OF_A_PART:
            log.failure("one part has failed", fault, part=part, task=task, logged=logged)

    @contextmanager
    def kept(self, part: str, *, task: str = "") -> Iterator[None]:
        """Do something that may fail, and go on behind it."""
        try:
            yield
        except Exception as fault:  # noqa: BLE001 -- told above, and it may end nothing else
            self.note(part, fault, task=task)
