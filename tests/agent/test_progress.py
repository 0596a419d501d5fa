"""When an agent says how far it is, in virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.events import BytesArrived, CommandReceived, Event, PullEnded
from agent.ledger import Ledger
from agent.progress import ATTEMPTS_IN_ONE, ProgressReporter
from agent.runtime.protocol import Bytes
from common import subjects
from common.bus import NotConnected
from common.messages import (
    Assign,
    AssignedImage,
    ImageOutcome,
    ImageProgress,
    ImageState,
    Progress,
)
from common.subjects import MAX_MESSAGE_BYTES, AgentAddress
from sandbox.virtual.time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = pytest.mark.pure

ADDRESS = AgentAddress("node-1", "0123456789abcdef")
TASKS = [f"task-20260116-151234-{n:08x}" for n in range(10)]


class Bench:
    """A reporter, its ledger, and what is heard and when."""

    def __init__(self) -> None:
        self.ledger = Ledger(
            node=ADDRESS.node, instance=ADDRESS.instance, parallel=500, stall_seconds=300
        )
        self.connected = True
        self.heard: list[tuple[float, Progress]] = []
        self.sizes: list[int] = []
        self.reporter = ProgressReporter(publisher=self, ledger=self.ledger, address=ADDRESS)

    def publish(self, subject: str, payload: bytes) -> None:
        """Hear a report."""
        if not self.connected:
            raise NotConnected("away")
        assert subject == subjects.progress(*ADDRESS)
        report = msgspec.json.decode(payload, type=Progress)
        self.heard.append((asyncio.get_running_loop().time(), report))
        self.sizes.append(len(payload))

    def tell(self, event: Event) -> None:
        """Let something happen."""
        self.ledger.handle(event, asyncio.get_running_loop().time())
        self.reporter.mark_changed()

    def assign(self, task: str, *names: str, progress_seconds: float = 1.0) -> None:
        """Have images pulled."""
        images = [AssignedImage(name=name, reference=f"r/{task}/{name}") for name in names]
        work = Assign(
            epoch=1, task=task, attempt=1, images=images, progress_seconds=progress_seconds
        )
        self.tell(CommandReceived(work))

    def run(self, script: Callable[[Bench], Coroutine[None, None, None]]) -> None:
        """Report while a script goes on."""

        async def work() -> None:
            reporting = asyncio.create_task(self.reporter.run())
            await script(self)
            reporting.cancel()
            await asyncio.wait([reporting])
            assert reporting.cancelled()

        in_virtual_time(work())


async def pull(bench: Bench, task: str, seconds: float) -> None:
    """Ten bytes come every tenth of a second."""
    for tick in range(int(seconds * 10)):
        bench.tell(BytesArrived(f"r/{task}/a", Bytes(10 * tick, 10_000)))
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("interval", [1.0, 4.0])
def test_interval(interval: float) -> None:
    """Reports come no more often than the assignment allows."""

    async def script(bench: Bench) -> None:
        bench.assign(TASKS[0], "a", progress_seconds=interval)
        await pull(bench, TASKS[0], 10 * interval)

    bench = Bench()
    bench.run(script)
    times = [time for time, _ in bench.heard]
    assert len(times) == pytest.approx(10, abs=1)
    assert all(after - before > 0.999 * interval for before, after in pairwise(times))


def test_nothing_new() -> None:
    """What has not changed is not said again."""

    async def script(bench: Bench) -> None:
        bench.assign(TASKS[0], "a")
        for _ in range(100):
            await asyncio.sleep(1)
            bench.tell(BytesArrived("r/of another", Bytes(1, 2)))

    bench = Bench()
    bench.run(script)
    assert len(bench.heard) == 1


def test_only_what_changed() -> None:
    """Of two attempts only the one that has moved is reported."""

    async def script(bench: Bench) -> None:
        for task in TASKS[:2]:
            bench.assign(task, "a")
        await asyncio.sleep(2)
        await pull(bench, TASKS[1], 1)

    bench = Bench()
    bench.run(script)
    said = [[attempt.task for attempt in report.attempts] for _, report in bench.heard]
    assert said[0] == TASKS[:2]
    assert all(tasks == [TASKS[1]] for tasks in said[1:])
    assert len(said) > 1


def test_repeat() -> None:
    """Who has just begun to listen is told everything again."""

    async def script(bench: Bench) -> None:
        bench.assign(TASKS[0], "a")
        await asyncio.sleep(5)
        bench.reporter.repeat()
        await asyncio.sleep(5)

    bench = Bench()
    bench.run(script)
    assert [report for _, report in bench.heard] == [bench.heard[0][1]] * 2


def test_silent_when_idle() -> None:
    """Nothing is said while nothing pulls."""

    async def script(bench: Bench) -> None:
        bench.assign(TASKS[0], "a")
        outcome = ImageOutcome(image=f"r/{TASKS[0]}/a", state=ImageState.PRESENT)
        bench.tell(PullEnded(outcome))
        await asyncio.sleep(10)

    bench = Bench()
    bench.run(script)
    assert bench.heard == []


def test_not_connected() -> None:
    """What could not be said is said in the first report after a reconnection."""

    async def script(bench: Bench) -> None:
        bench.connected = False
        bench.assign(TASKS[0], "a")
        await asyncio.sleep(5)
        bench.connected = True
        bench.reporter.repeat()
        await asyncio.sleep(5)

    bench = Bench()
    bench.run(script)
    ((_, report),) = bench.heard
    assert report.attempts[0].images == [ImageProgress(image="a", state=ImageState.PULLING)]


def test_size() -> None:
    """However much is held, no message is too large."""

    async def script(bench: Bench) -> None:
        names = [f"{number:03d}{'x' * 380}" for number in range(50)]
        for task in TASKS:
            bench.assign(task, *names)
        await asyncio.sleep(1)

    bench = Bench()
    bench.run(script)
    assert sum(len(report.attempts) for _, report in bench.heard) == len(TASKS)
    assert len(bench.heard) == -(-len(TASKS) // ATTEMPTS_IN_ONE)
    assert max(bench.sizes) < MAX_MESSAGE_BYTES
