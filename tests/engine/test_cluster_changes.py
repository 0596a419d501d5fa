"""What changes under a task that runs: who holds the lease, and the nodes themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from common import subjects
from common.bus import KeyValue
from common.messages import Heartbeat
from coordinator.core.task import TaskStatus
from coordinator.lease import KEY, Claim
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.histories import (
    NAMES,
    Write,
    agents,
    at_write,
    head_says,
    hooked,
    is_whole,
    subject_has,
)

STRANGER = Claim(owner="another", process="another", name="another")
MOMENTS: dict[str, Callable[[Write], bool]] = {
    "a create": head_says(TaskStatus.PENDING),
    "a start": head_says(TaskStatus.RUNNING),
    "an outcome": subject_has(".result.task-"),
    "an end": head_says(TaskStatus.COMPLETED, untold=2),
}


@pytest.mark.parametrize("moment", MOMENTS)
@virtual
async def test_a_lease_that_another_one_takes_while_something_is_on_its_way(moment: str) -> None:
    """The other one never acts and loses it: this one takes it all up again and doubles nothing."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster)
        bucket = KeyValue(cluster.observer, subjects.LEASE_BUCKET)
        first = leader.service._replica
        taking: list[asyncio.Task[None]] = []

        async def take() -> None:
            entry = await bucket.get(KEY)
            assert entry is not None
            await bucket.update(KEY, msgspec.json.encode(STRANGER), entry.revision, ttl=15)

        with at_write(
            cluster, MOMENTS[moment], lambda: taking.append(asyncio.create_task(take()))
        ) as come:
            task = await cluster.create(leader, hooked(batch_size=2))
            async with asyncio.timeout(60):
                await come.wait()
            await asyncio.wait(taking)
        taking[0].result()
        await cluster.until(lambda: not leader.leads, 10.0)
        await cluster.until(lambda: leader.leads, 60.0)
        assert leader.service.not_ready() is None
        assert leader.service._replica is not first
        await is_whole(cluster, leader, task)
        assert {status for _, status in cluster.webhooks.bodies} == {TaskStatus.COMPLETED}


@virtual
async def test_a_node_whose_labels_change_stays_in_the_task_that_began() -> None:
    """And is in none that is created afterwards."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await agents(cluster, seconds=20.0)
        said = Heartbeat(agent_version="1", driver="cri", runtime="containerd", labels={"a": "b"})
        late = ("n9", "0123456789abcdef")

        def beat(labels: dict[str, str]) -> None:
            changed = msgspec.structs.replace(said, labels=labels)
            cluster.observer.publish(subjects.heartbeat(*late), msgspec.json.encode(changed))

        beat({"a": "b"})
        await asyncio.sleep(0.5)
        wanted = spec("a", node_selector={"a": "b"})
        before = await cluster.create(leader, wanted)
        await asyncio.sleep(0.5)
        beat({"a": "c"})
        await asyncio.sleep(0.5)
        after = await cluster.create(leader, wanted)
        over = await cluster.over(leader, after)
        assert over.message_code == "task.noMatch"
        shot = leader.service.tasks.snapshot(before)
        assert shot is not None
        assert shot.run is not None
        assert set(shot.run.by_name) == {"n9"}


@pytest.mark.parametrize("state", ["waiting", "pulling"])
@virtual
async def test_a_node_that_goes_and_comes_back_meanwhile(state: str) -> None:
    """Its agent is away for less than it is waited for: its place and its attempt stay its own."""
    async with Cluster() as cluster:
        leader = await cluster.leader(agent_wait=60.0)
        await agents(cluster, seconds=5.0)
        task = await cluster.create(leader, hooked(batch_size=1 if state == "waiting" else 3))
        await asyncio.sleep(2.0)
        last = cluster.nodes[NAMES[-1]]
        await last.kill()
        await asyncio.sleep(20.0)
        await cluster.node(NAMES[-1], seconds=5.0)
        await is_whole(cluster, leader, task)
