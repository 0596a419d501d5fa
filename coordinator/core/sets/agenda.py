"""Which sets are to be looked at, and when."""

from __future__ import annotations


class Agenda:
    """One moment for each set that is to be looked at, in seconds since 1970."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._wake: float | None = None

    def touch(self, name: str, when: float) -> None:
        """Have a set looked at then, or before."""
        self._due[name] = min(self._due.get(name, when), when)

    def forget(self, name: str) -> None:
        """The set is gone."""
        self._due.pop(name, None)

    def take(self, now: float) -> dict[str, float]:
        """The sets whose moment has come, with it; each is taken once."""
        due = {name: when for name, when in self._due.items() if when <= now}
        for name in due:
            del self._due[name]
        return due

    def alarm(self, at_latest: float | None) -> float | None:
        """When to be woken, where that is another moment than was said; then, if not before."""
        moments = self._due.values() if at_latest is None else (*self._due.values(), at_latest)
        when = min(moments, default=None)
        if when is None or when == self._wake:
            return None
        self._wake = when
        return when

    def woken(self) -> None:
        """The alarm has gone off."""
        self._wake = None
