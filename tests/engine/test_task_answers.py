"""The table of tasks: what it answers, from memory and from the store."""

from __future__ import annotations

import asyncio

import pytest

from common.messages import AttemptProgress, ImageProgress, ImageState
from common.texts import LIST_DAMAGED
from coordinator.core.task import TaskCounts, TaskStatus
from coordinator.port import NoSuchTask, StoreAway, TaskDamaged
from coordinator.snapshots import Transfer
from coordinator.store import NAMED
from sandbox.virtual.time import virtual
from tests.core.stage import FLAKY
from tests.engine.following import (
    AWAY,
    NAMING,
    OTHER,
    TASK,
    FakeStore,
    Following,
    numbered,
    outcome,
    stored,
)

PENDING, RUNNING, FAILED = TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.FAILED
CANCELLED = TaskStatus.CANCELLED


@virtual
async def test_a_pending_task_says_why_it_waits() -> None:
    """It has no run yet."""
    following = Following()
    following.tasks.learn(stored())
    shot = following.tasks.snapshot(TASK)
    assert shot is not None
    assert (shot.run, shot.waiting_for) == (None, following.waiting_for)
    assert shot.now == int(following.clock() * 1000)
    assert await following.tasks.snapshot_with_nodes(TASK) == shot


@virtual
async def test_a_running_task_shows_its_run_and_its_bytes() -> None:
    """Those of the pulls in flight too."""
    following = Following()
    following.tasks.learn(stored(status=RUNNING), nodes=["n1"])
    await following.settle()
    run = following.core.runs[TASK]
    run.place(run.nodes[0], 0.0)
    image = ImageProgress(image="a", state=ImageState.PULLING, bytes=7)
    following.board.report(run, run.nodes[0], AttemptProgress(task=TASK, attempt=1, images=[image]))
    shot = await following.tasks.snapshot_with_nodes(TASK)
    assert shot.run is run
    assert shot.transfer == Transfer(bytes=7)
    assert shot.waiting_for is following.waiting_for
    assert shot.pulls(run.nodes[0]) == {"a": image}


@virtual
async def test_a_running_task_is_shown_before_its_list_is_read() -> None:
    """Its head is known, and nothing more."""
    following = Following()
    with following.fake.away():
        following.tasks.learn(stored(status=RUNNING))
        shot = await following.tasks.snapshot_with_nodes(TASK)
        assert (shot.run, shot.head.status) == (None, RUNNING)
        following.drop_jobs()


@virtual
async def test_the_nodes_of_a_finished_task_are_read_only_where_they_are_asked_for() -> None:
    """From what is stored up to its end."""
    following = Following()
    following.fake.lists[TASK, "nodes"] = ["n1", "n2"]
    following.fake.outcomes = [outcome(3), outcome(4, "n2", said=FLAKY)]
    following.tasks.learn(stored(status=FAILED, results_seq=3, counts=TaskCounts(total=2)))
    shot = following.tasks.snapshot(TASK)
    assert shot is not None
    assert shot.run is None
    assert following.fake.reads == []
    run = (await following.tasks.snapshot_with_nodes(TASK)).run
    assert run is not None
    assert [node.phase.value for node in run.nodes] == ["succeeded", "cancelled"]


@virtual
async def test_a_finished_task_whose_store_is_away_says_so() -> None:
    """In the store's words without our subject; its head is answered all the same."""
    following = Following()
    following.tasks.learn(stored(status=FAILED))
    with following.fake.away():
        with pytest.raises(StoreAway) as away:
            await following.tasks.snapshot_with_nodes(TASK)
        assert away.value.text.params == {"why": AWAY.cause}
        with pytest.raises(type(AWAY)):
            await following.tasks.read_snapshot(TASK)
        assert following.tasks.snapshot(TASK) is not None


@virtual
async def test_nobody_knows_an_unknown_task() -> None:
    """No question makes one."""
    following = Following()
    assert following.tasks.head(TASK) is None
    assert following.tasks.stored(TASK) is None
    assert following.tasks.snapshot(TASK) is None
    assert await following.tasks.named_nodes(TASK) is None
    with pytest.raises(NoSuchTask):
        await following.tasks.snapshot_with_nodes(TASK)
    assert len(following.tasks) == 0


@virtual
async def test_the_names_of_a_task_are_answered_as_they_are_stored() -> None:
    """None where it names none; StoreAway where they cannot be read."""
    following = Following()
    following.fake.lists[TASK, NAMED] = ["n2", "n1"]
    following.tasks.learn(stored(wanted=NAMING))
    following.tasks.learn(stored(OTHER, revision=2))
    assert await following.tasks.named_nodes(TASK) == ["n2", "n1"]
    assert await following.tasks.named_nodes(OTHER) is None
    with following.fake.away(), pytest.raises(StoreAway):
        await following.tasks.named_nodes(TASK)


class Damaged(FakeStore):
    """A store of which lists cannot be read."""

    async def load_list(self, task: str, name: str) -> list[str]:
        """Say so, after all that ``FakeStore`` does."""
        await super().load_list(task, name)
        raise TaskDamaged(LIST_DAMAGED(why="a part of it is missing"))


@pytest.mark.parametrize("question", ["nodes", "names"])
@virtual
async def test_a_task_that_is_removed_while_it_is_read_is_no_task(question: str) -> None:
    """What is read of it by then is not the whole of it."""
    following = Following()
    following.fake.lists[TASK, NAMED] = ["n1"]
    following.tasks.learn(stored(status=FAILED, wanted=NAMING))
    following.fake.answers.clear()
    tasks = following.tasks
    asking = asyncio.create_task(
        tasks.snapshot_with_nodes(TASK) if question == "nodes" else tasks.named_nodes(TASK)
    )
    await asyncio.sleep(1.0)
    tasks.forget(TASK)
    following.fake.answers.set()
    with pytest.raises(NoSuchTask):
        await asking


@pytest.mark.parametrize("is_there", [True, False])
@virtual
async def test_what_was_removed_with_its_task_is_no_damage(is_there: bool) -> None:
    """The tombstone of its head may not have come yet; where there is a head it is damage."""
    store = Damaged()
    following = Following(store)
    head = stored(status=FAILED, wanted=NAMING)
    following.tasks.learn(head)
    if is_there:
        store.heads[TASK] = head
    error = TaskDamaged if is_there else NoSuchTask
    with pytest.raises(error):
        await following.tasks.snapshot_with_nodes(TASK)
    with pytest.raises(error):
        await following.tasks.named_nodes(TASK)


@virtual
async def test_lists_of_heads_are_newest_first() -> None:
    """Of one status or of all, and anew after each change."""
    following = Following()
    for number in (2, 3, 1):
        following.tasks.learn(stored(numbered(number), revision=number))
    assert list(following.tasks.ids()) == [numbered(n) for n in (3, 2, 1)]
    assert following.tasks.ids() is following.tasks.ids()
    following.tasks.learn(stored(numbered(2), CANCELLED, 4, order=2))
    assert list(following.tasks.ids(PENDING)) == [numbered(3), numbered(1)]
    assert list(following.tasks.ids(CANCELLED)) == [numbered(2)]
