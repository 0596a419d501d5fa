"""What a former run left half pulled goes, unless somebody wants it: an agent in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.agent import SWEEP_AFTER_SECONDS, Agent
from agent.credentials import Keyring
from agent.events import CommandReceived
from agent.node_credentials import NodeCredentials
from agent.runtime.protocol import RuntimeAway
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from common.bus import OwnInbox, Subscription
from common.messages import Assign, AssignedImage
from sandbox.virtual.time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from common.bus import Received
    from common.bus.calls import OnAnswer

pytestmark = pytest.mark.pure

TASK = "task-20260116-151234-00000001"
LEFT = ("r/wanted", "r/forgotten")


class SilentBus:
    """A bus that takes everything and brings nothing."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Take it."""

    async def subscribe(self, subject: str, handler: Callable[[Received], None]) -> Subscription:
        """Bring nothing."""
        return Subscription(subject, handler, lambda: None)

    async def wait_connected(self) -> None:
        """It always is."""

    def open_inbox(self, inbox: str) -> OwnInbox:
        """No call is made here."""
        assert inbox.startswith("_INBOX.agent.")
        return OwnInbox(self._call, lambda: None)

    def _call(
        self,
        subject: str | None,
        payload: bytes,
        within: float,
        on_answer: OnAnswer,
        headers: Mapping[str, str] | None,
    ) -> None:
        raise NotImplementedError(subject, payload, within, on_answer, headers)


class LitteredRuntime(SimulatedRuntime):
    """Has half pulled images of a former run, and is away when it is first asked to drop them."""

    def __init__(self) -> None:
        super().__init__(seconds=7200, progress_seconds=60)
        self.swept: list[str] = []
        self._tries = 0

    async def sweep(self, keep: Callable[[str], bool]) -> None:
        """Be away once, then drop what is not to be kept."""
        self._tries += 1
        if self._tries == 1:
            raise RuntimeAway("no socket")
        self.swept += [reference for reference in LEFT if not keep(reference)]


def test_sweep() -> None:
    """Ten minutes after the start it is swept, or as long after a runtime that was away."""
    runtime = LitteredRuntime()

    async def work() -> None:
        agent = Agent(
            settings=AgentSettings.load({"IPS_NATS_URL": "nats://unused", "IPS_NODE_NAME": "n"}),
            bus=SilentBus(),
            runtime=runtime,
            keyring=NodeCredentials(Keyring(None)),
        )
        images = [AssignedImage(name="wanted", reference="r/wanted")]
        agent.post(
            CommandReceived(
                Assign(epoch=1, task=TASK, attempt=1, images=images, pull_timeout_seconds=7200)
            )
        )
        running = asyncio.create_task(agent.run())
        await asyncio.sleep(2 * SWEEP_AFTER_SECONDS - 1)
        assert runtime.swept == []
        await asyncio.sleep(2)
        running.cancel()
        await asyncio.wait([running])

    in_virtual_time(work())
    assert runtime.swept == ["r/forgotten"]
