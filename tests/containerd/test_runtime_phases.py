"""What a pull waits for, seen on every containerd. What lasts, lasts until the test lets go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from agent.runtime.cri import CriRuntime
from common.messages import PullPhase
from common.reasons import Reason
from sandbox.answers import Hit
from sandbox.containerd import Containerd
from sandbox.faults import Kind
from sandbox.images import (
    assemble,
    make_image,
    make_index,
    make_layer,
    make_sparse_layer,
    resized,
)
from sandbox.registry import Registry
from tests.containerd.nodes import MIB, PROGRESS_SECONDS, Pull, RealNode, interrupt
from tests.fixtures.containerd import ContainerdFactory
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.containerd

QUEUED, DOWNLOADING, UNPACKING = PullPhase


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


def phases(pull: Pull) -> set[PullPhase]:
    """Name all that a pull has been in."""
    return {seen.phase for seen in pull.seen}


async def until_phase(pull: Pull, phase: PullPhase, reports: int = 3) -> None:
    """Wait until a pull has been in a phase for some reports in a row."""
    await pull.until(
        lambda: (
            len(pull.seen) >= reports and {each.phase for each in pull.seen[-reports:]} == {phase}
        )
    )


async def end(*pulls: asyncio.Task[object]) -> None:
    """Stop what has no end of its own."""
    for pull in pulls:
        pull.cancel()
    await asyncio.wait(pulls)


async def test_a_silent_registry_is_an_open_download(node: RealNode) -> None:
    """In the first pull, and in one that is resumed and gets no byte at all."""
    image = make_image(3 * MIB, seed="silent")
    pull = Pull(node.runtime, node.put(image))
    node.registry.faults(image.blobs[-1].digest).stall(after=3 * MIB // 2)
    for _ in range(2):
        running = asyncio.create_task(pull.run())
        await node.registry.until(lambda: node.registry.busy)
        await until_phase(pull, DOWNLOADING, reports=10)
        await end(running)
        await node.registry.until(lambda: not node.registry.busy)
        pull.seen.clear()
    node.registry.faults(image.blobs[-1].digest).heal()
    assert (await pull.run()).digest == image.digest


async def test_what_has_no_place_in_the_runtime_is_queued(node: RealNode) -> None:
    """From 2.1 on three downloads are all that a node has; before, each image has its own three."""
    big = make_image(*[3 * MIB] * 3, seed="big")
    for layer in big.blobs[1:]:
        node.registry.faults(layer.digest).stall(after=3 * MIB // 2)
    first = Pull(node.runtime, node.put(big), key="first")
    taking = asyncio.create_task(first.run())
    await node.registry.until(lambda: node.registry.sent() > 4 * MIB)
    await until_phase(first, DOWNLOADING)
    second = Pull(node.runtime, node.put(make_image(MIB, MIB, seed="small")), key="second")
    waiting = asyncio.create_task(second.run())
    if node.containerd.binary.is_of("2"):
        await until_phase(second, QUEUED, reports=20)
        assert phases(second) == {QUEUED}
        assert {seen.phase for seen in first.seen[-20:]} == {DOWNLOADING}
    else:
        assert (await waiting).digest
    for layer in big.blobs[1:]:
        node.registry.faults(layer.digest).heal()
    assert (await taking).digest
    assert (await waiting).digest


async def test_what_was_interrupted_and_is_queued_again(node: RealNode) -> None:
    """Its half blobs are listed all the while, as if somebody downloaded them."""
    half = Pull(node.runtime, node.image(), key="half")
    await interrupt(node, half)
    node.let_go(half.reference)
    big = make_image(*[3 * MIB] * 3, seed="big")
    for layer in big.blobs[1:]:
        node.registry.faults(layer.digest).stall(after=3 * MIB // 2)
    first = Pull(node.runtime, node.put(big), key="first")
    taking = asyncio.create_task(first.run())
    await until_phase(first, DOWNLOADING)
    await node.registry.until(lambda: node.registry.sent() > 5 * MIB)
    half.seen.clear()
    again = asyncio.create_task(half.run())
    if node.containerd.binary.is_of("2"):
        await until_phase(half, QUEUED, reports=20)
        assert phases(half) == {QUEUED}
    else:
        assert (await again).digest
    await end(taking)
    assert (await again).digest


async def test_nothing_is_due_before_the_registry_has_answered(node: RealNode) -> None:
    """A manifest's HEAD is no download."""
    held = asyncio.Event()

    async def hold(_: web.Request, hit: Hit) -> None:
        if hit.kind is Kind.MANIFEST:
            await held.wait()

    node.registry.faults("app/held").instead = hold
    pull = Pull(node.runtime, node.registry.put("app/held", "1", make_image(MIB)))
    running = asyncio.create_task(pull.run())
    await until_phase(pull, QUEUED, reports=20)
    assert phases(pull) == {QUEUED}
    held.set()
    assert (await running).digest


