"""Repairs of sets: tasks that the leader creates and cancels by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from common.logs import Log, RateLimitedLog
from coordinator.core.sets.decisions import CancelRepair, CreateRepair
from coordinator.core.sets.events import RepairCreated, RepairRefused, SetEvent
from coordinator.core.task import Creator, PullPolicy, TaskHead, TaskSpec
from coordinator.port import AlreadyOver, NoSuchTask, StoreAway

noisy = RateLimitedLog(Log(__name__))

AGAIN_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class RepairOrder:
    """A task that repairs a set, or looks at its tags."""

    set: str
    spec: TaskSpec
    nodes: Sequence[str]
    creator: Creator | None
    looks: bool


class Submits(Protocol):
    """What is needed of whoever stores tasks."""

    async def create_repair(self, order: RepairOrder) -> TaskHead:
        """Store a task of a set. Raises StoreAway."""

    async def cancel(self, task: str) -> TaskHead:
        """Cancel a task. Raises NoSuchTask, AlreadyOver, StoreAway."""


class SetRepairs:
    """Carries out what the sets' core wants of tasks; a create is answered by an event."""

    def __init__(self, tasks: Submits, feed: Callable[[SetEvent], None]) -> None:
        self._tasks = tasks
        self._feed = feed

    async def create(self, command: CreateRepair) -> None:
        """Create a task for the nodes that lack something, by their names."""
        head = command.head
        spec = replace(
            head.spec,
            names_nodes=True,
            node_selector={},
            match_expressions=(),
            max_nodes=None,  # of the set as a whole
            webhook_url=None,
            image_pull_policy=PullPolicy.ALWAYS if command.always else PullPolicy.IF_NOT_PRESENT,
        )
        order = RepairOrder(head.name, spec, command.nodes, head.created_by, command.looks)
        try:
            task = await self._tasks.create_repair(order)
        except StoreAway as why:
            noisy.warning("create", "a set is not repaired yet", set=head.name, why=str(why))
            self._feed(RepairRefused(head.name))
        else:
            self._feed(RepairCreated(head.name, task.id))

    async def cancel(self, command: CancelRepair) -> None:
        """End a task of a set, unless it is over; while the store is away, again and again."""
        with suppress(NoSuchTask, AlreadyOver):
            while True:
                try:
                    await self._tasks.cancel(command.task)
                except StoreAway as why:
                    noisy.warning("cancel", "a repair goes on", task=command.task, why=str(why))
                    await asyncio.sleep(AGAIN_SECONDS)
                else:
                    return
