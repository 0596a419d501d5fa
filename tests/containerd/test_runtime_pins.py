"""Pins on real containerds: what the kubelet would see of them, by CRI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent.pinner import Pinner
from agent.runtime.containerd import Containerd as Api
from agent.runtime.cri import CriRuntime
from agent.runtime.endpoint import Endpoint
from agent.runtime.protocol import PinFailed, StoredImage
from common.inventory import PinState
from sandbox.containerd import Containerd
from sandbox.registry import Registry
from tests.containerd.nodes import PROGRESS_SECONDS, Pull, RealNode

pytestmark = pytest.mark.containerd


def connect(containerd: Containerd) -> CriRuntime:
    """Make the driver."""
    return CriRuntime(f"unix://{containerd.socket}", progress_seconds=PROGRESS_SECONDS)


@pytest.fixture
async def node(containerd: Containerd, registry: Registry) -> AsyncIterator[RealNode]:
    """Connect to a containerd of each release line."""
    node = RealNode(connect, containerd, registry)
    await node.runtime.facts()
    yield node
    await node.runtime.close()


async def test_a_pin_is_seen_by_the_kubelet_and_outlives_a_pull(node: RealNode) -> None:
    """By CRI's own word; from 1.7 on. What is let go is as it was."""
    runtime = node.runtime
    assert isinstance(runtime, CriRuntime)
    assert runtime.pins == (not node.containerd.binary.version.startswith("1.6."))
    if not runtime.pins:
        return
    pull = Pull(runtime, node.image())
    await pull.run()
    image = await listed(runtime, pull.reference)
    for _ in range(2):
        await runtime.pin(image.id)
        await shown(runtime, pull.reference, pinned=True)
    await pull.run()
    await shown(runtime, pull.reference, pinned=True)
    assert await runtime.our_pins() == {image.id}
    other = CriRuntime(f"unix://{node.containerd.socket}", installation="another")
    assert await other.our_pins() == frozenset()
    await other.unpin(image.id)
    await shown(runtime, pull.reference, pinned=True)
    await other.close()
    for _ in range(2):
        await runtime.unpin(image.id)
        await shown(runtime, pull.reference, pinned=False)
    assert await runtime.our_pins() == frozenset()
    await runtime.pin(image.id)
    await runtime.remove_image(image.id)
    assert await runtime.our_pins() == frozenset()
    await runtime.unpin(image.id)
    with pytest.raises(PinFailed):
        await runtime.pin(image.id)


async def test_what_an_admin_has_pinned_stays_theirs(node: RealNode) -> None:
    """It gets no label of ours, and so nobody here lets it go."""
    runtime = node.runtime
    assert isinstance(runtime, CriRuntime)
    if not runtime.pins:
        return
    pull = Pull(runtime, node.image())
    await pull.run()
    image = await listed(runtime, pull.reference)
    endpoint = Endpoint(f"unix://{node.containerd.socket}")
    api = Api(endpoint)
    await api.label_image(image.id, {"io.cri-containerd.pinned": "pinned", "team": "ops"})
    await runtime.pin(image.id)
    await runtime.unpin(image.id)
    assert await runtime.our_pins() == frozenset()
    labels = await api.image_labels(image.id)
    assert (labels["io.cri-containerd.pinned"], labels["team"]) == ("pinned", "ops")
    await shown(runtime, pull.reference, pinned=True)
    endpoint.close()


async def test_an_agent_that_starts_lets_pins_go_that_nobody_claims(node: RealNode) -> None:
    """And goes on with those that are claimed, as an agent does that was killed."""
    runtime = node.runtime
    assert isinstance(runtime, CriRuntime)
    if not runtime.pins:
        return
    one, other = Pull(runtime, node.image()), Pull(runtime, node.image())
    for pull in (one, other):
        await pull.run()
        await runtime.pin((await listed(runtime, pull.reference)).id)
    disk = (await runtime.facts()).image_disk
    pinner = Pinner(runtime, lambda: disk, 50.0)
    assert await pinner.keep(None, await runtime.list_images()) == {}
    assert len(await runtime.our_pins()) == 2
    found = await pinner.keep([one.reference], await runtime.list_images())
    assert found == {one.reference: PinState.PINNED}
    await shown(runtime, other.reference, pinned=False)
    await shown(runtime, one.reference, pinned=True)


async def listed(runtime: CriRuntime, reference: str) -> StoredImage:
    """An image as CRI lists it, which the kubelet goes by."""
    (image,) = (each for each in await runtime.list_images() if reference in each.tags)
    return image


async def shown(runtime: CriRuntime, reference: str, *, pinned: bool) -> None:
    """Wait until CRI lists an image so: it follows what was done in containerd by its events."""
    while (await listed(runtime, reference)).pinned is not pinned:
        await asyncio.sleep(0.01)
