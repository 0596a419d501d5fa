"""When an agent says that it lives, and what it says, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agent.events import CommandReceived
from agent.heartbeat import ANNOUNCE_WITHIN, RECHECK_SECONDS, Heartbeats
from agent.journal import Journal
from agent.ledger import Ledger
from agent.metrics import Metrics, MetricsObserver
from agent.notices import DiskMeasured, Notice, Observer, RuntimeConnected, RuntimeDisconnected
from agent.runtime.protocol import RuntimeAway, RuntimeFacts
from agent.runtime.simulated import SimulatedRuntime
from common import subjects
from common.bus import NotConnected
from common.messages import Assign, AssignedImage, Heartbeat, Hold, ImageDisk
from common.subjects import AgentAddress
from sandbox.virtual.time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = pytest.mark.pure

ADDRESS = AgentAddress("node-1", "0123456789abcdef")
TASK = "task-20260116-151234-00000001"


class MoodyRuntime(SimulatedRuntime):
    """Answers, is away, or hangs, as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.away = ""
        self.hangs = False

    async def facts(self) -> RuntimeFacts:
        """Say what it is, if in the mood."""
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise RuntimeAway(self.away)
        return RuntimeFacts(
            "containerd 2.1.9", "linux/amd64", ImageDisk(free_bytes=1, total_bytes=2)
        )


class Bench:
    """An agent's heartbeats, what is received of them and when, and who observes them."""

    def __init__(self, interval: float = 10.0, seed: int = 1) -> None:
        self.runtime = MoodyRuntime()
        self.ledger = Ledger(
            node=ADDRESS.node, instance=ADDRESS.instance, parallel=2, stall_seconds=300
        )
        self.registry = CollectorRegistry()
        self.connected = True
        self.heard: list[tuple[float, Heartbeat]] = []
        self.notices: list[Notice] = []
        self._observers: list[Observer] = [Journal(), MetricsObserver(Metrics(self.registry))]
        self.heartbeats = Heartbeats(
            publisher=self,
            runtime=self.runtime,
            ledger=self.ledger,
            address=ADDRESS,
            labels={"zone": "a"},
            interval=interval,
            notify=self.notify,
            clock=lambda: asyncio.get_running_loop().time(),
            rng=Random(seed),
        )

    def notify(self, notice: Notice) -> None:
        """Keep a notice, and have it logged and counted."""
        self.notices.append(notice)
        for observer in self._observers:
            observer.noticed(notice)

    def publish(self, subject: str, payload: bytes) -> None:
        """Hear a heartbeat."""
        if not self.connected:
            raise NotConnected("away")
        assert subject == subjects.heartbeat(*ADDRESS)
        heartbeat = msgspec.json.decode(payload, type=Heartbeat)
        self.heard.append((asyncio.get_running_loop().time(), heartbeat))

    @property
    def times(self) -> list[float]:
        """When it was heard."""
        return [time for time, _ in self.heard]

    def run(self, script: Callable[[Bench], Coroutine[None, None, None]]) -> None:
        """Send heartbeats while a script goes on."""

        async def work() -> None:
            sending = asyncio.create_task(self.heartbeats.run())
            await script(self)
            sending.cancel()
            await asyncio.wait([sending])
            assert sending.cancelled()

        in_virtual_time(work())


def test_words() -> None:
    """A heartbeat says what the agent is, what runs on the node, and what is held there."""

    async def script(bench: Bench) -> None:
        work = Assign(
            epoch=1, task=TASK, attempt=2, images=[AssignedImage(name="a", reference="r/a")]
        )
        bench.ledger.handle(CommandReceived(work), now=0)
        await asyncio.sleep(1)

    bench = Bench()
    bench.run(script)
    (_, heartbeat), *_ = bench.heard
    assert heartbeat == Heartbeat(
        labels={"zone": "a"},
        agent_version=heartbeat.agent_version,
        runtime="containerd 2.1.9",
        driver="simulated",
        platform="linux/amd64",
        image_disk=ImageDisk(free_bytes=1, total_bytes=2),
        pulling=["r/a"],
        holds=[Hold(task=TASK, attempt=2)],
        interval=10,
        abilities=["remove"],
    )
    assert bench.registry.get_sample_value("ips_agent_image_disk_free_bytes") == 1


def test_rhythm() -> None:
    """It beats at once and then every interval, give or take a fifth."""
    bench = Bench()
    bench.run(lambda _: asyncio.sleep(600))
    pauses = [after - before for before, after in pairwise(bench.times)]
    assert bench.times[0] == 0
    assert all(8 <= pause <= 12 for pause in pauses)
    assert max(pauses) - min(pauses) > 1


