"""When sets may pull: the windows of their schedules, as a calendar tells them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coordinator.core.sets.head import Schedule, SetHead


@dataclass(frozen=True, slots=True)
class Window:
    """What a schedule says of one moment. Times are seconds since 1970."""

    until: float | None
    """When the window ends that is open; None where none is."""
    next: float | None
    """When the next one begins; None where none will."""
    shown: str = ""
    """The next beginning as the clocks of the schedule's zone show it."""

    @property
    def is_open(self) -> bool:
        """Whether the set may pull."""
        return self.until is not None

    @property
    def turns(self) -> float | None:
        """When this is no longer so."""
        return self.next if self.until is None else min(self.until, self.next or self.until)


Calendar = Callable[[Schedule, float], Window]
"""Tells what a schedule says of a moment. It is a function: the same at every coordinator."""


class Windows:
    """By set; what was looked up holds until something begins or ends."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._known: dict[str, tuple[Schedule, float, Window]] = {}

    def of(self, head: SetHead, now: float) -> Window | None:
        """The windows of a set at a moment; None of one that may always pull."""
        schedule = head.schedule
        if schedule is None:
            return None
        known = self._known.get(head.name)
        if known is not None and known[0] == schedule and known[1] <= now:
            turns = known[2].turns
            if turns is None or now < turns:
                return known[2]
        window = self._calendar(schedule, now)
        self._known[head.name] = schedule, now, window
        return window

    def forget(self, name: str) -> None:
        """A set is gone."""
        self._known.pop(name, None)
