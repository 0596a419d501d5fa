"""Takes images off the node when a coordinator asks for it, one question after the other.

What an image is kept for is looked at again before each is removed. A list of wanted references
that is not the one of whoever asks means that one of both knows too little: nothing is done then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final, NoReturn

import msgspec

from agent.bus import Publisher
from agent.image_turns import ImageTurns
from agent.removal import Surroundings, absent, goes, kept, named, names_of, stays
from agent.runtime.protocol import RemovalFailed, Runtime, RuntimeAway, StoredImage
from common.bus import NotConnected
from common.reasons import clip
from common.removals import KeptFor, Removal, Removals, Remove
from common.subjects import MAX_MESSAGE_BYTES

MOST_ASKING: Final = 8
"""Questions that wait; who asks one more gets no answer."""


class Remover:
    """Keep ``run`` running; ``ask`` takes a question and where its answer goes."""

    def __init__(
        self,
        *,
        bus: Publisher,
        runtime: Runtime,
        turns: ImageTurns,
        is_pulled: Callable[[str], bool],
        wanted: Callable[[], tuple[str, Collection[str]]],
        on_removed: Callable[[], None],
        is_ours: Callable[[str], bool] = lambda _image: False,
    ) -> None:
        """``is_ours``: whether an image is pinned by us, which keeps it from no purge.

        ``wanted``: the generation of what the node is to have, and the references.
        """
        self._bus = bus
        self._runtime = runtime
        self._turns = turns
        self._is_pulled = is_pulled
        self._wanted = wanted
        self._on_removed = on_removed
        self._is_ours = is_ours
        self._asked: asyncio.Queue[tuple[Remove, str, float]] = asyncio.Queue(MOST_ASKING)

    def ask(self, question: Remove, reply: str) -> None:
        """Have a question answered; one without a place for the answer is none."""
        if reply and not self._asked.full():
            deadline = asyncio.get_running_loop().time() + question.within
            self._asked.put_nowait((question, reply, deadline))

    async def run(self) -> NoReturn:
        """Answer until cancelled."""
        while True:
            question, reply, deadline = await self._asked.get()
            if _now() >= deadline:
                continue
            answer = fitting(await self._answer(question, deadline))
            with suppress(NotConnected):  # whoever asked says that nothing is known
                self._bus.publish(reply, answer)

    async def _answer(self, question: Remove, deadline: float) -> Removals:
        if self._wanted()[0] != question.generation:
            return Removals(other_list=True)
        try:
            by_name = named(await self._runtime.list_images())
            await self._runtime.used_images()  # a runtime that cannot tell is asked for nothing
        except RuntimeAway as error:
            return Removals(why_not=clip(str(error)))
        removals: list[Removal] = []
        gone: set[str] = set()
        for reference in dict.fromkeys(question.references):
            image = by_name.get(reference)
            if image is not None and image.id in gone:
                removals.append(goes(reference, image, is_first=False))
            elif _now() >= deadline:
                removals.append(stays(reference, KeptFor.TOO_LATE))
            else:
                is_real = not question.dry_run
                removals.append(await self._remove(reference, gone, is_real=is_real))
        if not question.dry_run:
            self._on_removed()  # one that failed may be half done
        return Removals(removals=tuple(removals))

    async def _remove(self, reference: str, gone: set[str], *, is_real: bool) -> Removal:
        """Remove what a reference names by now, or say why it stays.

        Between the last look at the images and the removal nothing is waited for.
        """
        try:
            used = await self._runtime.used_images()
            image = named(await self._runtime.list_images()).get(reference)
            if image is None:
                return absent(reference)
            around = Surroundings(
                used, frozenset(self._wanted()[1]), self._is_pulled, self._is_ours(image.id)
            )
            if (why := kept(reference, image, around)) is not None:
                return why
            if is_real:
                with self._turns.removing((reference, *names_of(image))):
                    await self._take_away(image)
        except (RemovalFailed, RuntimeAway) as error:
            return stays(reference, KeptFor.NOT_REMOVED, clip(str(error)))
        gone.add(image.id)
        return goes(reference, image, is_first=True)

    async def _take_away(self, image: StoredImage) -> None:
        """Raises RemovalFailed and RuntimeAway, where the image is still there after that."""
        try:
            await self._runtime.remove_image(image.id)
        except (RemovalFailed, RuntimeAway):
            if any(each.id == image.id for each in await self._runtime.list_images()):
                raise


def fitting(answer: Removals) -> bytes:
    """An answer that the bus carries: what went along may be left out."""
    payload = msgspec.json.encode(answer)
    if len(payload) <= MAX_MESSAGE_BYTES:
        return payload
    shorter = tuple(msgspec.structs.replace(each, also=()) for each in answer.removals)
    return msgspec.json.encode(msgspec.structs.replace(answer, removals=shorter))


def _now() -> float:
    return asyncio.get_running_loop().time()
