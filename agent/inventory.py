"""Says which of the images that this node is to have are there, as soon as that changes.

Looks when it is told of images, when the runtime tells of a change, when a pull has ended, and
every minute anyway. While nothing is wanted it asks the runtime nothing. What is not sent for want
of a connection is asked for again: the next heartbeat shows that something was missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NoReturn, Protocol

import msgspec

from agent.bus import Publisher, Subscriber
from agent.image_lists import ImageLists
from agent.image_turns import ImageTurns
from agent.notices import MessageRejected, Notice
from agent.pinner import Pinner
from agent.remover import Remover
from agent.runtime.protocol import PresentImage, PullFailed, Runtime, RuntimeAway
from agent.stock import Stock, marks
from common import subjects
from common.bus import NotConnected, Received, Subscription
from common.inventory import Ask, InventoryQuestion, PinThese, Show, Want
from common.messages import NOT_DECODABLE, ImageDisk, InventoryState
from common.reasons import clip
from common.removals import Remove
from common.subjects import AgentAddress

LOOK_SECONDS: Final = 60.0
"""Between two looks at a runtime that tells of nothing."""
GATHER_SECONDS: Final = 0.2
"""From a sign that something has changed to a look: such signs come in swarms."""
AGAIN_SECONDS: Final = 5.0
"""Until another look after one that did not succeed."""

_decode = msgspec.json.Decoder(InventoryQuestion).decode


class QuestionBus(Publisher, Subscriber, Protocol):
    """What the inventory uses of the bus: questions in, reports out."""


class InventoryReporter:
    """One agent's inventory; keep ``run`` running, between ``open`` and ``close``."""

    def __init__(
        self,
        *,
        bus: QuestionBus,
        runtime: Runtime,
        address: AgentAddress,
        notify: Callable[[Notice], None],
        turns: ImageTurns | None = None,
        is_pulled: Callable[[str], bool] = lambda _reference: False,
        disk: Callable[[], ImageDisk | None] = lambda: None,
        pin_percent: float = 50.0,
    ) -> None:
        self._bus = bus
        self._runtime = runtime
        self._questions = subjects.query(*address)
        self._subject = subjects.inventory(*address)
        self._notify = notify
        self._stock = Stock()
        self._lists = ImageLists(bus, runtime)
        self._pinner = Pinner(runtime, disk, pin_percent)
        self._remover = Remover(
            bus=bus,
            runtime=runtime,
            turns=turns or ImageTurns(),
            is_pulled=is_pulled,
            wanted=lambda: self._stock.wanted,
            is_ours=lambda image: image in self._pinner.ours,
            on_removed=self.look_soon,
        )
        self._due = asyncio.Event()
        self._wanted = asyncio.Event()
        self._is_asked = False
        self._subscription: Subscription | None = None

    @property
    def state(self) -> InventoryState:
        """What the next heartbeat says."""
        return self._stock.state

    async def open(self) -> None:
        """Be told what is wanted, and asked what is there."""
        self._subscription = await self._bus.subscribe(self._questions, self._on_question)

    def close(self) -> None:
        """Hear no more."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def look_soon(self) -> None:
        """Something about the node's images may have changed."""
        self._due.set()

    async def run(self) -> None:
        """Look and report until cancelled."""
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._look_on())
            jobs.create_task(self._hear_runtime())
            jobs.create_task(self._lists.run())
            jobs.create_task(self._remover.run())

    def _on_question(self, received: Received) -> None:
        try:
            question = _decode(received.data)
        except NOT_DECODABLE as error:
            self._notify(MessageRejected("question", received.subject, clip(str(error))))
            return
        match question:
            case Ask():
                self._is_asked = True
                self._due.set()
            case Show():
                self._lists.ask(question, received.reply)
            case PinThese():
                if self._stock.claimed(question):
                    self._due.set()
            case Remove():
                self._remover.ask(question, received.reply)
            case Want() if self._stock.told(question):
                (self._wanted.set if self._stock.wants_any else self._wanted.clear)()
                self._due.set()

    async def _look_on(self) -> NoReturn:
        pause = LOOK_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()
                    await asyncio.sleep(GATHER_SECONDS)
            self._due.clear()
            pause = LOOK_SECONDS if await self._look() else AGAIN_SECONDS

    async def _look(self) -> bool:
        """Report what has changed, and all of it where somebody asked; False to look again soon."""
        is_asked, self._is_asked = self._is_asked, False
        if not self._stock.wants_any:
            self._report(is_asked, {}, {})
            return await self._let_go()
        state = self._stock.state
        try:
            images = await self._runtime.list_images()
            self._stock.pinned(await self._pinner.keep(self._stock.claims, images))
            listed = marks(images)
            unknown = self._stock.unknown(listed)
            found = await self._look_up(unknown)
        except RuntimeAway:
            self._is_asked |= is_asked
            return False
        if self._stock.state.generation != state.generation:
            self._is_asked |= is_asked
            self._due.set()  # told of another list meanwhile, of which this look knows nothing
            return True
        self._report(is_asked, listed, found)
        return len(found) == len(unknown)

    async def _let_go(self) -> bool:
        """Nothing is wanted here, and so nothing is to be pinned; False to try again soon."""
        claims = None if self._stock.claims is None else ()  # whether somebody has said so counts
        try:
            await self._pinner.keep(claims, ())
        except RuntimeAway:
            return False
        return True

    async def _look_up(self, references: list[str]) -> dict[str, PresentImage | None]:
        """What is there of references; one that cannot be looked up is left out."""
        found: dict[str, PresentImage | None] = {}
        for reference in references:
            with suppress(PullFailed):
                found[reference] = await self._runtime.find(reference)
        return found

    def _report(
        self, whole: bool, listed: Mapping[str, str], found: Mapping[str, PresentImage | None]
    ) -> None:
        reports = self._stock.settle(listed, found)
        if whole and not any(report.whole for report in reports):
            reports = self._stock.whole()
        for report in reports:
            with suppress(NotConnected):
                self._bus.publish(self._subject, msgspec.json.encode(report))

    async def _hear_runtime(self) -> NoReturn:
        """Have the runtime tell of its images, where it does."""
        while True:
            await self._wanted.wait()
            try:
                await self._runtime.watch_images(self._due.set)
            except RuntimeAway:
                await asyncio.sleep(AGAIN_SECONDS)
                self._due.set()  # what changed meanwhile was told to nobody
            else:
                await asyncio.Future()
