"""What is where, for the API (``port.Images``): nodes asked, places found out, the past read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from common import subjects
from common.bus import BusError
from common.inventory import ShownImage
from common.messages import ImageState
from common.texts import STORE_UNUSABLE
from coordinator.core.run import TaskRun
from coordinator.core.task import TaskHead
from coordinator.engine.image_places import ImagePlaces
from coordinator.engine.node_images import NodeImages
from coordinator.engine.nodes import NodeTable
from coordinator.engine.progress_board import ProgressBoard
from coordinator.engine.recent import Recent
from coordinator.engine.sets import SetTable
from coordinator.engine.tasks import TaskTable
from coordinator.port import StoreAway
from coordinator.snapshots import ImageOnNode, ImageUse, NodePast, Whereabouts
from coordinator.store import Store

KEPT_SECONDS: Final = 5.0
KEPT_IMAGES: Final = 8
PAST_OF_IMAGES: Final = 20
"""Tasks of a node that are read for what it has now."""


class ImageTable:
    """What is where."""

    def __init__(
        self,
        *,
        agents: NodeImages,
        tasks: TaskTable,
        runs: Mapping[str, TaskRun],
        board: ProgressBoard,
        sets: SetTable,
        nodes: NodeTable,
        store: Store,
        clock: Callable[[], float],
    ) -> None:
        self._agents = agents
        self._tasks = tasks
        self._runs = runs
        self._board = board
        self._sets = sets
        self._store = store
        self._places = places = ImagePlaces(tasks, runs, sets, nodes)
        self._known: Recent[None, Sequence[ImageUse]] = Recent(
            lambda _: places.known(), 1, clock=clock, seconds=KEPT_SECONDS
        )
        self._where: Recent[str, Sequence[Whereabouts]] = Recent(
            places.of, KEPT_IMAGES, clock=clock, seconds=KEPT_SECONDS
        )

    async def on_node(self, node: str) -> Sequence[ImageOnNode]:
        """What a node has now; see the port."""
        images = await self._agents.of(node)
        sets = self._sets.wanting(node)
        on_it = await self.tasks_on(node)
        newest = [task for task in self._tasks.ids() if task in on_it][:PAST_OF_IMAGES]
        came = _Came(await self.past(node, newest))
        return [came.told(image, sets) for image in images]

    async def known(self) -> Sequence[ImageUse]:
        """Every reference of any task or set; see the port."""
        return await self._known.get(None)

    async def places(self, reference: str) -> Sequence[Whereabouts]:
        """Where a reference is; see the port."""
        with _store_away():
            return await self._where.get(reference)

    async def tasks_on(self, node: str) -> Collection[str]:
        """Tasks that tried a node, or that run and have it; see the port."""
        if not subjects.is_node_name(node):
            return frozenset()
        with _store_away():
            tried = await self._store.tasks_with_outcomes(node)
        return tried | {task for task, run in self._runs.items() if node in run.by_name}

    async def past(self, node: str, tasks: Sequence[str]) -> Sequence[NodePast]:
        """What these tasks did on a node; see the port."""
        found = []
        with _store_away():
            for task in tasks:
                past = await self._past(node, task)
                found += [] if past is None else [past]
        return found

    async def _past(self, node: str, task: str) -> NodePast | None:
        run, head = self._runs.get(task), self._tasks.head(task)
        if run is not None and node in run.by_name:
            known = run.by_name[node]
            return NodePast(run.head, known, self._board.pulls(task, known))
        if head is None or not head.status.is_final:
            return None
        return await self._read(node, head)

    async def _read(self, node: str, head: TaskHead) -> NodePast | None:
        run = TaskRun(head, [node])
        async for event in self._store.load_outcomes(head.id, head.results_seq or 0, node):
            run.take_in(event.key, event.outcome, seq=event.seq, stored_at=event.stored_at, now=0.0)
        run.close()
        (only,) = run.nodes
        return NodePast(head, only) if only.finished_at is not None else None


class _Came:
    """Which task brought what, by reference."""

    def __init__(self, past: Sequence[NodePast]) -> None:
        """``past``: the newest first."""
        self._tasks: dict[str, str] = {}
        self._since: dict[str, int | None] = {}
        for each in past:
            for image in each.head.spec.work:
                if each.node.arrived(image.name):
                    self._tasks.setdefault(image.reference, each.head.id)
                    if each.node.images[image.name].state is ImageState.PULLED:
                        self._since.setdefault(image.reference, each.node.finished_at)

    def told(self, image: ShownImage, sets: Mapping[str, Sequence[str]]) -> ImageOnNode:
        """An image with what is known of it."""
        names = [*image.tags, *image.digests]
        return ImageOnNode(
            image,
            sets=sorted({each for name in names for each in sets.get(name, ())}),
            task=next((self._tasks[name] for name in names if name in self._tasks), None),
            since=next((self._since[name] for name in names if name in self._since), None),
        )


@contextmanager
def _store_away() -> Iterator[None]:
    try:
        yield
    except BusError as why:
        raise StoreAway(STORE_UNUSABLE(why=why.cause)) from why
