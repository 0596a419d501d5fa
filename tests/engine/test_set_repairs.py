"""What the sets' core wants of tasks, and a store that is away."""

from __future__ import annotations

import asyncio

from common.texts import COORDINATOR_LOADING
from coordinator.core.sets.decisions import CancelRepair
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.engine.set_repairs import RepairOrder, SetRepairs
from coordinator.port import AlreadyOver, StoreAway
from sandbox.virtual.time import virtual

TASK = "task-20260101-000000-00000001"


class Tasks:
    """A store that is away for some tries; the task is over by then."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.asked: list[float] = []

    async def create_repair(self, order: RepairOrder) -> TaskHead:
        """Nobody asks."""
        raise AssertionError(order)

    async def cancel(self, task: str) -> TaskHead:
        """End a task."""
        assert task == TASK
        self.asked.append(asyncio.get_running_loop().time())
        if len(self.asked) <= self.away:
            raise StoreAway(COORDINATOR_LOADING())
        raise AlreadyOver(TaskStatus.COMPLETED)


@virtual
async def test_a_cancel_is_not_forgotten_while_the_store_is_away() -> None:
    """It would be wanted once, and never again: a repair goes on outside of its window."""
    tasks = Tasks(away=3)
    await SetRepairs(tasks, lambda _event: None).cancel(CancelRepair(TASK))
    assert len(tasks.asked) == 4
    assert tasks.asked[-1] - tasks.asked[0] >= 3.0
