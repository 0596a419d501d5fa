"""How far one pull is, how fast it is, and since when it has not moved."""

from __future__ import annotations

from collections import deque

from agent.runtime.protocol import Bytes
from common.messages import PullPhase, within_bytes

RATE_WINDOW = 5.0
"""Seconds over which the speed is measured."""


class Meter:
    """Bytes of one pull, from what the runtime says about once a second.

    ``done`` never falls, whatever the runtime says: a download that begins anew is no step back
    for whoever watches.
    """

    def __init__(self) -> None:
        self.done: int | None = None
        self.total: int | None = None
        self.phase: PullPhase | None = None
        self._moved_at: float | None = None
        self._samples: deque[tuple[float, int]] = deque()

    def start(self) -> None:
        """The runtime is asked for it. Nothing is due until it has opened a download."""
        self.phase = PullPhase.QUEUED

    def read(self, value: Bytes, now: float) -> None:
        """Take in what the runtime says; passed over where that is no number of bytes."""
        if within_bytes(value.done) is None:
            return
        moved = not self._samples or value.done != self._samples[-1][1]
        if value.phase is not PullPhase.DOWNLOADING:
            self._moved_at = None
        elif moved or self._moved_at is None:
            self._moved_at = now
        self.phase = value.phase
        if self._samples and value.done < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, value.done))
        while self._samples[0][0] < now - RATE_WINDOW:
            self._samples.popleft()
        self.done = max(self.done or 0, value.done)
        if value.total is not None:
            self.total = within_bytes(value.total)

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return self.total is not None and self.done is not None and self.done >= self.total

    @property
    def still_since(self) -> float | None:
        """Since when no byte has come to an open download; None where none is due."""
        return None if self.complete else self._moved_at

    @property
    def rate(self) -> int | None:
        """Bytes per second of the last few seconds; None where that is not known or is over."""
        if self._moved_at is None or self.complete or len(self._samples) < 2:  # noqa: PLR2004 -- a speed has two ends
            return None
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return round((last - first) / (ended - began)) if ended > began else None
