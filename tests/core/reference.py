"""What the stored outcomes of a node come to, said a second time and as simply as possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from common.messages import ImageState, Outcome
from coordinator.core.task import TaskSpec

Verdict = Literal["open", "succeeded", "failed", "removed"]


@dataclass(frozen=True)
class Standing:
    """A node of a task, by its outcomes alone."""

    verdict: Verdict
    attempts: int
    """Those that are decided and count."""
    wanted: frozenset[str]
    """Images that are neither there nor beyond hope."""


def standing(spec: TaskSpec, outcomes: Mapping[int, Outcome]) -> Standing:
    """Fold a node's outcomes, by attempt."""
    arrived: set[str] = set()
    hopeless: set[str] = set()
    names = {image.name for image in spec.work}
    verdict: Verdict = "open"
    attempts = 0
    while verdict == "open" and attempts + 1 in outcomes:
        attempts += 1
        outcome = outcomes[attempts]
        arrived |= {i.image for i in outcome.images if i.state in {ImageState.PULLED, "present"}}
        hopeless |= {
            i.image
            for i in outcome.images
            if i.state is ImageState.FAILED and i.reason and not i.reason.retry_makes_sense
        }
        spent = attempts > spec.max_retries or not names - arrived - hopeless
        if outcome.removed:
            verdict = "removed"
        elif names <= arrived:
            verdict = "succeeded"
        elif spent or (outcome.reason and not outcome.reason.retry_makes_sense):
            verdict = "failed"
    return Standing(verdict, attempts, frozenset(names - arrived - hopeless))
