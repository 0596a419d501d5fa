"""Answers who asks what is on this node: every image of the runtime's store, at that moment.

Whoever asks while the runtime is being asked gets what it says next, so that one question of each
coordinator costs it one look.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, NoReturn

import msgspec

from agent.bus import Publisher
from agent.runtime.protocol import Runtime, RuntimeAway, StoredImage
from common.bus import NotConnected
from common.inventory import MOST_NAMES, PART_BYTES, Show, ShownImage, ShownImages
from common.messages import within_bytes
from common.reasons import clip

MOST_ASKING: Final = 16
"""Questions that wait at once; who asks one more gets no answer."""
LONGEST_NAME: Final = 1280
LONGEST_ID: Final = 256


class ImageLists:
    """Keep ``run`` running; ``ask`` takes a question and where its answer goes."""

    def __init__(self, bus: Publisher, runtime: Runtime) -> None:
        self._bus = bus
        self._runtime = runtime
        self._asked: list[tuple[Show, str]] = []
        self._is_asked = asyncio.Event()

    def ask(self, question: Show, reply: str) -> None:
        """Have a question answered; one without a place for the answer is none."""
        if reply and len(self._asked) < MOST_ASKING:
            self._asked.append((question, reply))
            self._is_asked.set()

    async def run(self) -> NoReturn:
        """Answer until cancelled."""
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            asked, self._asked = self._asked, []
            try:
                images, why = await self._runtime.list_images(), ""
            except RuntimeAway as error:
                images, why = (), clip(str(error))
            shown = sorted(filter(_can_be_told, images), key=lambda image: image.id)
            for question, reply in asked:
                rest = [image for image in shown if image.id > question.after]
                self._answer(reply, ShownImages(why_not=why) if why else _first_of(rest))

    def _answer(self, reply: str, answer: ShownImages) -> None:
        with suppress(NotConnected):  # whoever asked has given up by then
            self._bus.publish(reply, msgspec.json.encode(answer))


def _can_be_told(image: StoredImage) -> bool:
    return len(image.id) <= LONGEST_ID


def _first_of(images: list[StoredImage]) -> ShownImages:
    """As many as one message holds."""
    shown: list[ShownImage] = []
    room = PART_BYTES
    for image in images:
        told = _told(image)
        size = len(msgspec.json.encode(told)) + 1
        if size > PART_BYTES:  # no message holds these names
            continue
        room -= size
        if room < 0:
            return ShownImages(images=tuple(shown), more=True)
        shown.append(told)
    return ShownImages(images=tuple(shown))


def _told(image: StoredImage) -> ShownImage:
    return ShownImage(
        id=image.id,
        tags=_names(image.tags),
        digests=_names(image.digests),
        size=within_bytes(image.size),
        pinned=image.pinned,
    )


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if len(name) <= LONGEST_NAME)[:MOST_NAMES]
