"""Asks one agent to take images off its node, and says what became of that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from common import subjects
from common.bus import BusError
from common.image_texts import NODE_RUNTIME_SILENT
from common.inventory import InventoryQuestion
from common.messages import NOT_DECODABLE
from common.purge_texts import PURGE_NODE_OLD_AGENT, PURGE_NODE_SILENT, PURGE_NODE_UNTOLD
from common.removals import CAN_REMOVE, Removals, Remove
from coordinator.core.fleet import FleetView
from coordinator.core.purge import NodePurge, PurgeHead, answered, silent
from coordinator.snapshots import KnownNode

REMOVE_SECONDS: Final = 30.0
"""In which an agent begins removals: up to 50 images, one after the other."""
CALL_SECONDS: Final = REMOVE_SECONDS + 65.0
"""In which it answers: its runtime may take as long as it does for the last one."""
AGREE_SECONDS: Final = 20.0
"""How long an agent may know of another list of wanted references than this coordinator."""
AGAIN_SECONDS: Final = 0.5

_decode = msgspec.json.Decoder(Removals).decode


class PurgeCalls(Protocol):
    """What is needed of the bus; errors as there."""

    async def call(self, subject: str, payload: bytes, within: float) -> bytes:
        """Send and wait for the one answer. Raises BusError."""


class PurgeAsks:
    """Asks agents."""

    def __init__(
        self,
        bus: PurgeCalls,
        fleet: FleetView,
        known: Callable[[str], KnownNode | None],
        generation: Callable[[str], str | None],
        clock: Callable[[], float],
    ) -> None:
        """``generation``: of the references that a node is to have; None where nobody knows."""
        self._bus = bus
        self._fleet = fleet
        self._known = known
        self._generation = generation
        self._clock = clock

    async def ask(self, head: PurgeHead, node: str) -> NodePurge:
        """Have one node purged.

        A set that is put or deleted at this moment is known here, to the leader and to the agent
        one after the other: they have to agree before anything is removed.
        """
        agreed_by = self._clock() + AGREE_SECONDS
        while True:
            known, instance = self._known(node), self._fleet.instance(node)
            if known is None or instance is None:
                return silent(node, self._fleet.why_unavailable(node))
            if CAN_REMOVE not in known.abilities:
                version = known.agent_version
                return silent(node, PURGE_NODE_OLD_AGENT(node=node, version=version))
            # An agent that was told nothing yet agrees with whoever knows of nothing.
            if (generation := self._generation(node)) is not None:
                answer = await self._call(head, node, instance, generation)
                if answer is None or not answer.other_list:
                    return _read(node, head, answer)
            if self._clock() >= agreed_by:
                return silent(node, PURGE_NODE_UNTOLD(node=node))
            await asyncio.sleep(AGAIN_SECONDS)

    async def _call(
        self, head: PurgeHead, node: str, instance: str, generation: str
    ) -> Removals | None:
        question: InventoryQuestion = Remove(
            references=[image.reference for image in head.work],
            generation=generation,
            dry_run=head.dry_run,
            within=REMOVE_SECONDS,
        )
        payload = msgspec.json.encode(question)
        try:
            subject = subjects.query(node, instance)
            return _decode(await self._bus.call(subject, payload, CALL_SECONDS))
        except (BusError, *NOT_DECODABLE):
            return None


def _read(node: str, head: PurgeHead, answer: Removals | None) -> NodePurge:
    if answer is None:
        return silent(node, PURGE_NODE_SILENT(node=node))
    if answer.why_not:
        return silent(node, NODE_RUNTIME_SILENT(node=node, why=answer.why_not))
    try:
        return answered(node, head, answer)
    except ValueError:
        return silent(node, PURGE_NODE_SILENT(node=node))
