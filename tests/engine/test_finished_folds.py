"""The nodes of finished tasks."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.core.changes import Step
from coordinator.core.run import TaskRun
from coordinator.core.task import TaskStatus
from coordinator.engine.finished_folds import FINISHED_REMEMBERED, FinishedFolds, fold
from sandbox.virtual.time import virtual
from tests.core.stage import FLAKY, START, pulled, spec
from tests.engine.following import AWAY, TASK, FakeStore, numbered, outcome, stored

FAILED = TaskStatus.FAILED


def phases(run: TaskRun) -> dict[str, str]:
    """What became of each node."""
    return {node.name: node.phase.value for node in run.nodes}


@virtual
async def test_a_fold_says_what_each_attempt_did() -> None:
    """In the order of the store, late ones left out."""
    store, steps = FakeStore(), list[tuple[str, int, Step, float]]()
    store.lists[TASK, "nodes"] = ["n1", "n2"]
    store.outcomes = [
        outcome(1, "n1", said=FLAKY),
        outcome(2, "n2"),
        outcome(3, "n2", said=FLAKY),
        outcome(4, "n9"),
        outcome(5, "n1", attempt=2),
        outcome(6, "n1", attempt=3),
    ]
    head = stored(status=FAILED, wanted=spec(max_retries=2)).head
    run = await fold(
        store,
        head,
        5,
        lambda _, node, attempt, step, at: steps.append((node, attempt, step, at)),
    )
    assert steps == [
        ("n1", 1, Step.RETRYING, START),
        ("n2", 1, Step.SUCCEEDED, START),
        ("n1", 2, Step.SUCCEEDED, START),
    ]
    assert phases(run) == {"n1": "succeeded", "n2": "succeeded"}


@virtual
async def test_what_was_not_done_at_the_end_is_cancelled() -> None:
    """Outcomes that came later do not count."""
    store = FakeStore()
    store.lists[TASK, "nodes"] = ["n1", "n2"]
    store.outcomes = [outcome(1, "n1"), outcome(2, "n2")]
    run = await FinishedFolds(store).of(stored(status=FAILED, results_seq=1).head)
    assert phases(run) == {"n1": "succeeded", "n2": "cancelled"}


@virtual
async def test_a_task_that_never_started_has_no_nodes() -> None:
    """Nothing is stored of them."""
    store = FakeStore()
    head = stored(status=TaskStatus.CANCELLED, node_list=None, results_seq=None).head
    run = await FinishedFolds(store).of(head)
    assert run.nodes == []
    assert store.upto == [0]


@virtual
async def test_however_many_ask_it_is_read_once() -> None:
    """Also while it is being read."""
    store = FakeStore()
    store.lists[TASK, "nodes"] = ["n1"]
    folds, head = FinishedFolds(store), stored(status=FAILED).head
    store.answers.clear()
    asking = [asyncio.create_task(folds.of(head)) for _ in range(20)]
    await asyncio.sleep(1.0)
    store.answers.set()
    runs = await asyncio.gather(*asking)
    assert all(run is runs[0] for run in runs)
    assert store.reads == ["list nodes", "outcomes"]
    assert await folds.of(head) is runs[0]


@virtual
async def test_only_the_last_ones_are_remembered() -> None:
    """Those that were looked at, not those that were read."""
    store = FakeStore()
    folds = FinishedFolds(store)
    heads = [stored(numbered(n), FAILED).head for n in range(FINISHED_REMEMBERED + 1)]
    first = await folds.of(heads[0])
    for head in heads[1:]:
        await folds.of(head)
        assert await folds.of(heads[0]) is first
    read = len(store.reads)
    await folds.of(heads[1])
    assert len(store.reads) > read


@virtual
async def test_what_failed_is_read_again() -> None:
    """By the next one who asks; nothing half-read is kept."""
    store = FakeStore()
    store.lists[TASK, "nodes"] = ["n1"]
    store.outcomes = [outcome(1, said=pulled())]
    folds, head = FinishedFolds(store), stored(status=FAILED, results_seq=1).head
    with store.away(), pytest.raises(type(AWAY)):
        await folds.of(head)
    assert phases(await folds.of(head)) == {"n1": "succeeded"}
