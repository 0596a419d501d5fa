"""Time that passes where a test says so."""

from __future__ import annotations


class HandClock:
    """A clock that shows ``now``, in seconds."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time."""
        return self.now
