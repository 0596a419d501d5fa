"""Which digests of a set's tags are outdated, by looks at their registries.

A look is a task that pulls with ``Always`` on one warm node. What it brings is the newest; any
other digest that nodes of the set show at that moment is outdated, and whoever has one is cold.
A digest that a later pull of the set brings all the same (by a mirror that lags behind, or for
another platform) is as good, until a look brings another one: else it would be pulled for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from common.durations import seconds_of
from common.reasons import Reason
from common.text import Text
from coordinator.core.sets.head import LONGEST_REFRESH, SHORTEST_REFRESH, SetHead
from coordinator.core.sets.records import LONGEST_BACK_OFF_SECONDS, back_off

MOST_DIGESTS: Final = 8
"""Of one tag, that are told apart as current, and as outdated."""
TROUBLED_FROM: Final = 2
"""Looks that failed in a row, from which on that is said of the set as a whole."""


@dataclass(frozen=True, slots=True)
class TagDigests:
    """What is known of one tag."""

    current: tuple[str, ...]
    """What the last look brought, then others that pulls have brought since."""
    outdated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What the looks at a set's tags came to; a later one counts."""

    looked_at: float
    """When the last that succeeded was stored (seconds since 1970)."""
    honoured: int
    """The user's request (``SetHead.refresh_asked_at``) that was met by it."""
    tags: Mapping[str, TagDigests] = field(default_factory=dict)
    """By reference."""


NEVER: Final = Refreshed(0.0, 0)


@dataclass(frozen=True, slots=True)
class LookFailure:
    """The last of a set's looks in a row that failed."""

    times: int
    next_try: float
    why: tuple[Reason, Text, str | None] | None
    """None where it was cancelled, or lost its node."""

    def bounded(self, now: float) -> LookFailure:
        """The same, with no later a try than of a look that fails at this moment."""
        return replace(self, next_try=min(self.next_try, now + LONGEST_BACK_OFF_SECONDS))


@dataclass(slots=True)
class _Looks:
    known: Refreshed = NEVER
    task: str | None = None
    is_decided: bool = False
    """Whether it is known how the running one ended."""
    is_asked: bool = False
    """Whether a task is being stored."""
    before: frozenset[str] = frozenset()
    """Repairs that had begun when the last look ended: what these bring may be older."""
    honours: int = 0
    """The user's request that the running look meets."""
    failure: LookFailure | None = None


def is_tag(reference: str) -> bool:
    """Whether a reference can stand for another image tomorrow."""
    return "@" not in reference


