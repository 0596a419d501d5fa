"""What a replica does not know yet is read once, or waited for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.bus import StoreUnavailable
from coordinator.core.changes import TaskBegan, TaskOver
from coordinator.core.events import Settled
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskStatus
from coordinator.engine.lookups import LOADING_SECONDS, READ_SECONDS, Lookups
from sandbox.virtual.time import virtual
from tests.engine.following import AWAY, OTHER, TASK, Following, stored


def looking() -> tuple[Following, Lookups]:
    """A follower that has heard of nothing, and a store with a pending task."""
    following = Following()
    following.fake.heads[TASK] = stored()
    return following, Lookups(following.fake, following.tasks, following.core, following.spawn)


@virtual
async def test_all_who_ask_at_once_share_one_reading() -> None:
    """What was found is known from then on; the next one reads anew."""
    following, lookups = looking()
    await asyncio.gather(*(lookups.find(TASK) for _ in range(50)))
    assert following.fake.reads == ["head"]
    assert following.tasks.head(TASK) is not None
    await lookups.find(TASK)
    assert following.fake.reads == ["head"] * 2


@virtual
async def test_what_is_nowhere_stays_unknown() -> None:
    """Nothing is made up."""
    following, lookups = looking()
    await lookups.find(OTHER)
    assert following.tasks.head(OTHER) is None


@virtual
async def test_a_store_that_is_away_is_told_to_all_who_ask() -> None:
    """And the next one is asked again."""
    following, lookups = looking()
    with following.fake.away():
        found = await asyncio.gather(
            *(lookups.find(TASK) for _ in range(3)), return_exceptions=True
        )
    assert found == [AWAY] * 3
    await lookups.find(TASK)
    assert following.tasks.head(TASK) is not None


@virtual
async def test_a_store_that_is_silent_is_not_waited_for_without_end() -> None:
    """Its answer is taken in when it comes all the same."""
    following, lookups = looking()
    following.fake.answers.clear()
    began = asyncio.get_running_loop().time()
    with pytest.raises(StoreUnavailable):
        await lookups.find(TASK)
    assert asyncio.get_running_loop().time() - began == READ_SECONDS
    following.fake.answers.set()
    await following.settle()
    assert following.tasks.head(TASK) is not None


@virtual
async def test_who_asks_and_goes_away_harms_no_other() -> None:
    """The reading goes on."""
    following, lookups = looking()
    following.fake.answers.clear()
    first, second = asyncio.create_task(lookups.find(TASK)), asyncio.create_task(lookups.find(TASK))
    await asyncio.sleep(1)
    first.cancel()
    following.fake.answers.set()
    await second
    assert following.tasks.head(TASK) is not None


@virtual
async def test_a_reading_that_is_given_up_has_not_read() -> None:
    """Where the replica ends, nobody is told that a task which exists does not."""
    following, lookups = looking()
    following.fake.answers.clear()
    waiting = asyncio.create_task(lookups.find(TASK))
    await asyncio.sleep(1)
    following.drop_jobs()
    with pytest.raises(StoreUnavailable):
        await waiting
    following.fake.answers.set()
    await lookups.find(TASK)
    assert following.tasks.head(TASK) is not None


def decision(*changes: Any) -> Decision:
    """What the loop tells observers."""
    return Decision([], list(changes))


@virtual
async def test_a_run_is_waited_for_until_its_nodes_are_there() -> None:
    """All who wait get it."""
    following, lookups = looking()
    running = stored(status=TaskStatus.RUNNING, revision=2)
    waiting = [asyncio.create_task(lookups.run(TASK)) for _ in range(3)]
    await asyncio.sleep(1)
    following.tasks.begin(running.head, running.order, ["n1"])
    lookups.observe(Settled(), decision(TaskBegan(running.head)))
    run = following.core.runs[TASK]
    assert await asyncio.gather(*waiting) == [run] * 3
    assert await lookups.run(TASK) is run


@virtual
async def test_a_task_that_ends_meanwhile_has_no_run() -> None:
    """Who waits for it is told so at once."""
    _, lookups = looking()
    waiting = asyncio.create_task(lookups.run(TASK))
    await asyncio.sleep(1)
    lookups.observe(Settled(), decision(TaskOver(stored().head)))
    assert await waiting is None


@virtual
async def test_a_run_whose_nodes_do_not_come_is_given_up() -> None:
    """After a while."""
    _, lookups = looking()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * LOADING_SECONDS):
            await lookups.run(TASK)
    lookups.observe(Settled(), decision(TaskOver(stored().head)))


@virtual
async def test_who_gives_up_takes_no_other_s_call_away() -> None:
    """One asked earlier and has waited long enough; the run comes for the other one."""
    following, lookups = looking()
    running = stored(status=TaskStatus.RUNNING, revision=2)
    early = asyncio.create_task(lookups.run(TASK))
    await asyncio.sleep(LOADING_SECONDS - 1)
    late = asyncio.create_task(lookups.run(TASK))
    with pytest.raises(TimeoutError):
        await early
    following.tasks.begin(running.head, running.order, ["n1"])
    lookups.observe(Settled(), decision(TaskBegan(running.head)))
    assert await late is following.core.runs[TASK]


@virtual
async def test_who_waits_no_longer_leaves_nothing_behind() -> None:
    """Also where somebody else has measured the time, or the run came with its last moment."""
    following, lookups = looking()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await lookups.run(TASK)
    waiting = asyncio.create_task(lookups.run(TASK))
    await asyncio.sleep(1)
    running = stored(status=TaskStatus.RUNNING, revision=2)
    following.tasks.begin(running.head, running.order, ["n1"])
    assert await waiting is following.core.runs[TASK]
    assert not lookups._loading
