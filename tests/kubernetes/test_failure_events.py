"""Failed pulls as Events on the real API server, which is not always there."""

from __future__ import annotations

import asyncio

import pytest

from common.reasons import Reason
from coordinator.nodes import failure_events
from coordinator.nodes.failure_events import FailureEvents
from coordinator.nodes.node_events import EVENTS
from coordinator.nodes.source import FailedPull
from sandbox.kubernetes.control_plane import ControlPlane
from tests.fixtures.kubernetes import Kube
from tests.fixtures.patience import PATIENCE
from tests.kubernetes.conftest import UseConfig

pytestmark = pytest.mark.kubernetes


async def test_a_failed_pull_is_told_when_the_api_server_is_back(
    control_plane: ControlPlane,
    kube: Kube,
    use_config: UseConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told once, although the first tries failed and the word was repeated."""
    monkeypatch.setattr(failure_events, "LONGEST_PAUSE", 0.5)
    use_config(kube.config)
    failed = FailedPull("task-9", "n9", "nginx", Reason.IMAGE_NOT_FOUND, "no such image")
    events = FailureEvents(lambda _: "some-uid")
    await control_plane.api_server.kill()
    running = asyncio.create_task(events.run())
    try:
        events.pull_failed(failed)
        await asyncio.sleep(1.5)
        events.pull_failed(failed)
        control_plane.api_server.start()
        await control_plane.ready()
        path = f"{EVENTS}/{failure_events.event_name(failed)}"
        async with asyncio.timeout(PATIENCE):
            while not await is_there(kube, path):
                await asyncio.sleep(0.1)
        assert (await kube.call("GET", path))["reason"] == "ImageNotFound"
    finally:
        running.cancel()
        await asyncio.wait([running])


async def is_there(kube: Kube, path: str) -> bool:
    """Whether the API server has an object."""
    try:
        await kube.call("GET", path)
    except AssertionError:
        return False
    return True
