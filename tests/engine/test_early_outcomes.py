"""An outcome that is stored before its task starts counts at the start."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from common import subjects
from common.messages import Outcome
from common.subjects import AttemptKey
from coordinator.core.events import OutcomeStored
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Core, Limits
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.engine.finished_folds import FinishedFolds
from coordinator.engine.loop import Loop
from coordinator.engine.persistence import Persistently
from coordinator.engine.progress_board import ProgressBoard
from coordinator.engine.tasks import TaskTable
from coordinator.store import Store, StoredHead
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.core.stage import FLAKY, HOPELESS, head, pulled, spec

TASK = "task-20260101-000000-00000001"
NODES = ("n1", "n2")


async def store_outcome(cluster: Cluster, task: str, node: str, outcome: Outcome) -> None:
    """Decide the first attempt of a node, whoever may do that."""
    subject = subjects.result(task, node, 1)
    await cluster.observer.store(subject, msgspec.json.encode(outcome), expect_last=0)


@virtual
async def test_an_outcome_of_a_pending_task_counts_when_it_starts() -> None:
    """By hand, or by a leader of which nobody knows: the task ends, and that node pulls nothing."""
    async with Cluster() as cluster:
        leader = await cluster.leader(max_concurrent_tasks=1)
        for name in NODES:
            await cluster.node(name, seconds=20.0)
        await asyncio.sleep(1.0)
        await cluster.create(leader)
        await asyncio.sleep(2.0)
        task = await cluster.create(leader, spec("b"))
        await store_outcome(cluster, task, "n1", pulled("b"))
        await asyncio.sleep(5.0)
        assert leader.service.tasks.head(task).status is TaskStatus.PENDING  # type: ignore[union-attr]
        over = await cluster.over(leader, task)
        assert over.status is TaskStatus.COMPLETED
        assert over.counts is not None
        assert (over.counts.completed, over.counts.retry_count) == (2, 0)


@virtual
async def test_an_outcome_between_the_list_and_the_start_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is read by everybody before anybody knows that the task runs."""
    swap = Store.swap_head
    async with Cluster() as cluster:

        async def slow(self: Store, old: StoredHead, new: TaskHead) -> StoredHead:
            if new.status is TaskStatus.RUNNING:
                await store_outcome(cluster, new.id, "n1", HOPELESS)
                await store_outcome(cluster, new.id, "n2", pulled())
                await asyncio.sleep(2.0)
            return await swap(self, old, new)

        monkeypatch.setattr(Store, "swap_head", slow)
        leader = await cluster.leader()
        for name in NODES:
            await cluster.node(name, seconds=20.0)
        await asyncio.sleep(1.0)
        task = await cluster.create(leader)
        over = await cluster.over(leader, task)
        assert over.status is TaskStatus.FAILED
        assert over.counts is not None
        assert (over.counts.completed, over.counts.failed) == (1, 1)
        await cluster.told(leader, task)
        told = await cluster.events(task)
        assert sorted(told[2:-1]) == ["node.failed n1", "node.succeeded n2"]


class Outcomes:
    """A store of outcomes that are there when they are appended."""

    def __init__(self) -> None:
        self.stored: list[OutcomeStored] = []

    async def load_nodes(self, head: TaskHead) -> list[str]:
        """Nobody asks for it here."""
        raise NotImplementedError(head.id)

    async def load_named(self, task: str) -> list[str]:
        """Nor for this."""
        raise NotImplementedError(task)

    async def load_head(self, task: str) -> StoredHead | None:
        """Nor for this."""
        raise NotImplementedError(task)

    async def exists(self, task: str) -> bool:
        """Nor for this."""
        raise NotImplementedError(task)

    async def load_outcomes(self, task: str, upto: int) -> AsyncIterator[OutcomeStored]:
        """What is there by now, one after the other."""
        for event in [e for e in self.stored if e.key.task == task and e.seq <= upto]:
            await asyncio.sleep(0)
            yield event


RESULTS = {"pulled": pulled(), "flaky": FLAKY, "hopeless": HOPELESS}
ATTEMPTS = [(node, attempt) for node in NODES for attempt in (1, 2)]


@given(
    order=st.permutations(["head", *ATTEMPTS]),
    results=st.lists(st.sampled_from(sorted(RESULTS)), min_size=4, max_size=4),
    pauses=st.lists(st.integers(0, 3), min_size=5, max_size=5),
)
@virtual
async def test_the_order_of_head_and_outcomes_makes_no_difference(
    order: list[Any], results: list[str], pauses: list[int]
) -> None:
    """Whatever is stored first, the task comes to what its outcomes say."""
    running = replace(head(TASK, spec(max_retries=1), TaskStatus.RUNNING), node_list="nodes")
    store, jobs = Outcomes(), list[asyncio.Task[None]]()
    loop = Loop(core := Core(Limits(), 0.0), asyncio.get_running_loop().time)

    def spawn(job: Coroutine[Any, Any, None]) -> None:
        jobs.append(asyncio.create_task(job))

    table = TaskTable(
        store=store,
        core=core,
        board=ProgressBoard(core),
        folds=FinishedFolds(store),
        why_waiting=lambda _: None,
        feed=loop.feed,
        clock=lambda: 0.0,
        spawn=spawn,
        persistently=Persistently(random.Random(1)),
    )
    fold = TaskRun(running, NODES)
    named = dict(zip(ATTEMPTS, results, strict=True))
    for what, pause in zip(order, pauses, strict=True):
        if what == "head":
            table.learn(StoredHead(running, 2), nodes=NODES)
        else:
            key, outcome = AttemptKey(TASK, *what), RESULTS[named[what]]
            seq = len(store.stored) + 1
            store.stored.append(OutcomeStored(key, outcome, seq, 0.0))
            fold.take_in(key, outcome, seq=seq, stored_at=0.0, now=0.0)
            await table.take_in([store.stored[-1]])
        for _ in range(pause):
            await asyncio.sleep(0)
    await asyncio.gather(*jobs)
    run = core.runs[TASK]
    assert [node.phase for node in run.nodes] == [node.phase for node in fold.nodes]
    assert run.ending() == fold.ending()
