"""Pins in a containerd: a label by which CRI tells the kubelet to let an image be.

It stands on the record that is named by the image's id: a pull of a tag makes the tag's record
anew, without labels. A label of our own stands beside it, so that what others have pinned (the
sandbox image, an admin's) is neither taken over nor let go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.runtime.containerd import NOT_FOUND, UNIMPLEMENTED
from agent.runtime.endpoint import CallFailed
from agent.runtime.failures import presentable
from agent.runtime.protocol import PinFailed, RuntimeAway

if TYPE_CHECKING:
    from agent.runtime.containerd import Containerd

PINNED_LABEL: Final = "io.cri-containerd.pinned"
PINNED: Final = "pinned"
OWNER_LABEL: Final = "ips.dev/pin"
"""Its value is the installation."""


class ImagePins:
    """The pins of one installation of this service on one containerd, from 1.7 on."""

    def __init__(self, containerd: Containerd, installation: str) -> None:
        self._containerd = containerd
        self._installation = installation

    async def ours(self) -> frozenset[str]:
        """Ids of the images that are pinned by us. Raises RuntimeAway."""
        try:
            records = await self._containerd.image_records({OWNER_LABEL: self._installation})
        except CallFailed as error:
            if error.code == UNIMPLEMENTED:
                return frozenset()
            raise RuntimeAway(presentable(str(error))) from error
        return frozenset(record.name for record in records)

    async def pin(self, image_id: str) -> None:
        """Pin an image, unless it is. Raises PinFailed, RuntimeAway."""
        try:
            labels = await self._containerd.image_labels(image_id)
            if labels.get(PINNED_LABEL) != PINNED:
                wanted = {PINNED_LABEL: PINNED, OWNER_LABEL: self._installation}
                await self._containerd.label_image(image_id, wanted)
        except CallFailed as error:
            raise PinFailed(presentable(str(error))) from error

    async def unpin(self, image_id: str) -> None:
        """Let an image of ours go. Raises PinFailed, RuntimeAway."""
        try:
            labels = await self._containerd.image_labels(image_id)
            if labels.get(OWNER_LABEL) == self._installation:
                nothing = {PINNED_LABEL: "", OWNER_LABEL: ""}
                await self._containerd.label_image(image_id, nothing)
        except CallFailed as error:
            if error.code != NOT_FOUND:  # it is gone, and its labels with it
                raise PinFailed(presentable(str(error))) from error
