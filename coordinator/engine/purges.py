"""Purges carried out by the coordinator that is asked, found by every one (``purge_port``).

Its own are in memory too, while they run. One of which nothing was stored for a while, or whose
coordinator has begun another life, is interrupted: nobody takes it up, and whoever looks is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import msgspec
from msgspec.structs import replace

from common import subjects
from common.bus import BusError
from common.inventory import PART_BYTES
from common.texts import STORE_UNUSABLE
from coordinator.core.purge import NodePurge, PurgeHead, PurgeState
from coordinator.core.selection import LabelQuery
from coordinator.core.task import Creator
from coordinator.engine.nodes import NodeTable
from coordinator.engine.persistence import Persistently
from coordinator.engine.purge_asks import PurgeAsks
from coordinator.engine.purge_records import PurgeRecords
from coordinator.faults import Faults
from coordinator.port import StoreAway
from coordinator.purge_port import Before, PurgeOrder, TooManyPurges, nothing_before
from coordinator.snapshots import PurgeSnapshot

MOST_RUNNING: Final = 4
"""Purges of one coordinator at once."""
MOST_ASKED: Final = 32
"""Nodes that they ask at once, all together."""
SAVE_SECONDS: Final = 2.0
"""Between two times that a running purge is stored."""
SILENT_SECONDS: Final = 60.0
"""A running purge that was not stored for so long is carried out by nobody."""
MOST_BYTES: Final = 2 * 1024 * 1024
"""Of what is kept of one purge's images on its nodes; beyond that, of a node what it came to."""
ID_BYTES: Final = 4


class _Running:
    """A purge that is being carried out here."""

    def __init__(self, head: PurgeHead) -> None:
        self.head = head
        self.parts: list[list[NodePurge]] = []
        self.saved = 0
        """Parts that are stored and full."""
        self._room = 0
        self._left = MOST_BYTES

    @property
    def nodes(self) -> list[NodePurge]:
        """What has become of its nodes."""
        return [node for part in self.parts for node in part]

    def note(self, found: NodePurge) -> None:
        """Take in what became of a node."""
        counts, cut = self.head.counts.and_of(found), self.head.cut
        size = len(msgspec.json.encode(found)) + 1
        if size > self._left:
            found, cut = replace(found, images=()), True
            size = len(msgspec.json.encode(found)) + 1
        self._left -= size
        if size > self._room:
            self.parts.append([])
            self._room = PART_BYTES
        self._room -= size
        self.parts[-1].append(found)
        self.head = replace(self.head, counts=counts, cut=cut, parts=len(self.parts))


