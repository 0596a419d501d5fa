"""What a node's runtime has at this moment, asked of its agent by whichever coordinator is asked.

No more than ``MOST_ASKED`` nodes are asked at once, each of them once for all who want to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from common import subjects
from common.bus import BusError, NotConnected
from common.image_texts import NODE_RUNTIME_SILENT, NODE_SILENT
from common.inventory import InventoryQuestion, Show, ShownImage, ShownImages
from common.messages import NOT_DECODABLE
from common.text import Text
from common.texts import NATS_AWAY
from coordinator.core.fleet import FleetView
from coordinator.engine.recent import Recent
from coordinator.port import NodeSilent, StoreAway, TooManyAsked

ANSWER_SECONDS: Final = 5.0
"""How long an agent may take to look."""
MOST_ASKED: Final = 32
KEPT_SECONDS: Final = 2.0
KEPT_NODES: Final = 64
READING_SECONDS: Final = 10.0
"""How long all answers of an agent may take together."""
MOST_MESSAGES: Final = 50
"""Answers of one agent that are read."""
MOST_SHOWN: Final = 10_000
"""Images of one node that are read."""

_decode = msgspec.json.Decoder(ShownImages).decode
_Found = Sequence[ShownImage] | Text
"""The images of a node, or why nobody knows them."""


class NodeCalls(Protocol):
    """What is needed of the bus; errors as there."""

    async def call(self, subject: str, payload: bytes, within: float) -> bytes:
        """Send and wait for the one answer. Raises BusError."""


class NodeImages:
    """Asks agents."""

    def __init__(self, bus: NodeCalls, fleet: FleetView, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._fleet = fleet
        self._asking = 0
        self._found: Recent[str, _Found] = Recent(
            self._ask, KEPT_NODES, clock=clock, seconds=KEPT_SECONDS
        )

    async def of(self, node: str) -> Sequence[ShownImage]:
        """The images of a node, ordered by id. Raises NodeSilent, TooManyAsked, StoreAway."""
        if not self._found.is_known(node) and self._asking >= MOST_ASKED:
            raise TooManyAsked
        found = await self._found.get(node)
        if isinstance(found, Text):
            raise NodeSilent(found)
        return found

    async def _ask(self, node: str) -> _Found:
        instance = self._fleet.instance(node)
        if instance is None:
            return self._fleet.why_unavailable(node)
        self._asking += 1
        try:
            async with asyncio.timeout(READING_SECONDS):
                return await self._read(node, subjects.query(node, instance))
        except NotConnected as away:
            raise StoreAway(NATS_AWAY(why=away.cause)) from away
        except (BusError, TimeoutError, *NOT_DECODABLE):
            return NODE_SILENT(node=node)
        finally:
            self._asking -= 1

    async def _read(self, node: str, subject: str) -> _Found:
        images: list[ShownImage] = []
        for _ in range(MOST_MESSAGES):
            after = images[-1].id if images else ""
            question: InventoryQuestion = Show(after=after)
            payload = msgspec.json.encode(question)
            answer = _decode(await self._bus.call(subject, payload, ANSWER_SECONDS))
            if answer.why_not:
                return NODE_RUNTIME_SILENT(node=node, why=answer.why_not)
            images += (image for image in answer.images if image.id > after)
            is_further = bool(images) and images[-1].id > after
            if not answer.more or not is_further or len(images) >= MOST_SHOWN:
                break
        return images[:MOST_SHOWN]