class Freshness:
    """By set."""

    def __init__(self) -> None:
        self._looks: dict[str, _Looks] = {}
        self.unsaved: set[str] = set()
        """Sets whose looks fail, or fail no more, which was not so before."""

    def _fails(self, name: str, failure: LookFailure | None) -> None:
        looks = self._of(name)
        if looks.failure != failure:
            looks.failure = failure
            self.unsaved.add(name)

    def _of(self, name: str) -> _Looks:
        return self._looks.setdefault(name, _Looks())

    # ── what is so ──

    def known(self, name: str) -> Refreshed:
        """What the looks have come to."""
        looks = self._looks.get(name)
        return NEVER if looks is None else looks.known

    def outdated(self, name: str) -> list[tuple[str, tuple[str, ...]]]:
        """References of a set of which some digests are outdated, with these."""
        tags = self.known(name).tags
        return [(reference, tag.outdated) for reference, tag in tags.items() if tag.outdated]

    def failure(self, name: str) -> LookFailure | None:
        """How the last look ended, if it failed."""
        looks = self._looks.get(name)
        return None if looks is None else looks.failure

    def task(self, name: str) -> str | None:
        """The look that runs."""
        looks = self._looks.get(name)
        return None if looks is None else looks.task

    def due(self, head: SetHead) -> float | None:
        """When the next look is due; None where none will be, or one runs."""
        if not any(map(is_tag, head.references)):
            return None
        looks = self._of(head.name)
        if looks.task is not None or looks.is_asked:
            return None
        if head.refresh_asked_at != looks.known.honoured:
            when = 0.0
        elif head.refresh is not None:
            seconds = seconds_of(head.refresh.tags)
            when = looks.known.looked_at + max(SHORTEST_REFRESH, min(seconds, LONGEST_REFRESH))
        else:
            return None
        return when if looks.failure is None else max(when, looks.failure.next_try)

    # ── looks ──

    def asked(self, head: SetHead) -> None:
        """A look is to be stored."""
        looks = self._of(head.name)
        looks.is_asked, looks.honours = True, head.refresh_asked_at

    def refused(self, name: str) -> None:
        """It was not stored, if one was to be."""
        self._of(name).is_asked = False

    def begun(self, head: SetHead | None, name: str, task: str) -> None:
        """A look is stored."""
        looks = self._of(name)
        if not looks.is_asked and looks.task is None and head is not None:
            looks.honours = head.refresh_asked_at
        looks.is_decided &= looks.task == task
        looks.task, looks.is_asked = task, False

    def brought(
        self,
        name: str,
        at: float,
        found: Mapping[str, str],
        shown: Mapping[str, Iterable[str]],
        running: Iterable[str],
    ) -> bool:
        """A look has succeeded; whether anything is outdated, or no longer, that was not so.

        ``found``: the digest of each reference; ``shown``: of each tag of the set, those that its
        nodes show;
        ``running``: the set's tasks at this moment.
        """
        looks = self._of(name)
        looks.before = frozenset(running)
        tags = {each: tag for each, tag in looks.known.tags.items() if each in shown}
        for reference in sorted(found.keys() & shown.keys()):  # the set may be another one by now
            digest, before = found[reference], tags.get(reference)
            is_known = before is not None and before.current[0] == digest
            current = before.current if before is not None and is_known else (digest,)
            others = sorted(set(shown[reference]).difference(current))
            tags[reference] = TagDigests(current, tuple(others[:MOST_DIGESTS]))
        changed = tags != looks.known.tags
        looks.known = Refreshed(at, looks.honours, tags)
        looks.is_decided = True
        self._fails(name, None)
        return changed

    def pulled(self, name: str, task: str, reference: str, digest: str) -> bool:
        """A repair has brought this; whether it is outdated no longer by that."""
        looks = self._of(name)
        tag = looks.known.tags.get(reference)
        if tag is None or digest not in tag.outdated or task in looks.before:
            return False
        current = (*tag.current, digest)[: MOST_DIGESTS + 1]
        outdated = tuple(each for each in tag.outdated if each != digest)
        tags = {**looks.known.tags, reference: TagDigests(current, outdated)}
        looks.known = Refreshed(looks.known.looked_at, looks.known.honoured, tags)
        return True

    def failed(self, name: str, at: float, why: tuple[Reason, Text, str | None] | None) -> None:
        """A look has failed: the set stays as it is."""
        looks = self._of(name)
        times = 1 if looks.failure is None else looks.failure.times + 1
        looks.is_decided = True
        self._fails(name, LookFailure(times, at + back_off(times), why))

    def over(self, name: str, task: str, now: float, *, was_dropped: bool) -> None:
        """A task of a set is over; a look of which nobody knows how it ended has failed."""
        looks = self._looks.get(name)
        if looks is None or looks.task != task:
            return
        if not looks.is_decided and not was_dropped:
            self.failed(name, now, None)
        looks.task, looks.is_decided = None, False

    # ── sets ──

    def adopt(self, head: SetHead, noted: Refreshed, now: float) -> bool:
        """What the leader has stored, as far as it concerns the set; whether that is news."""
        looks, tags = self._of(head.name), _concerning(head, noted.tags)
        looked_at = min(noted.looked_at, now + LONGEST_BACK_OFF_SECONDS)  # as of ``bounded``
        noted = Refreshed(looked_at, noted.honoured, tags)
        if noted.looked_at < looks.known.looked_at or noted == looks.known:
            return False
        looks.known = noted
        return True

    def credentials_changed(self, name: str) -> None:
        """The registries of a set may let it in by now."""
        self._fails(name, None)

    def adopt_failure(self, name: str, noted: LookFailure) -> None:
        """The same of how the last look failed, where it is not older than what is known here."""
        looks = self._of(name)
        if looks.failure is None or looks.failure.next_try < noted.next_try:
            looks.failure = noted

    def forget_noted(self, name: str, noted: LookFailure | None) -> None:
        """The leader has stored that it is over, where nothing newer is known here."""
        looks = self._of(name)
        if noted is not None and looks.failure and looks.failure.next_try <= noted.next_try:
            looks.failure = None

    def set_changed(self, before: SetHead | None, head: SetHead) -> bool:
        """A set is another one: what does not concern it any more is forgotten; whether it was."""
        looks = self._of(head.name)
        self._fails(head.name, None)
        if before is None or (before.references, before.refresh) == (head.references, head.refresh):
            return False
        known = looks.known
        wanted = set(head.references) if head.refresh is not None else set()
        tags = {each: tag for each, tag in known.tags.items() if each in wanted}
        looks.known = Refreshed(0.0, known.honoured, tags)
        return looks.known != known

    def forget(self, name: str) -> None:
        """A set is gone."""
        self._looks.pop(name, None)


def _concerning(head: SetHead, tags: Mapping[str, TagDigests]) -> dict[str, TagDigests]:
    """What is known of those tags that a set looks at."""
    looks = head.refresh is not None or head.refresh_asked_at > 0
    return {each: tag for each, tag in tags.items() if looks and each in head.references}