class PurgeTable:
    """What runs here, and what is stored."""

    def __init__(
        self,
        *,
        records: PurgeRecords,
        asks: PurgeAsks,
        nodes: NodeTable,
        clock: Callable[[], float],
        draw: Callable[[int], str],
        spawn: Callable[[Coroutine[Any, Any, Any]], None],
        persistently: Persistently,
        failed: Callable[[BusError], None],
        faults: Faults,
    ) -> None:
        """``draw`` makes hex digits of so many random bytes."""
        self._records = records
        self._asks = asks
        self._nodes = nodes
        self._clock = clock
        self._draw = draw
        self._spawn = spawn
        self._persistently = persistently
        self._failed = failed
        self._faults = faults
        self._run = draw(8)
        self._running: dict[str, _Running] = {}
        self._places = asyncio.Semaphore(MOST_ASKED)

    # ── what is asked of it ──

    def check_room(self) -> None:
        """Raise TooManyPurges where no further one may run."""
        if len(self._running) >= MOST_RUNNING:
            raise TooManyPurges(MOST_RUNNING)

    async def start(
        self, order: PurgeOrder, creator: Creator | None, before: Before = nothing_before
    ) -> PurgeSnapshot:
        """Store a purge and begin with it; see the port."""
        self.check_room()
        head = self._new_head(order, creator)
        nodes = list(self._selected(order))
        running = self._running[head.id] = _Running(replace(head, nodes=len(nodes)))
        try:
            await self._records.make_room()
            await self._records.save(running.head)
        except BusError as why:
            del self._running[head.id]
            raise self._away(why) from why
        except BaseException:
            del self._running[head.id]
            raise
        try:
            await before()
        except BaseException:
            del self._running[head.id]
            self._spawn(self._persistently(lambda: self._records.forget(head.id)))
            raise
        self._spawn(self._guarded(running, nodes))
        return self._shot(running)

    async def find(self, purge: str) -> PurgeSnapshot | None:
        """A purge; see the port."""
        running = self._running.get(purge)
        if running is not None:
            return self._shot(running)
        if not subjects.is_purge_id(purge):
            return None
        try:
            stored = await self._records.load(purge)
            nodes = [] if stored is None else await self._records.nodes(stored.head)
        except BusError as why:
            raise self._away(why) from why
        if stored is None:
            return None
        nodes.sort(key=lambda each: each.node)
        return PurgeSnapshot(stored.head, self._state(stored.head, stored.written_at), nodes)

    def _state(self, head: PurgeHead, written_at: float) -> PurgeState:
        if head.finished_at is not None:
            return PurgeState.FINISHED
        is_left = head.run == self._run or self._clock() - written_at > SILENT_SECONDS
        return PurgeState.INTERRUPTED if is_left else PurgeState.RUNNING

    @staticmethod
    def _shot(running: _Running) -> PurgeSnapshot:
        is_over = running.head.finished_at is not None
        state = PurgeState.FINISHED if is_over else PurgeState.RUNNING
        nodes = sorted(running.nodes, key=lambda each: each.node)
        return PurgeSnapshot(running.head, state, nodes)

    def _away(self, why: BusError) -> StoreAway:
        self._failed(why)
        return StoreAway(STORE_UNUSABLE(why=why.cause))

    def _new_head(self, order: PurgeOrder, creator: Creator | None) -> PurgeHead:
        now = self._clock()
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
        return PurgeHead(
            id=f"purge-{stamp}-{self._draw(ID_BYTES)}",
            images=order.spec.images,
            work=order.spec.work,
            dry_run=order.dry_run,
            set=order.set,
            run=self._run,
            created_at=int(now * 1000),
            created_by=creator,
        )

    def _selected(self, order: PurgeOrder) -> Iterator[str]:
        """Nodes that match, whether they take work or not; and named ones that nobody knows."""
        query, labels = LabelQuery(order.spec), dict(self._nodes.labels())
        for name in sorted(labels if order.names is None else set(order.names)):
            if name not in labels or query.matches(labels[name]):
                yield name

    # ── how it is carried out ──

    async def _guarded(self, running: _Running, nodes: Sequence[str]) -> None:
        """A purge that fails is interrupted, and ends nothing else."""
        with self._faults.kept("purge"):
            await self._carry_out(running, nodes)

    async def _carry_out(self, running: _Running, nodes: Sequence[str]) -> None:
        left = iter(nodes)
        try:
            async with asyncio.TaskGroup() as jobs:
                saving = jobs.create_task(self._save_on(running))
                async with asyncio.TaskGroup() as asking:
                    for _ in range(min(MOST_ASKED, len(nodes))):
                        asking.create_task(self._ask_next(running, left))
                saving.cancel()
            finished_at = int(self._clock() * 1000)
            running.head = replace(running.head, finished_at=finished_at)
            await self._persistently(lambda: self._save(running))
        finally:
            self._running.pop(running.head.id, None)

    async def _ask_next(self, running: _Running, left: Iterator[str]) -> None:
        for node in left:
            async with self._places:
                running.note(await self._asks.ask(running.head, node))

    async def _save_on(self, running: _Running) -> NoReturn:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            with suppress(BusError):  # the next time stores it
                await self._save(running)

    async def _save(self, running: _Running) -> None:
        """Store what is new; the head last, so that what it counts is there."""
        head = running.head
        for number in range(running.saved, head.parts):
            await self._records.save_part(head.id, number, list(running.parts[number]))
        running.saved = max(0, head.parts - 1)
        await self._records.save(head)
