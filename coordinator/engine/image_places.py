"""Which references are known, and on which nodes one of them is: from heads, runs and inventory.

What a node says by its inventory is so now. What a task says was so when it was at the node; of the
finished ones the newest are read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from coordinator.core.node_run import IN_FLIGHT, NodePhase, NodeRun
from coordinator.core.run import TaskRun
from coordinator.core.task import TaskHead, TaskImage
from coordinator.engine.nodes import NodeTable
from coordinator.engine.sets import SetTable
from coordinator.engine.tasks import TaskTable
from coordinator.port import NoSuchTask, TaskDamaged
from coordinator.snapshots import ImageUse, PlaceState, Whereabouts

HEADS_AT_A_TIME: Final = 20
NODES_AT_A_TIME: Final = 200
TASKS_READ: Final = 10
NODES_READ: Final = 20_000
"""So many finished tasks, and nodes of theirs, are read for one image."""


class ImagePlaces:
    """Finds out; how often is for others to say."""

    def __init__(
        self, tasks: TaskTable, runs: Mapping[str, TaskRun], sets: SetTable, nodes: NodeTable
    ) -> None:
        self._tasks = tasks
        self._runs = runs
        self._sets = sets
        self._nodes = nodes

    # ── which there are ──

    async def known(self) -> Sequence[ImageUse]:
        """Every reference of any task or set, ordered."""
        tasks, newest = await self._of_tasks()
        sets = Counter(image for name in self._sets.names() for image in self._sets.images(name))
        wanted, warm = await self._of_inventory()
        return [
            ImageUse(
                reference,
                tasks=tasks[reference],
                last_task_at=newest.get(reference),
                sets=sets[reference],
                wanted_nodes=wanted[reference],
                warm_nodes=warm[reference],
            )
            for reference in sorted({*tasks, *sets})
        ]

    async def _of_tasks(self) -> tuple[Counter[str], dict[str, int]]:
        counts: Counter[str] = Counter()
        newest: dict[str, int] = {}
        async for head in self._heads():
            for image in head.spec.work:
                counts[image.reference] += 1
                newest.setdefault(image.reference, head.created_at)
        return counts, newest

    async def _of_inventory(self) -> tuple[Counter[str], Counter[str]]:
        wanted: Counter[str] = Counter()
        warm: Counter[str] = Counter()
        for number, (node, _) in enumerate(self._nodes.labels(), start=1):
            for reference, is_there in self._sets.inventory(node):
                wanted[reference] += 1
                warm[reference] += is_there
            if number % NODES_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return wanted, warm

    async def _heads(self) -> AsyncIterator[TaskHead]:
        """All heads, the newest first; others go on now and then."""
        for number, task in enumerate(self._tasks.ids(), start=1):
            head = self._tasks.head(task)
            if head is not None:
                yield head
            if number % HEADS_AT_A_TIME == 0:
                await asyncio.sleep(0)

    # ── where one is ──

    async def of(self, reference: str) -> Sequence[Whereabouts]:
        """Every node, ordered by name. Raises BusError."""
        told = await self._told_by_tasks(reference)
        sets = self._sets.sets_with(reference)
        places = []
        for number, (node, _) in enumerate(self._nodes.labels(), start=1):
            place = told.get(node) or Whereabouts(node, PlaceState.UNKNOWN)
            here = [name for name in self._sets.sets_of(node) if name in sets] if sets else ()
            places.append(self._with_inventory(place, reference, here) if sets else place)
            if number % NODES_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return places

    def _with_inventory(
        self, place: Whereabouts, reference: str, sets: Sequence[str]
    ) -> Whereabouts:
        """With the node's own word; ``sets`` have the reference there."""
        cell = self._sets.cell(place.node, reference)
        if cell is None or (place.state is PlaceState.PULLING and not cell[0]):
            return replace(place, sets=sets)
        present, digest = cell
        if present:
            return Whereabouts(place.node, PlaceState.PRESENT, digest, sets=sets)
        shot = self._sets.node(sets[0], place.node) if sets else None
        state = None if shot is None else shot.state
        return Whereabouts(
            place.node,
            PlaceState.ABSENT,
            sets=sets,
            reason=None if state is None else state.reason,
            text=None if state is None else state.text,
        )

    async def _told_by_tasks(self, reference: str) -> dict[str, Whereabouts]:
        told: dict[str, Whereabouts] = {}
        tasks, nodes = TASKS_READ, NODES_READ
        async for head in self._heads():
            image = next((each for each in head.spec.work if each.reference == reference), None)
            run = None if image is None else self._runs.get(head.id)
            if image is None or (run is None and not (head.status.is_final and head.nodes)):
                continue
            if run is None:
                if tasks <= 0 or nodes <= 0:
                    break
                tasks, nodes = tasks - 1, nodes - head.nodes
                run = await self._read(head.id)
            await self._take(told, run, image)
        return told

    async def _read(self, task: str) -> TaskRun | None:
        try:
            return (await self._tasks.read_snapshot(task)).run
        except (NoSuchTask, TaskDamaged):
            return None

    async def _take(
        self, told: dict[str, Whereabouts], run: TaskRun | None, image: TaskImage
    ) -> None:
        for number, node in enumerate(() if run is None else run.nodes, start=1):
            place = _told(run, node, image.name)
            before = told.get(node.name)
            if place is not None and (before is None or (place.at or 0) > (before.at or 0)):
                told[node.name] = place
            if number % NODES_AT_A_TIME == 0:
                await asyncio.sleep(0)


def _told(run: TaskRun | None, node: NodeRun, image: str) -> Whereabouts | None:
    """What a task says of one of its nodes; None where it never came to this image there."""
    task = None if run is None else run.head.id
    outcome = node.images.get(image)
    if node.arrived(image):
        digest = None if outcome is None else outcome.digest
        return Whereabouts(node.name, PlaceState.PRESENT, digest, node.finished_at, task)
    if node.phase in IN_FLIGHT:
        return Whereabouts(node.name, PlaceState.PULLING, at=node.started_at, task=task)
    if node.phase not in {NodePhase.FAILED, NodePhase.RETRYING}:
        return None
    reason, text = (node.reason, node.text) if outcome is None else (outcome.reason, outcome.text)
    return Whereabouts(
        node.name, PlaceState.FAILED, at=node.finished_at, task=task, reason=reason, text=text
    )
