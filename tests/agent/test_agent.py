"""A whole agent in this process, with a simulated runtime, on a real nats-server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agent.agent import Agent
from agent.credentials import Keyring
from agent.metrics import Metrics, MetricsObserver
from agent.node_credentials import NodeCredentials
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from agent.spool import Spool, ThreadedSpool
from common import subjects
from common.messages import (
    Assign,
    AssignedImage,
    Cancel,
    ImageProgress,
    ImageState,
    Outcome,
    Progress,
    Reply,
)
from common.reasons import Reason
from common.subjects import AttemptKey
from tests.fixtures.leader import Leader, new_task
from tests.fixtures.nats import NatsServer, eventually
from tests.fixtures.patience import NEVER, PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.runtime.protocol import Runtime
    from common.bus import Bus

pytestmark = pytest.mark.nats

NODE = "node-1.example"
SIZE = 1_000_000


def settings(**environment: str) -> AgentSettings:
    """An agent's settings for a test."""
    own = {"IPS_NATS_URL": "nats://unused", "IPS_NODE_NAME": NODE, "IPS_HEARTBEAT_SECONDS": "0.1"}
    return AgentSettings.load(own | environment)


def slow() -> SimulatedRuntime:
    """A runtime whose pulls are never over."""
    return SimulatedRuntime(seconds=NEVER, size=SIZE, progress_seconds=0.02)


def quick() -> SimulatedRuntime:
    """A runtime whose pulls are soon over."""
    return SimulatedRuntime(seconds=0.05, size=SIZE, progress_seconds=0.02)


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """A file that holds the pulls of a runtime at their half until it is removed."""
    file = tmp_path / "hold"
    file.touch()
    return file


def held(hold: Path) -> SimulatedRuntime:
    """A runtime that can be held, and is quick else."""
    return SimulatedRuntime(seconds=0.1, size=SIZE, progress_seconds=0.02, hold=hold)


