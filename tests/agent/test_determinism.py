"""A whole agent in virtual time does the same in every run that has the same seed."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.agent import Agent
from agent.credentials import Keyring
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from common import subjects
from common.bus import Received, StoreUnavailable, Subscription
from common.messages import Assign, AssignedImage, Report
from sandbox.virtual.time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pure

TASK = "task-20260116-151234-00000001"
NAMES = ("a", "b", "c")
IMAGES = [AssignedImage(name=name, reference=f"r/{name}") for name in NAMES]
REFUSALS = 5


class TracingBus:
    """Remembers what is sent and when; its store refuses five times for each outcome."""

    def __init__(self) -> None:
        self.trace: list[tuple[float, str, bytes]] = []
        self._handlers: dict[str, Callable[[Received], None]] = {}
        self._tries = 0

    def publish(self, subject: str, payload: bytes) -> None:
        """Take a message."""
        self.trace.append((asyncio.get_running_loop().time(), subject, payload))

    async def subscribe(self, subject: str, handler: Callable[[Received], None]) -> Subscription:
        """Keep a handler."""
        self._handlers[subject] = handler
        return Subscription(subject, handler, lambda: None)

    async def wait_connected(self) -> None:
        """It always is."""

    async def store(self, subject: str, payload: bytes, *, expect_last: int | None) -> int:
        """Take an outcome at the last of its tries."""
        assert expect_last == 0
        self._tries += 1
        if self._tries % (REFUSALS + 1):
            raise StoreUnavailable("no leader")
        self.publish(subject, payload)
        return 1

    def deliver(self, subject: str, command: Assign | Report) -> None:
        """Bring a command."""
        self._handlers[subject](Received(subject, msgspec.json.encode(command), "reply"))


def trace_of(seed: int) -> list[tuple[float, str, bytes]]:
    """All that an agent sends in a minute in which it pulls three images and is asked twice."""
    bus = TracingBus()

    async def work() -> None:
        agent = Agent(
            settings=AgentSettings.load({"IPS_NATS_URL": "nats://unused", "IPS_NODE_NAME": "n"}),
            bus=bus,
            runtime=SimulatedRuntime(seconds=3, size=1000),
            keyring=Keyring(None),
            rng=Random(seed),
        )
        running = asyncio.create_task(agent.run())
        await asyncio.sleep(1)
        assign = Assign(epoch=1, task=TASK, attempt=1, images=IMAGES, pull_timeout_seconds=60)
        bus.deliver(subjects.command(*agent.address), assign)
        for _ in range(2):
            await asyncio.sleep(10)
            bus.deliver(subjects.REPORT, Report(epoch=1))
        await asyncio.sleep(39)
        await agent.shut_down(within=1)
        running.cancel()
        await asyncio.wait([running])

    in_virtual_time(work())
    return bus.trace


def test_same_seed() -> None:
    """The same messages at the same times, its instance's name included."""
    first, second = trace_of(1), trace_of(1)
    assert first == second
    kinds = {subject.split(".")[2] for _, subject, _ in first if "." in subject}
    assert kinds == {"heartbeat", "progress", "result"}


def test_another_seed() -> None:
    """Other times and another instance."""
    assert trace_of(1) != trace_of(2)