@pytest.mark.parametrize("discard", [False, True])
async def test_unpacking(
    containerd_factory: ContainerdFactory, registry: Registry, *, discard: bool
) -> None:
    """All is here, although a layer below was dropped once it was unpacked, as on EKS and GKE."""
    containerd = await containerd_factory(cri={"containerd.discard_unpacked_layers": discard})
    node = RealNode(connect, containerd, registry)
    await node.runtime.facts()
    base = make_layer(MIB, seed="base")
    await Pull(node.runtime, node.put(assemble([base]))).run()
    blob = containerd.root / "io.containerd.content.v1.content/blobs/sha256" / base.blob.digest[7:]
    if discard and not containerd.binary.is_of("2"):
        async with asyncio.timeout(PATIENCE):
            while blob.exists():
                await asyncio.sleep(0.01)
    pull = Pull(node.runtime, node.put(assemble([base, make_sparse_layer(400, seed="a")])))
    pulled = await pull.run()
    while_unpacking = [seen for seen in pull.seen[:-1] if seen.phase is UNPACKING]
    assert while_unpacking
    assert {(seen.done, seen.total) for seen in while_unpacking} == {(pulled.size, pulled.size)}
    first = pull.seen.index(while_unpacking[0])
    assert {seen.phase for seen in pull.seen[first:]} == {UNPACKING}
    await node.runtime.close()


async def test_a_tag_that_moves_between_attempts(node: RealNode) -> None:
    """Bytes and total are of what it names now, whatever the lease keeps of the other."""
    old, new = make_image(2 * MIB, 2 * MIB, seed="old"), make_image(2 * MIB, seed="new")
    platforms = [make_image(MIB, seed=name, platform=name) for name in ("linux/arm64", "linux/386")]
    pull = Pull(node.runtime, node.registry.put("app/moved", "1", make_index(old, *platforms)))
    node.refuse_last(old)
    assert (await pull.failure()).reason is Reason.REGISTRY_ERROR
    pull.seen.clear()
    index = make_index(new, *platforms)
    node.registry.put("app/moved", "1", index)
    node.registry.throttle(4 * MIB)
    pulled = await pull.run()
    assert pulled.digest == index.digest
    assert {seen.total for seen in pull.seen} == {pulled.size}
    assert pull.seen[0].done < MIB


@pytest.mark.parametrize("size", [2**63 - 1, 2**48])
async def test_a_size_that_cannot_be_is_no_total(node: RealNode, size: int) -> None:
    """A manifest may say of a layer whatever it wants to."""
    image = resized(make_image(3 * MIB, 3 * MIB, seed="absurd"), size)
    for layer in image.blobs[1:]:
        node.registry.faults(layer.digest).stall(after=3 * MIB // 2)
    pull = Pull(node.runtime, node.put(image))
    running = asyncio.create_task(pull.run())
    await until_phase(pull, DOWNLOADING)
    assert {seen.total for seen in pull.seen} == {None}
    assert all(0 <= seen.done < 10 * MIB for seen in pull.seen)
    await end(running)