class Bench:
    """One agent and the metrics that it has."""

    def __init__(
        self, bus: Bus, runtime: Runtime, spool: Spool | None = None, **environment: str
    ) -> None:
        self.registry = CollectorRegistry()
        self.agent = Agent(
            settings=settings(**environment),
            bus=bus,
            runtime=runtime,
            keyring=NodeCredentials(Keyring(None)),
            spool=None if spool is None else ThreadedSpool(spool),
            observers=[MetricsObserver(Metrics(self.registry))],
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        """Let it work; a fault in it fails the test."""
        job = asyncio.create_task(self.agent.run())
        try:
            yield self.agent
        finally:
            job.cancel()
            await asyncio.wait([job])
            if not job.cancelled():
                job.result()

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value, 0 while there is none."""
        return self.registry.get_sample_value(f"ips_agent_{name}", labels) or 0.0


@pytest.fixture
async def leader(bus: Bus) -> Leader:
    """A leader that hears agents."""
    return await Leader.on(bus)


async def test_outcome(bus: Bus, leader: Leader) -> None:
    """An assignment is accepted, pulled, and its outcome stored."""
    bench = Bench(bus, quick())
    async with bench.running():
        address = await leader.agent()
        task = new_task()
        assert await leader.assign(address, task, "r/a", "r/b") == Reply(accepted=True, epoch=1)
        outcome = await leader.outcome(task)
    assert [(i.image, i.state, i.bytes) for i in outcome.images] == [
        ("r/a", ImageState.PULLED, SIZE),
        ("r/b", ImageState.PULLED, SIZE),
    ]
    assert outcome.instance == address.instance
    assert bench.metric("pulls_total", result="pulled", reason="") == 2
    assert bench.metric("pull_bytes_sum") == 2 * SIZE
    assert bench.metric("pulls_in_flight") == 0


async def test_present(bus: Bus, leader: Leader) -> None:
    """The second time an image is present, unless it is always to be pulled."""
    async with Bench(bus, quick()).running():
        address = await leader.agent()
        for always, state in ((False, "pulled"), (False, "present"), (True, "pulled")):
            task = new_task()
            await leader.assign(address, task, "r/a", always_pull=always)
            assert [image.state for image in (await leader.outcome(task)).images] == [state]


async def test_failure(bus: Bus, leader: Leader) -> None:
    """A failed image has its reason, and does not stop the others."""
    bench = Bench(bus, quick())
    async with bench.running():
        address = await leader.agent()
        task = new_task()
        await leader.assign(address, task, "r/fails/image-not-found:1", "r/b")
        failed, pulled = (await leader.outcome(task)).images
    assert (failed.state, failed.reason) == (ImageState.FAILED, Reason.IMAGE_NOT_FOUND)
    assert pulled.state is ImageState.PULLED
    assert bench.metric("pulls_total", result="failed", reason="ImageNotFound") == 1


async def test_holds(bus: Bus, leader: Leader, hold: Path) -> None:
    """A heartbeat lists what is held until it is stored, and what is being pulled."""
    async with Bench(bus, held(hold), IPS_NODE_LABELS="zone=a").running():
        address = await leader.agent(lambda beat: beat.labels == {"zone": "a"} and not beat.holds)
        task = new_task()
        await leader.assign(address, task, "r/a", attempt=3)
        await leader.agent(
            lambda beat: (
                [(hold.task, hold.attempt) for hold in beat.holds] == [(task, 3)]
                and beat.pulling == ["r/a"]
            )
        )
        hold.unlink()
        await leader.outcome(task, 3)
        heard = len(leader.heartbeats)
        await leader.until(lambda: any(not beat.holds for _, beat in leader.heartbeats[heard:]))


async def test_report(bus: Bus, leader: Leader) -> None:
    """Asked by a broadcast, an agent beats long before its interval is over."""
    async with Bench(bus, quick(), IPS_HEARTBEAT_SECONDS="60").running():
        await leader.agent()
        leader.heartbeats.clear()
        leader.report()
        await leader.agent()


async def test_progress(bus: Bus, leader: Leader, hold: Path) -> None:
    """Reports tell each image's state, and bytes that only grow."""
    async with Bench(bus, held(hold), IPS_AGENT_PARALLEL_PULLS="1").running():
        address = await leader.agent()
        task = new_task()
        await leader.assign(address, task, "r/a", "r/b")
        await leader.until(lambda: max(map(_bytes, leader.progress), default=0) == SIZE // 2)
        hold.unlink()
        await leader.outcome(task)
    images = [image for part in leader.progress for image in part.attempts[0].images]
    for name in ("r/a", "r/b"):
        done = [image.bytes for image in images if image.image == name and image.bytes]
        assert done == sorted(done)
        assert name != "r/a" or done[0] < done[-1]
    final = ImageProgress(image="r/a", state=ImageState.PULLED, bytes=SIZE, total_bytes=SIZE)
    assert final in images


async def test_cancel(bus: Bus, leader: Leader) -> None:
    """A cancelled task's pull stops at once, has no outcome, and the task is refused from then."""
    bench = Bench(bus, slow())
    async with bench.running():
        address = await leader.agent()
        task = new_task()
        await leader.assign(address, task, "r/a")
        await leader.until(lambda: bool(leader.progress))
        assert (await leader.cancel(address, task)).accepted
        await eventually(lambda: bench.metric("pulls_in_flight") == 0)
        assert not (await leader.assign(address, task, "r/a")).accepted
        heard = len(leader.heartbeats)
        await leader.until(lambda: len(leader.heartbeats) > heard)
        assert leader.heartbeats[-1][1].holds == []
    assert await leader.records() == {}
    assert bench.metric("pulls_total", result="cancelled", reason="Cancelled") == 1


async def test_cancel_of_shared_pull(bus: Bus, leader: Leader, hold: Path) -> None:
    """A pull that two tasks want outlives the cancel of one of them."""
    bench = Bench(bus, held(hold))
    async with bench.running():
        address = await leader.agent()
        tasks = [new_task(), new_task()]
        for task in tasks:
            await leader.assign(address, task, "r/a")
        await leader.cancel(address, tasks[0])
        hold.unlink()
        outcome = await leader.outcome(tasks[1])
    assert outcome.images[0].state is ImageState.PULLED
    assert bench.metric("pulls_total", result="pulled", reason="") == 1
    assert [key.task for key in await leader.records()] == tasks[1:]


async def test_time_out(bus: Bus, leader: Leader, hold: Path) -> None:
    """A pull that takes too long has timed out, and the next attempt goes on where it was."""
    async with Bench(bus, held(hold)).running():
        address = await leader.agent()
        task = new_task()
        await leader.assign(address, task, "r/a", pull_timeout_seconds=3)
        first = (await leader.outcome(task)).images[0]
        leader.progress.clear()
        hold.unlink()
        await leader.assign(address, task, "r/a", attempt=2)
        second = (await leader.outcome(task, 2)).images[0]
    assert first.reason is Reason.TIMEOUT
    assert second.state is ImageState.PULLED
    assert all(seen > SIZE / 2 for report in leader.progress if (seen := _bytes(report)))


async def test_already_decided(bus: Bus, leader: Leader, hold: Path) -> None:
    """An attempt that the leader has decided meanwhile stays decided so."""
    bench = Bench(bus, held(hold))
    async with bench.running():
        address = await leader.agent()
        task = new_task()
        await leader.assign(address, task, "r/a")
        verdict = msgspec.json.encode(Outcome(reason=Reason.AGENT_LOST))
        key = AttemptKey(task, NODE, 1)
        await bus.store(subjects.result(*key), verdict, expect_last=0)
        hold.unlink()
        await eventually(lambda: bench.metric("pulls_total", result="pulled", reason="") == 1)
        await eventually(lambda: bench.metric("unsent_results") == 0)
    assert (await leader.records())[key].data == verdict


async def test_two_agents_one_bus(bus: Bus, leader: Leader) -> None:
    """Agents that share a connection, a registry and a process stay apart."""
    metrics = Metrics(CollectorRegistry())
    agents = [
        Agent(
            settings=settings(IPS_NODE_NAME=f"node-{number}"),
            bus=bus,
            runtime=quick(),
            keyring=NodeCredentials(Keyring(None)),
            observers=[MetricsObserver(metrics)],
        )
        for number in range(20)
    ]
    task = new_task()
    jobs = [asyncio.create_task(agent.run()) for agent in agents]
    try:
        for agent in agents:
            await leader.agent(of=agent.address)
            await leader.assign(agent.address, task, "r/a")
        async with asyncio.timeout(PATIENCE):
            while len(found := await leader.records()) < len(agents):
                await leader.until(lambda: bool(leader.heartbeats))
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)
    assert {key.node for key in found} == {f"node-{number}" for number in range(20)}


# ── poison ───────────────────────────────────────────────────────────────────────────────────


POISON = [b"", b"\xff", b"[]", b"{}", b'{"kind":"dance"}', b'{"kind":"assign","epoch":"x"}']


async def test_poison(bus: Bus, leader: Leader) -> None:
    """What cannot be understood is counted and refused, and the agent works on."""
    bench = Bench(bus, quick())
    async with bench.running():
        address = await leader.agent()
        for poison in POISON:
            answer = await bus.call(subjects.command(*address), poison, PATIENCE)
            assert not msgspec.json.decode(answer, type=Reply).accepted
            bus.publish(subjects.REPORT, poison)
        bus.publish(subjects.REPORT, msgspec.json.encode(Cancel(epoch=1, task=new_task())))
        task = new_task()
        await leader.assign(address, task, "r/a")
        await leader.outcome(task)
    assert bench.metric("poison_messages_total", kind="command") == len(POISON)
    assert bench.metric("poison_messages_total", kind="broadcast") == len(POISON) + 1


async def test_future_fields(bus: Bus, leader: Leader) -> None:
    """A newer leader's unknown fields are no poison."""
    async with Bench(bus, quick()).running():
        address = await leader.agent()
        task = new_task()
        images = [AssignedImage(name="a", reference="r/a")]
        work = msgspec.to_builtins(Assign(epoch=1, task=task, attempt=1, images=images))
        payload = msgspec.json.encode({**work, "kind": "assign", "colour": "green"})
        await bus.call(subjects.command(*address), payload, PATIENCE)
        assert (await leader.outcome(task)).images[0].state is ImageState.PULLED


# ── NATS away ────────────────────────────────────────────────────────────────────────────────


async def test_nats_killed(
    bus: Bus, leader: Leader, nats_server: NatsServer, hold: Path, tmp_path: Path
) -> None:
    """A pull goes on while NATS is dead; its outcome waits on disk, and is stored after that."""
    with Spool(tmp_path, NODE) as spool:
        bench = Bench(bus, held(hold), spool)
        async with bench.running():
            address = await leader.agent()
            task = new_task()
            await leader.assign(address, task, "r/a")
            await leader.until(lambda: bool(leader.progress))
            await nats_server.kill()
            hold.unlink()
            await eventually(lambda: len(list(tmp_path.glob("*.json"))) == 1)
            assert bench.metric("unsent_results") == 1
            await nats_server.start()
            outcome = await leader.outcome(task)
            await eventually(lambda: not list(tmp_path.glob("*.json")))
            assert bench.metric("unsent_results") == 0
    assert outcome.images[0].state is ImageState.PULLED


async def test_nats_paused(
    bus: Bus, leader: Leader, nats_server: NatsServer, hold: Path, tmp_path: Path
) -> None:
    """A NATS that stands still for longer than a pull takes loses nothing and doubles nothing."""
    with Spool(tmp_path, NODE) as spool:
        async with Bench(bus, held(hold), spool).running():
            address = await leader.agent()
            tasks = [new_task() for _ in range(3)]
            for task in tasks:
                await leader.assign(address, task, "r/a", f"r/{task}")
            await nats_server.pause()
            hold.unlink()
            await eventually(lambda: len(list(tmp_path.glob("*.json"))) == len(tasks))
            nats_server.resume()
            for task in tasks:
                await leader.outcome(task)
    assert {key.task for key in await leader.records()} == set(tasks)


async def test_reconnected(bus: Bus, leader: Leader, nats_server: NatsServer) -> None:
    """After a reconnection the agent says that it lives and what it holds."""
    bench = Bench(bus, slow(), IPS_HEARTBEAT_SECONDS="60")
    async with bench.running():
        address = await leader.agent()
        task = new_task()
        await leader.assign(address, task, "r/a")
        await nats_server.restart()
        await bus.wait_connected()
        bench.agent.reconnected()
        await leader.agent(lambda beat: [one.task for one in beat.holds] == [task])


async def test_former_run(bus: Bus, leader: Leader, tmp_path: Path) -> None:
    """Outcomes that a former run has left are held, sent first, and not worked for again."""
    task = new_task()
    with Spool(tmp_path, NODE) as spool:
        spool.write(AttemptKey(task, NODE, 2), msgspec.json.encode(Outcome(seconds=1.5)))
        bench = Bench(bus, quick(), spool)
        async with bench.running():
            address = await leader.agent()
            assert (await leader.assign(address, task, "r/a", attempt=2)).accepted
            assert (await leader.outcome(task, 2)).seconds == 1.5
            await eventually(lambda: not list(tmp_path.glob("*.json")))
    assert bench.metric("pulls_total", result="pulled", reason="") == 0


# ── the end ──────────────────────────────────────────────────────────────────────────────────


async def test_shut_down(bus: Bus, leader: Leader, hold: Path) -> None:
    """An agent that stops stops its pulls, says good-bye, and the next run goes on where it was."""
    runtime = held(hold)
    bench = Bench(bus, runtime)
    task = new_task()
    async with bench.running() as agent:
        first = await leader.agent()
        await leader.assign(first, task, "r/a")
        await leader.until(lambda: max(map(_bytes, leader.progress), default=0) == SIZE // 2)
        await agent.shut_down(within=PATIENCE)
        assert not (await leader.assign(first, new_task(), "r/b")).accepted
        await eventually(lambda: bench.metric("pulls_in_flight") == 0)
    await leader.agent(lambda beat: beat.leaving and not beat.holds)
    leader.progress.clear()
    hold.unlink()
    async with Bench(bus, runtime).running():
        second = await leader.agent(after=first)
        await leader.assign(second, task, "r/a")
        image = (await leader.outcome(task)).images[0]
    assert image.state is ImageState.PULLED
    assert all(seen > SIZE / 2 for report in leader.progress if (seen := _bytes(report)))


async def test_last_outcomes(bus: Bus, leader: Leader, nats_server: NatsServer, hold: Path) -> None:
    """A stop waits for what is done to be stored, but not for ever."""
    bench = Bench(bus, held(hold))
    async with bench.running() as agent:
        address = await leader.agent()
        task = new_task()
        await leader.assign(address, task, "r/a")
        await nats_server.pause()
        hold.unlink()
        await eventually(lambda: bench.metric("unsent_results") == 1)
        await agent.shut_down(within=0.2)
        handing = asyncio.create_task(agent.shut_down(within=PATIENCE))
        nats_server.resume()
        await handing
        assert bench.metric("unsent_results") == 0
        assert (await leader.outcome(task)).images[0].state is ImageState.PULLED


def _bytes(report: Progress) -> int:
    images = (image for part in report.attempts for image in part.images)
    return max((image.bytes or 0 for image in images), default=0)
