"""Looks at the tags of sets: on which node one is made, and what follows from how it ended."""

from __future__ import annotations

from typing import Final

from coordinator.core.changes import AttemptDecided, Step
from coordinator.core.run import TaskRun
from coordinator.core.sets.decisions import CreateRepair
from coordinator.core.sets.diagnosis import AllKnown
from coordinator.core.sets.freshness import is_tag
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.records import why_failed
from coordinator.core.task import PullPolicy

LATER_SECONDS: Final = 10.0
"""Until another try where a look is due and cannot be made."""


class Looking:
    """Looks of all sets."""

    def __init__(self, known: AllKnown) -> None:
        self._known = known

    def may_pull(self, head: SetHead, now: float) -> bool:
        """Whether a set may have its registries asked at this moment."""
        window = self._known.windows.of(head, now)
        return not head.paused and (window is None or window.is_open)

    def begin(self, head: SetHead, now: float) -> CreateRepair | None:
        """A look on a node that is warm and takes work, another one after a failure; or None."""
        known = self._known
        if not known.repairs.may_begin(head.name, known.runs):
            return None
        warm = known.membership.of_set[head.name] - known.cold[head.name].keys()
        able = sorted(node for node in warm if known.fleet.agent_for(node, now) is not None)
        if not able:
            return None
        failure = known.freshness.failure(head.name)
        node = able[(0 if failure is None else failure.times) % len(able)]
        known.repairs.asked(head.name)
        known.freshness.asked(head)
        return CreateRepair(head, (node,), always=True, looks=True)

    def decided(self, name: str, run: TaskRun, event: AttemptDecided) -> bool:
        """A look has ended on its node; whether that changes what is outdated, or was wanted."""
        freshness, outcome = self._known.freshness, event.event.outcome
        if event.step is Step.FAILED:
            freshness.failed(name, event.event.stored_at, why_failed(outcome))
            return False
        if event.step is not Step.SUCCEEDED:
            return False
        honoured = freshness.known(name).honoured
        found, shown = _digests(run, event), self._known.shown(name)
        running = self._known.repairs.tasks(name)
        changed = freshness.brought(name, event.event.stored_at, found, shown, running)
        return changed or freshness.known(name).honoured != honoured

    def pulled(self, name: str, run: TaskRun, event: AttemptDecided) -> bool:
        """A repair has ended on a node; whether something is outdated no longer by that."""
        asks = run.spec.image_pull_policy is PullPolicy.ALWAYS
        if event.step is not Step.SUCCEEDED or not asks:
            return False
        pulled, found = self._known.freshness.pulled, _digests(run, event)
        return sum(pulled(name, event.task, *each) for each in found.items()) > 0


def _digests(run: TaskRun, event: AttemptDecided) -> dict[str, str]:
    """What an attempt found of each tag."""
    references = {image.name: image.reference for image in run.spec.work}
    return {
        references[image.image]: image.digest
        for image in event.event.outcome.images
        if image.digest is not None and is_tag(references.get(image.image, "@"))
    }
