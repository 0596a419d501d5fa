"""A whole agent in virtual time does the same in every run that has the same seed."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.agent import Agent
from agent.credentials import Keyring
from agent.node_credentials import NodeCredentials
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from common import subjects
from common.bus import OwnInbox, Received, Subscription, TimedOut
from common.bus.calls import OnAnswer
from common.messages import Assign, AssignedImage, OutcomeAnswer, OutcomeResult, Report
from sandbox.virtual.time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.pure

TASK = "task-20260116-151234-00000001"
NAMES = ("a", "b", "c")
IMAGES = [AssignedImage(name=name, reference=f"r/{name}") for name in NAMES]
REFUSALS = 5


class TracingBus:
    """Remembers what is sent and when; nobody stores an outcome before its sixth try."""

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

    def open_inbox(self, inbox: str) -> OwnInbox:
        """Answer requests to store outcomes."""
        assert inbox.startswith("_INBOX.agent.n.")
        return OwnInbox(self._take_outcome, lambda: None)

    def _take_outcome(
        self,
        subject: str | None,
        payload: bytes,
        within: float,
        on_answer: OnAnswer,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Take an outcome at the last of its tries."""
        assert subject is not None
        assert not headers
        self._tries += 1
        if self._tries % (REFUSALS + 1):
            on_answer(TimedOut(f"no answer within {within:g} s"))
        else:
            self.publish(subject, payload)
            on_answer(msgspec.json.encode(OutcomeAnswer(result=OutcomeResult.STORED)))

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
            keyring=NodeCredentials(Keyring(None)),
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
    assert kinds == {"heartbeat", "progress", "outcome"}


def test_another_seed() -> None:
    """Other times and another instance."""
    assert trace_of(1) != trace_of(2)
