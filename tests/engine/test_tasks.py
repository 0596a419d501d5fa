"""The table of tasks: heads and outcomes in, what the core is told and what is answered out."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.core.events import TaskCreated, TaskEnded, TaskStarted
from coordinator.core.task import PendingNotification, TaskStatus
from coordinator.engine.tasks import OUTCOMES_AT_A_TIME
from coordinator.store import NAMED
from sandbox.virtual.time import virtual
from tests.engine.following import AWAY, NAMING, OTHER, TASK, Following, outcome, stored

PENDING, RUNNING, FAILED = TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.FAILED
CANCELLED = TaskStatus.CANCELLED


# ── how heads are learned ──


@virtual
async def test_a_task_that_names_no_nodes_is_known_at_once() -> None:
    """Nothing is read for it, and it was not found at the start."""
    following = Following()
    created = stored()
    following.tasks.learn(created)
    assert following.fed == [TaskCreated(created.head, 1, found=False)]
    assert following.tasks.head(TASK) is created.head
    assert following.tasks.stored(TASK) == created
    assert following.fake.reads == []


@virtual
async def test_the_names_of_a_task_stay_in_the_store() -> None:
    """The core is told of the task without them, whoever created it."""
    following = Following()
    following.fake.lists[TASK, NAMED] = ["n1"]
    created = stored(wanted=NAMING)
    with following.fake.away():
        following.tasks.learn(created)
    assert following.fed == [TaskCreated(created.head, 1, found=False)]
    assert following.fake.reads == []


@virtual
async def test_a_task_that_somebody_else_started_runs_on_its_list() -> None:
    """The list is the one that its head names."""
    following = Following()
    following.fake.lists[TASK, "nodes-7-1"] = ["n1", "n2"]
    started = stored(status=RUNNING, revision=2, order=1, node_list="nodes-7-1")
    following.tasks.learn(started)
    await following.settle()
    assert following.fed == [TaskStarted(started.head, 1, ("n1", "n2"))]


@virtual
async def test_a_start_of_our_own_needs_no_list() -> None:
    """Its nodes are at hand; only outcomes that were stored before it are looked for."""
    following = Following()
    following.tasks.learn(stored())
    started = stored(status=RUNNING, revision=2, order=1)
    following.tasks.learn(started, nodes=["n1"])
    assert following.fed[1:] == [TaskStarted(started.head, 1, ("n1",))]
    await following.settle()
    assert following.fake.reads == ["outcomes"]


@virtual
async def test_the_order_of_a_task_is_that_of_its_create() -> None:
    """A head that was rewritten keeps it, whatever its revision is."""
    following = Following()
    following.tasks.learn(stored(OTHER, revision=5))
    following.tasks.learn(stored(TASK, RUNNING, 9, order=1), nodes=["n1"])
    assert list(following.tasks.ids()) == [OTHER, TASK]
    assert list(following.tasks.ids(RUNNING)) == [TASK]
    assert len(following.tasks) == 2
    assert {one.head.id for one in following.tasks} == {TASK, OTHER}


@virtual
async def test_an_older_or_doubled_head_changes_nothing() -> None:
    """What is watched comes behind what was written here."""
    following = Following()
    over = stored(status=CANCELLED, revision=3)
    following.tasks.learn(stored())
    following.tasks.learn(over)
    told, learned = list(following.fed), list(following.learned)
    for late in (stored(), stored(status=RUNNING, revision=2), over):
        following.tasks.learn(late)
    await following.settle()
    assert (following.fed, following.learned) == (told, learned)
    assert following.tasks.stored(TASK) == over


@virtual
async def test_a_head_whose_status_stays_is_no_news_to_the_core() -> None:
    """That the world was told is written into the head of a task that is over."""
    following = Following()
    following.tasks.learn(stored(status=FAILED, notify=(PendingNotification.EVENT,)))
    told = list(following.fed)
    notified = stored(status=FAILED, revision=2)
    following.tasks.learn(notified)
    assert following.fed == told == [TaskEnded(told[0].head)]  # type: ignore[union-attr]
    assert following.learned[-1] is notified.head


@virtual
async def test_an_end_that_somebody_else_stored_ends_the_run() -> None:
    """A replica may cancel without a word to the leader."""
    following = Following()
    following.tasks.learn(stored(status=RUNNING), nodes=["n1"])
    following.tasks.learn(stored(status=CANCELLED, revision=2))
    await following.settle()
    assert not following.core.runs


@virtual
async def test_a_task_that_ended_while_its_list_was_read_does_not_start() -> None:
    """What was read belongs to a head that is the newest no more."""
    following = Following()
    following.fake.answers.clear()
    following.tasks.learn(stored(status=RUNNING))
    await asyncio.sleep(1.0)
    over = stored(status=CANCELLED, revision=2)
    following.tasks.learn(over)
    following.fake.answers.set()
    await following.settle()
    assert following.fed == [TaskEnded(over.head)]


@virtual
async def test_a_task_that_was_deleted_while_its_list_was_read_is_not_known() -> None:
    """Neither to the table nor to the core."""
    following = Following()
    following.fake.answers.clear()
    following.tasks.learn(stored(status=RUNNING))
    await asyncio.sleep(1.0)
    following.tasks.forget(TASK)
    following.fake.answers.set()
    await following.settle()
    assert not following.core.runs
    assert not any(isinstance(event, TaskStarted) for event in following.fed)


@virtual
async def test_what_is_found_at_the_start_is_told_by_queue_alone() -> None:
    """And says of a pending task that it was there."""
    following = Following()
    found = stored()
    following.tasks.find(found)
    assert following.fed == []
    following.tasks.queue(found.head, 1, found=True)
    assert following.fed == [TaskCreated(found.head, 1, found=True)]


@virtual
async def test_a_swap_without_an_answer_is_read_until_it_is_known() -> None:
    """It may have landed."""
    following = Following()
    following.tasks.learn(stored())
    following.fake.heads[TASK] = stored(status=CANCELLED, revision=2)
    with following.fake.away():
        reading = asyncio.create_task(following.tasks.read_anew(TASK))
        await asyncio.sleep(30.0)
        assert not reading.done()
    await reading
    assert following.tasks.ids(CANCELLED)


@virtual
async def test_a_swap_of_a_task_that_is_gone_teaches_nothing() -> None:
    """Its deletion comes by the watch."""
    following = Following()
    await following.tasks.read_anew(TASK)
    assert following.fed == []


# ── how heads are forgotten ──


@pytest.mark.parametrize("status", [PENDING, RUNNING])
def test_a_task_that_is_deleted_by_hand_goes_on_nowhere(status: TaskStatus) -> None:
    """The core is told of an end, once."""

    @virtual
    async def run() -> None:
        following = Following()
        following.tasks.learn(stored(status=status), nodes=["n1"] if status is RUNNING else None)
        following.tasks.forget(TASK)
        following.tasks.forget(TASK)
        await following.settle()
        ends = [event for event in following.fed if isinstance(event, TaskEnded)]
        assert len(ends) == 1
        assert not following.core.runs
        assert not following.core.waiting
        assert following.tasks.head(TASK) is None
        assert following.tasks.ids() == []

    run()


@virtual
async def test_a_task_that_is_deleted_after_its_retention_ends_no_second_time() -> None:
    """It was over; and what was never known needs no end."""
    following = Following()
    following.tasks.learn(stored(status=FAILED))
    told = list(following.fed)
    following.tasks.forget(TASK)
    following.tasks.forget(OTHER)
    assert following.fed == told
    assert len(following.tasks) == 0


# ── outcomes ──


@virtual
async def test_an_outcome_that_was_stored_before_the_start_counts_at_the_start() -> None:
    """Somebody else's leader may have started the task, and its head comes later than outcomes."""
    following = Following()
    early = outcome(5)
    following.fake.outcomes = [early, outcome(6, "n2")]
    following.fake.lists[TASK, "nodes"] = ["n1", "n2"]
    await following.tasks.take_in([early])
    following.tasks.learn(stored(status=RUNNING))
    await following.settle()
    assert following.fake.upto == [5]
    assert following.phase("n1") == "succeeded"
    assert following.phase("n2") == "waiting"


