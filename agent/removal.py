"""Why an image stays on the node, if it does; pure.

A runtime removes an image with all its names. So each of them has to be free: no container has the
image, no set wants one of its names there, none is being pulled, and nobody else has pinned it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from agent.runtime.protocol import StoredImage
from common.messages import within_bytes
from common.removals import MOST_ALSO, KeptFor, Removal, RemovalState

LONGEST_NAME: Final = 1280


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What speaks for an image's staying."""

    used: AbstractSet[str]
    """Names and ids of images that containers have."""
    wanted: AbstractSet[str]
    """References that sets want on the node."""
    is_pulled: Callable[[str], bool]
    """Whether a reference is being pulled, or about to be."""


def names_of(image: StoredImage) -> tuple[str, ...]:
    """All names that go with an image."""
    return (*image.tags, *image.digests)


def named(images: Iterable[StoredImage]) -> dict[str, StoredImage]:
    """The image that each name stands for."""
    return {name: image for image in images for name in names_of(image)}


def kept(reference: str, image: StoredImage, around: Surroundings) -> Removal | None:
    """Why an image stays that was asked for under a reference; None where it may go."""
    names = dict.fromkeys((reference, *names_of(image)))
    if not around.used.isdisjoint((image.id, *names)):
        return stays(reference, KeptFor.IN_USE)
    for name in names:
        if name in around.wanted:
            return stays(reference, KeptFor.WANTED, name)
    for name in names:
        if around.is_pulled(name):
            return stays(reference, KeptFor.PULLING, name)
    return stays(reference, KeptFor.PINNED) if image.pinned else None


def stays(reference: str, reason: KeptFor, about: str = "") -> Removal:
    """The answer about an image that is kept."""
    state, about = RemovalState.KEPT, about[:LONGEST_NAME]
    return Removal(reference=reference, state=state, reason=reason, about=about)


def absent(reference: str) -> Removal:
    """The answer about an image that is not there."""
    return Removal(reference=reference, state=RemovalState.ABSENT)


def goes(reference: str, image: StoredImage, *, is_first: bool) -> Removal:
    """The answer about an image that is removed, or would be.

    What it takes is told once, however many of its names were asked for.
    """
    others = [tag for tag in image.tags if tag != reference and len(tag) <= LONGEST_NAME]
    return Removal(
        reference=reference,
        state=RemovalState.REMOVED,
        also=tuple(others[:MOST_ALSO]),
        bytes=within_bytes(image.size) if is_first else None,
    )