def test_announce() -> None:
    """When asked it beats within half a second."""

    async def script(bench: Bench) -> None:
        for _ in range(20):
            await asyncio.sleep(10)
            before = len(bench.heard)
            bench.heartbeats.announce()
            await asyncio.sleep(ANNOUNCE_WITHIN)
            assert len(bench.heard) > before

    Bench(interval=3600).run(script)


def test_not_connected() -> None:
    """What cannot be said now is never said later."""

    async def script(bench: Bench) -> None:
        bench.connected = False
        await asyncio.sleep(100)
        bench.connected = True
        await asyncio.sleep(12)

    bench = Bench()
    bench.run(script)
    assert all(time >= 100 for time in bench.times)
    assert len(bench.times) <= 2


def test_runtime_away() -> None:
    """A runtime that is away is looked for often, and found soon after it is back."""

    async def script(bench: Bench) -> None:
        assert bench.heartbeats.why_no_runtime == "the container runtime has not answered yet"
        await asyncio.sleep(1)
        assert bench.heartbeats.why_no_runtime == "no socket"
        bench.runtime.away = ""
        await asyncio.sleep(RECHECK_SECONDS)
        assert not bench.heartbeats.why_no_runtime

    bench = Bench()
    bench.runtime.away = "no socket"
    bench.run(script)
    assert [heartbeat.runtime for _, heartbeat in bench.heard] == ["", "containerd 2.1.9"]
    assert bench.heard[0][1].image_disk is None
    assert [heartbeat.why_no_runtime for _, heartbeat in bench.heard] == ["no socket", ""]


def test_runtime_hangs() -> None:
    """A runtime that does not answer is away, and the heartbeats go on."""

    async def script(bench: Bench) -> None:
        bench.runtime.hangs = True
        await asyncio.sleep(60)
        assert "did not answer" in bench.heartbeats.why_no_runtime

    bench = Bench()
    bench.run(script)
    pauses = [after - before for before, after in pairwise(bench.times)]
    assert max(pauses) < 2 * 10


def test_doubt() -> None:
    """A runtime that has failed a pull is looked at once more, at once."""

    async def script(bench: Bench) -> None:
        await asyncio.sleep(1)
        bench.runtime.away = "gone"
        bench.heartbeats.recheck_runtime()
        await asyncio.sleep(0.1)
        assert bench.heartbeats.why_no_runtime == "gone"

    Bench(interval=3600).run(script)


def test_last_word() -> None:
    """An agent that leaves says so, holds nothing, and says nothing after that."""

    async def script(bench: Bench) -> None:
        await asyncio.sleep(1)
        bench.heartbeats.announce()
        bench.heartbeats.leave()
        await asyncio.sleep(100)

    bench = Bench()
    bench.run(script)
    assert [heartbeat.leaving for _, heartbeat in bench.heard] == [False, True]


def test_a_log_says_once_why_the_runtime_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """A probe that fails shows an admin no reason."""

    async def script(bench: Bench) -> None:
        await asyncio.sleep(60)
        bench.runtime.away = ""
        await asyncio.sleep(60)

    caplog.set_level(logging.INFO, "agent.journal")
    bench = Bench()
    bench.runtime.away = "no socket"
    bench.run(script)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["the container runtime is away", "the container runtime answers"]


def test_notices() -> None:
    """The runtime's coming and going is noticed once each; its disk with every heartbeat."""

    async def script(bench: Bench) -> None:
        await asyncio.sleep(60)
        bench.runtime.away = ""
        await asyncio.sleep(RECHECK_SECONDS + 0.1)
        bench.runtime.away = "gone"
        await asyncio.sleep(60)
        bench.runtime.away = "gone for another reason"
        await asyncio.sleep(60)

    bench = Bench()
    bench.runtime.away = "no socket"
    bench.run(script)
    assert [notice for notice in bench.notices if not isinstance(notice, DiskMeasured)] == [
        RuntimeDisconnected("no socket"),
        RuntimeConnected("containerd 2.1.9"),
        RuntimeDisconnected("gone"),
        RuntimeDisconnected("gone for another reason"),
    ]
    disk = DiskMeasured(ImageDisk(free_bytes=1, total_bytes=2))
    with_disk = [heartbeat for _, heartbeat in bench.heard if heartbeat.image_disk is not None]
    assert bench.notices.count(disk) == len(with_disk) > 0


def test_the_same_seed_gives_the_same_times() -> None:
    """All jitter comes from the source that is handed in."""
    times = []
    for seed in (1, 1, 2):
        bench = Bench(seed=seed)
        bench.run(lambda _: asyncio.sleep(600))
        times.append(bench.times)
    assert times[0] == times[1]
    assert times[0] != times[2]