@virtual
async def test_earlier_outcomes_are_read_however_long_the_store_is_away() -> None:
    """Nothing else would ever bring them."""
    following = Following()
    following.fake.outcomes = [outcome(5)]
    following.tasks.outcomes_seen.upto = 5
    with following.fake.away():
        following.tasks.learn(stored(status=RUNNING), nodes=["n1"])
        await asyncio.sleep(30.0)
        assert following.phase() == "waiting"
    await following.settle()
    assert following.phase() == "succeeded"


@virtual
async def test_the_place_up_to_which_outcomes_are_seen_never_falls() -> None:
    """Earlier ones are read once more now and then."""
    following = Following()
    await following.tasks.take_in([outcome(7)])
    await following.tasks.take_in([outcome(3)])
    assert following.tasks.outcomes_seen.upto == 7


@virtual
async def test_many_outcomes_let_others_work_in_between() -> None:
    """A task of 10,000 nodes does not stop heartbeats."""
    following, seen = Following(), list[int]()

    async def look() -> None:
        while len(following.fed) < 3 * OUTCOMES_AT_A_TIME:
            seen.append(len(following.fed))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await following.tasks.take_in([outcome(seq) for seq in range(1, 3 * OUTCOMES_AT_A_TIME + 1)])
    await looking
    assert seen == [OUTCOMES_AT_A_TIME, 2 * OUTCOMES_AT_A_TIME]


@virtual
async def test_withheld_outcomes_come_when_the_last_holder_is_done() -> None:
    """In their order; those of other tasks do not wait."""
    following = Following()
    first, other, last = outcome(1), outcome(2, task=OTHER), outcome(3, "n2")
    with following.tasks.withholding(TASK):
        with following.tasks.withholding(TASK):
            await following.tasks.take_in([first, other])
        await following.tasks.take_in([last])
        assert following.fed == [other]
        assert following.tasks.outcomes_seen.upto == 3
    assert following.fed == [other, first, last]
    await following.tasks.take_in([last])
    assert following.fed[3:] == [last]


@virtual
async def test_outcomes_come_also_when_what_they_waited_for_fails() -> None:
    """They count for all, then."""
    following = Following()

    async def fail() -> None:
        with following.tasks.withholding(TASK):
            await following.tasks.take_in([outcome(1)])
            raise AWAY

    with pytest.raises(type(AWAY)):
        await fail()
    assert following.fed == [outcome(1)]
