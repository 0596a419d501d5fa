"""One attempt that this agent has accepted: what it is to pull, and what has come of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent.meter import Meter
from common.messages import (
    Assign,
    AssignedImage,
    AttemptProgress,
    Hold,
    ImageOutcome,
    ImageProgress,
    ImageState,
    Outcome,
)

Meters = Callable[[str], Meter | None]
"""The meter of a reference's pull; None while it is not being pulled."""


class Attempt:
    """Held from its acceptance until its outcome is stored.

    ``work`` is None once only the outcome is left to deliver.
    """

    def __init__(self, task: str, number: int, since: float, work: Assign | None = None) -> None:
        self.task = task
        self.number = number
        self.work = work
        self._since = since
        self._outcomes: dict[int, ImageOutcome] = {}
        self._seen: dict[int, ImageProgress] = {}

    def hold(self, now: float) -> Hold:
        """How the agent's heartbeat names it."""
        return Hold(task=self.task, attempt=self.number, seconds=round(now - self._since, 3))

    def progress(self, meters: Meters) -> AttemptProgress | None:
        """How far it is, by the images about which something is known; None if about none."""
        if self.work is None:
            return None
        known = (
            self._seen.get(place) or _on_the_way(image, meters(image.reference))
            for place, image in enumerate(self.work.images)
        )
        images = [image for image in known if image is not None]
        if not images:
            return None
        return AttemptProgress(task=self.task, attempt=self.number, images=images)

    def conclude(self, place: int, outcome: ImageOutcome, meter: Meter | None) -> None:
        """The image at this place of the assignment is over. ``outcome`` names its reference."""
        assert self.work is not None  # noqa: S101 -- who waits for a pull is at work
        outcome = msgspec.structs.replace(outcome, image=self.work.images[place].name)
        self._outcomes[place] = outcome
        self._seen[place] = _last_seen(outcome, meter)

    def finish(self, instance: str, now: float) -> Outcome | None:
        """End the work; its outcome, once every image is over."""
        if self.work is None or len(self._outcomes) < len(self.work.images):
            return None
        self.work = None
        images = [self._outcomes[place] for place in sorted(self._outcomes)]
        return Outcome(images=images, seconds=round(now - self._since, 3), instance=instance)


def _on_the_way(image: AssignedImage, meter: Meter | None) -> ImageProgress | None:
    if meter is None:
        return None
    return ImageProgress(
        image=image.name,
        state=ImageState.PULLING,
        bytes=meter.done,
        total_bytes=meter.total,
        bytes_per_second=meter.rate,
        phase=meter.phase,
    )


def _last_seen(outcome: ImageOutcome, meter: Meter | None) -> ImageProgress:
    """How far an image was at its end; never less than what was reported before."""
    done, total = (None, None) if meter is None else (meter.done, meter.total)
    if outcome.bytes is not None:
        done, total = max(done or 0, outcome.bytes), max(total or 0, outcome.bytes)
    return ImageProgress(image=outcome.image, state=outcome.state, bytes=done, total_bytes=total)
