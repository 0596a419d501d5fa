"""Purges of the port's promises and nothing else: what nodes answer is made by hand."""

# ruff: noqa: D102 -- the port says what each method is

from __future__ import annotations

from common.texts import STORE_UNUSABLE
from coordinator.core.purge import NodePurge, PurgeHead, PurgeState
from coordinator.core.task import Creator
from coordinator.port import StoreAway
from coordinator.purge_port import Before, PurgeOrder, TooManyPurges, nothing_before
from coordinator.snapshots import PurgeSnapshot

BEGUN_AT = 1_768_576_354_000
"""2026-01-16T15:12:34Z."""


class FakePurges:
    """``purge_port.Purges`` over a dictionary."""

    def __init__(self) -> None:
        self.most = 4
        self.is_away = False
        """Whether nothing can be stored."""
        self.orders: list[PurgeOrder] = []
        self.known: dict[str, PurgeSnapshot] = {}

    def check_room(self) -> None:
        if len(self.known) >= self.most:
            raise TooManyPurges(self.most)

    async def start(
        self, order: PurgeOrder, creator: Creator | None, before: Before = nothing_before
    ) -> PurgeSnapshot:
        self.check_room()
        if self.is_away:
            raise StoreAway(STORE_UNUSABLE(why="away"))
        await before()
        self.orders.append(order)
        head = PurgeHead(
            id=f"purge-20260116-151234-{len(self.known):08x}",
            images=order.spec.images,
            work=order.spec.work,
            dry_run=order.dry_run,
            set=order.set,
            run="c1",
            created_at=BEGUN_AT,
            created_by=creator,
            nodes=len(order.names or ()),
        )
        self.known[head.id] = PurgeSnapshot(head, PurgeState.RUNNING, ())
        return self.known[head.id]

    async def find(self, purge: str) -> PurgeSnapshot | None:
        return self.known.get(purge)

    def told(self, purge: str, state: PurgeState, *nodes: NodePurge) -> None:
        """It is so far."""
        self.known[purge] = PurgeSnapshot(self.known[purge].head, state, nodes)
