"""Wall clocks that are wrong or jump: nothing is removed, held or tried again because of one."""

from __future__ import annotations

import asyncio

import pytest

from common import subjects
from common.bus import KeyValue
from coordinator.core.task import TaskStatus
from coordinator.engine import store_clock
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.time import virtual
from tests.core.stage import spec

DAYS = 10 * 86_400.0
RETENTION = 1000.0


async def one_finished(cluster: Cluster) -> tuple[Coordinator, str]:
    """A leader that has finished a task a few minutes ago."""
    leader = await cluster.leader()
    await cluster.node("n1")
    await asyncio.sleep(1.0)
    task = await cluster.create(leader)
    await cluster.over(leader, task)
    await cluster.told(leader, task)
    await asyncio.sleep(300.0)
    return leader, task


async def kept(coordinator: Coordinator, task: str) -> bool:
    """Whether a task is still there after a coordinator has had the time to remove it."""
    await asyncio.sleep(130.0)
    return coordinator.service.tasks.head(task) is not None


@virtual
async def test_a_task_is_removed_after_its_retention() -> None:
    """By a leader that went on, and by one that was restarted shortly."""
    async with Cluster(retention=RETENTION) as cluster:
        first, task = await one_finished(cluster)
        await first.kill()
        second = await cluster.leader()
        await asyncio.sleep(RETENTION - 700.0)
        assert await kept(second, task)
        await cluster.until(lambda: second.service.tasks.head(task) is None)


@virtual
@pytest.mark.parametrize("days", [DAYS, -DAYS])
async def test_a_machine_s_clock_that_jumps_at_a_restart_removes_nothing(days: float) -> None:
    """The store's time is used, for tasks as well, and the difference is told."""
    async with Cluster(retention=RETENTION) as cluster:
        first, task = await one_finished(cluster)
        await first.kill()
        second = await cluster.coordinator("c1", ahead=days)
        await cluster.until(lambda: second.leads)
        assert await kept(second, task)
        warning = second.service.warning()
        assert warning is not None
        assert (warning.code, warning.params) == ("clock.differs", {"seconds": round(days)})
        newer = await cluster.create(second, spec("a", max_retries=1))
        head = await cluster.over(second, newer)
        assert head.status is TaskStatus.COMPLETED
        assert head.finished_at is not None
        now = cluster.server.now()
        for time in (head.created_at, head.started_at or 0, head.finished_at):
            assert now - 60.0 < time / 1000 <= now
        await asyncio.sleep(RETENTION)
        await cluster.until(lambda: second.service.tasks.head(task) is None, within=180.0)


@virtual
async def test_clocks_that_agree_are_not_talked_about() -> None:
    """Neither is a difference of a minute."""
    async with Cluster(retention=RETENTION) as cluster:
        leader = await cluster.coordinator("c1", ahead=60.0)
        await cluster.until(lambda: leader.leads)
        assert leader.service.warning() is None


@virtual
async def test_both_clocks_may_jump_between_two_runs() -> None:
    """As where the store runs on the same machine: time that nobody lived through counts not.

    Neither at the next start, nor at one after that.
    """
    async with Cluster(retention=RETENTION) as cluster:
        first, task = await one_finished(cluster)
        await first.kill()
        cluster.server.move_clock(DAYS)
        second = await cluster.coordinator("c1", ahead=DAYS)
        await cluster.until(lambda: second.leads)
        assert second.service.warning() is None
        assert await kept(second, task)
        newer = await cluster.create(second)
        await cluster.over(second, newer)
        await second.kill()
        third = await cluster.coordinator("c1", ahead=DAYS)
        await cluster.until(lambda: third.service.not_ready() is None)
        assert await kept(third, task)
        await asyncio.sleep(RETENTION)
        await cluster.until(lambda: not third.service.tasks.ids(), within=300.0)


@virtual
async def test_the_store_s_clock_may_jump_under_a_leader() -> None:
    """Nothing is removed then, nor at the next start, when both clocks agree on the later time."""
    async with Cluster(retention=RETENTION) as cluster:
        first, task = await one_finished(cluster)
        cluster.server.move_clock(DAYS)
        assert await kept(first, task)
        assert first.service.warning() is not None
        await first.kill()
        second = await cluster.coordinator("c1", ahead=DAYS)
        await cluster.until(lambda: second.leads)
        assert await kept(second, task)


@virtual
async def test_clocks_that_are_set_back_remove_nothing() -> None:
    """Finished tasks are kept the longer; what is new lives by the new time."""
    async with Cluster(retention=RETENTION) as cluster:
        first, task = await one_finished(cluster)
        await first.kill()
        cluster.server.move_clock(-DAYS)
        second = await cluster.coordinator("c1", ahead=-DAYS)
        await cluster.until(lambda: second.leads)
        newer = await cluster.create(second)
        await cluster.over(second, newer)
        assert await kept(second, task)
        await asyncio.sleep(RETENTION)
        await cluster.until(lambda: second.service.tasks.head(newer) is None, within=300.0)
        assert second.service.tasks.head(task) is not None


@virtual
async def test_a_lease_whose_time_to_live_the_store_misjudges_is_taken_over() -> None:
    """Its clock was set back by days: that nobody renews it shows by the time that passes."""
    async with Cluster(retention=RETENTION) as cluster:
        first = await cluster.leader()
        await cluster.node("n1")
        second = await cluster.coordinator("c2")
        await asyncio.sleep(5.0)
        cluster.server.move_clock(-DAYS)
        await first.kill()
        await cluster.until(lambda: second.leads, within=30.0)
        task = await cluster.create(second)
        assert (await cluster.over(second, task)).status is TaskStatus.COMPLETED


@virtual
async def test_a_lease_that_the_store_ends_early_leads_to_one_leader() -> None:
    """Its clock was set forward: whoever holds the lease renews it or stops."""
    async with Cluster(retention=RETENTION) as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await asyncio.sleep(5.0)
        cluster.server.move_clock(DAYS)
        await asyncio.sleep(20.0)
        leaders = [c for c in (first, second) if c.leads]
        assert len(leaders) == 1


async def stamp(cluster: Cluster, value: bytes) -> None:
    """Write over the time that was noted."""
    subject = f"$KV.{subjects.KEYS_BUCKET}.uptime"
    await cluster.observer.store(subject, value, expect_last=None)


@virtual
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b'{"at":"x"}',
        b'{"at":1e300}',
        b'{"at":0,"pauses":[{"since":0,"seconds":1e99}]}',
        b'{"at":' + b"[" * 10_000,
        b'{"at":-5}',
        b'{"at":1e12}',
    ],
)
async def test_a_damaged_note_removes_nothing(value: bytes) -> None:
    """What the heads say is taken instead: nothing is known of the time since."""
    async with Cluster(retention=RETENTION) as cluster:
        first, task = await one_finished(cluster)
        await first.kill()
        await stamp(cluster, value)
        cluster.server.move_clock(DAYS)
        second = await cluster.coordinator("c1", ahead=DAYS)
        await cluster.until(lambda: second.leads)
        assert second.died is None
        assert await kept(second, task)


@virtual
async def test_pauses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a coordinator was stopped for long, its note stays small."""
    monkeypatch.setattr(store_clock, "MOST_PAUSES", most := 4)
    async with Cluster() as cluster:
        await one_finished(cluster)
        for _ in range(most + 3):
            cluster.server.move_clock(DAYS)
            await asyncio.sleep(65.0)
        entry = await KeyValue(cluster.observer, subjects.KEYS_BUCKET).get("uptime")
        assert entry is not None
        assert entry.value is not None
        assert entry.value.count(b"since") == most
