"""Which images are to be pinned, and which of ours let go; pure.

Pins take the disk away from the kubelet's clean-up, so that they have a share of it and no more.
Where it is too small for all, those that were claimed first stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from agent.removal import named
from agent.runtime.protocol import StoredImage
from common.inventory import PinState

TIMES_ON_DISK: Final = 2
"""An image is there as it came and unpacked; the latter is about as large (measured)."""


@dataclass(slots=True)
class PinPlan:
    """What is to be done, and what holds once it is."""

    pin: list[str] = field(default_factory=list)
    """Ids of images."""
    unpin: list[str] = field(default_factory=list)
    states: dict[str, PinState] = field(default_factory=dict)
    """Of each claimed reference that is there."""
    ids: dict[str, str] = field(default_factory=dict)
    """The image of each."""

    def refused(self, image_id: str) -> None:
        """The runtime did not pin an image."""
        for reference, each in self.ids.items():
            if each == image_id:
                self.states[reference] = PinState.REFUSED


def plan_pins(
    claims: Sequence[str],
    images: Iterable[StoredImage],
    ours: AbstractSet[str],
    most: float | None,
) -> PinPlan:
    """Plan for what is claimed, in this order; ``ours`` are the images that are pinned by us.

    ``most``: bytes of the disk that pins may take; None where that is not known.
    """
    plan, by_name = PinPlan(), named(images)
    verdicts: dict[str, PinState] = {}
    keep: set[str] = set()
    left = most
    for reference in claims:
        image = by_name.get(reference)
        if image is None:
            continue
        if image.id not in verdicts:
            size = None if image.size is None else TIMES_ON_DISK * image.size
            if image.pinned and image.id not in ours:
                verdicts[image.id] = PinState.PINNED  # by somebody else, whose it stays
            elif left is None or size is None:
                is_ours = image.id in ours  # nothing speaks against it but that nobody can tell
                verdicts[image.id] = PinState.PINNED if is_ours else PinState.DISK_UNKNOWN
                keep.update({image.id} if is_ours else ())
            elif size > left:
                verdicts[image.id] = PinState.SHARE
            else:
                verdicts[image.id] = PinState.PINNED
                keep.add(image.id)
                left -= size
        plan.states[reference], plan.ids[reference] = verdicts[image.id], image.id
    plan.pin = sorted(keep - ours)
    plan.unpin = sorted(ours - keep)
    return plan
