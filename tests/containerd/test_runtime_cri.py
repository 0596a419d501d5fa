"""What the driver ``cri`` does on a containerd beyond what all drivers do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
import pytest
from aiohttp import web

from agent.inventory import InventoryReporter
from agent.runtime.containerd import Containerd as Api
from agent.runtime.containerd import Lease
from agent.runtime.cri import CriRuntime
from agent.runtime.endpoint import Endpoint
from agent.runtime.protocol import Credentials, PullFailed, RuntimeAway
from agent.stock import marks
from common.bus import Handler, Received, Subscription
from common.inventory import Found, Inventory, wants
from common.reasons import Reason
from common.subjects import AgentAddress
from sandbox.answers import Hit
from sandbox.containerd import Containerd
from sandbox.images import assemble, make_artifact, make_image, make_layer
from sandbox.ports import free_port
from sandbox.registry import Registry
from tests.containerd.nodes import MIB, PROGRESS_SECONDS, Pull, RealNode, interrupt, repository_of
from tests.fixtures.containerd import remove_image

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


@pytest.fixture
async def leases(
    containerd: Containerd,
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, list[Lease]]]]:
    """Make what lists the leases of this service, on a connection of its own."""
    endpoint = Endpoint(f"unix://{containerd.socket}")
    api = Api(endpoint)
    yield lambda: api.leases({"io.ips.owner": "prewarm-agent"})
    endpoint.close()


Leases = Callable[[], Coroutine[Any, Any, list[Lease]]]


async def test_facts(node: RealNode) -> None:
    """Name, version and disk are those of the containerd under test."""
    facts = await node.runtime.facts()
    assert facts.runtime == f"containerd {node.containerd.binary.version}"
    assert facts.image_disk is not None
    assert 0 < facts.image_disk.free_bytes < facts.image_disk.total_bytes
    assert node.runtime.sees_bytes
    assert node.runtime.resumes


async def test_a_resumed_pull_brings_only_the_rest(node: RealNode) -> None:
    """Counted where the bytes come from."""
    pull = Pull(node.runtime, node.image())
    await interrupt(node, pull)
    size = (await pull.run()).size or 0
    assert node.registry.sent() < 1.5 * size
    assert any(hit.range for hit in node.registry.hits)


async def test_what_was_pulled_survives_an_upgrade_of_the_runtime(node: RealNode) -> None:
    """SIGTERM in mid-pull: containerd 1.6 would forget all of it without a lease."""
    pull = Pull(node.runtime, node.put(make_image(5 * MIB, 5 * MIB)))
    node.registry.faults().stall(after=4 * MIB)
    failing = asyncio.create_task(pull.failure())
    await node.written(6 * MIB)  # of the 8 that are sent; a MiB of each layer at a time
    await node.containerd.restart()
    await node.hung_up()
    node.registry.faults().heal()
    assert (await failing).reason is Reason.RUNTIME_UNAVAILABLE
    before = node.registry.sent()
    assert (await pull.run()).size
    assert node.registry.sent() - before < 7 * MIB


async def test_what_is_forgotten_is_gone(node: RealNode) -> None:
    """Nothing of it is left on the disk."""
    pull = Pull(node.runtime, node.image())
    await interrupt(node, pull)
    await node.runtime.forget(pull.key)
    await node.until_collected()


async def test_a_lease_names_its_owner_and_its_end(node: RealNode, leases: Leases) -> None:
    """So that a stranger may know what it is, and that no agent has to come back for it."""
    pull = Pull(node.runtime, node.image(), key="task-1/image-1")
    await interrupt(node, pull)
    [lease] = await leases()
    assert lease.id.startswith("ips-")
    assert lease.labels["io.ips.resume-key"] == "task-1/image-1"
    assert lease.labels["io.ips.installation"] == "ips"
    assert "containerd.io/gc.expire" in lease.labels


async def test_an_agent_of_another_installation_ends_nothing(
    node: RealNode, leases: Leases
) -> None:
    """Two have an agent on one node: one sweeps, forgets, and pulls the same image to its end."""
    pull = Pull(node.runtime, node.image())
    await interrupt(node, pull)
    before = await leases()
    other = CriRuntime(f"unix://{node.containerd.socket}", installation="b-ips-coordinator.tools")
    try:
        await other.sweep(lambda _: False)
        await other.forget(pull.key)
        assert (await Pull(other, pull.reference).run()).digest
    finally:
        await other.close()
    assert await leases() == before


async def test_a_pull_that_succeeded_leaves_no_lease(node: RealNode, leases: Leases) -> None:
    """Else the kubelet could not free the space of an image that it removes."""
    await Pull(node.runtime, node.image()).run()
    assert await leases() == []


async def test_a_failure_keeps_what_a_retry_can_use(node: RealNode, leases: Leases) -> None:
    """A registry that fails half-way is resumed from there; a missing image is not."""
    broken = make_image(MIB, MIB, seed="broken")
    pull = Pull(node.runtime, node.registry.put("app/broken", "1", broken))
    node.refuse_last(broken)
    assert (await pull.failure()).reason is Reason.REGISTRY_ERROR
    assert [lease.labels["io.ips.resume-key"] for lease in await leases()] == [pull.key]
    node.registry.faults(broken.blobs[-1].digest).heal()
    before = node.registry.sent()
    await pull.run()
    assert node.registry.sent() - before < 1.5 * MIB
    missing = Pull(node.runtime, node.missing())
    assert (await missing.failure()).reason is Reason.IMAGE_NOT_FOUND
    assert await leases() == []


async def test_a_lease_that_ends_too_early_is_handed_on(node: RealNode, leases: Leases) -> None:
    """It cannot be prolonged, and one that ended in mid-pull would take the bytes with it."""
    pull = Pull(node.runtime, node.image())
    await interrupt(node, pull)
    [short] = await leases()
    # Whatever no lease kept would be collected before the first byte is asked for.
    node.registry.faults().latency = 0.3
    node.hold(pull.reference)
    day = asyncio.create_task(
        node.runtime.pull(
            pull.reference,
            None,
            resume_key=pull.key,
            keep_seconds=24 * 3600,
            on_bytes=lambda _: None,
        )
    )
    await node.registry.until(lambda: any(hit.range for hit in node.registry.hits))
    [lasting] = await leases()
    assert lasting.id != short.id
    node.let_go(pull.reference)
    await day
    assert node.registry.sent() < 9 * MIB


async def test_a_lease_that_lasts_is_used_again(node: RealNode, leases: Leases) -> None:
    """Most retries come soon."""
    pull = Pull(node.runtime, node.image())
    await interrupt(node, pull)
    before = await leases()
    await interrupt(node, pull)
    assert await leases() == before


async def test_layers_of_two_images_count_for_both(node: RealNode) -> None:
    """Whoever downloads a shared layer."""
    shared = [make_layer(2 * MIB, seed="shared")]
    images = [assemble([*shared, make_layer(MIB, seed=n)]) for n in range(2)]
    node.registry.throttle(4 * MIB)
    pulls = [
        Pull(node.runtime, node.put(image), key=f"task-1/{n}") for n, image in enumerate(images)
    ]
    results = await asyncio.gather(*(pull.run() for pull in pulls))
    assert node.registry.sent() < 4.5 * MIB
    for pull, pulled in zip(pulls, results, strict=True):
        assert pull.seen[-1].done == pulled.size
        assert all(a.done <= b.done for a, b in itertools.pairwise(pull.seen))
        assert pull.seen[-2].done > 2 * MIB


async def test_a_layer_that_is_present_counts_from_the_beginning(node: RealNode) -> None:
    """Bytes say how much of the image is here, not how much this pull has brought."""
    base = make_layer(2 * MIB, seed="base")
    await Pull(node.runtime, node.put(assemble([base]))).run()
    node.registry.throttle(2 * MIB)
    pull = Pull(node.runtime, node.put(assemble([base, make_layer(MIB, seed="top")])))
    await pull.run()
    assert pull.seen[0].done > 2 * MIB


async def test_credentials_are_for_one_host(node: RealNode) -> None:
    """A registry that asks does not get what was meant for another."""
    reference = node.image()
    node.registry.protect(repository_of(reference), "me", "s3cret")
    elsewhere = Credentials("registry.example", "me", "s3cret")
    assert (await Pull(node.runtime, reference).failure(elsewhere)).reason is Reason.UNAUTHORIZED


async def test_a_name_that_leads_elsewhere_is_pulled_with_its_credentials(node: RealNode) -> None:
    """As by the kubelet: a mirror stands for the name, and is told what was meant for it."""
    node.registry.put("app/led", "1", make_image(seed="led"))
    node.registry.protect("app/led", "me", "s3cret")
    node.containerd.route("registry.example", node.registry.url)
    pull = Pull(node.runtime, "registry.example/app/led:1")
    assert (await pull.run(Credentials("registry.example", "me", "s3cret"))).digest


async def test_an_identity_token_is_shown_to_the_server_of_tokens(node: RealNode) -> None:
    """Which gives a token for the registry in exchange."""
    asked: list[str] = []
    port = free_port()

    async def give(request: web.Request) -> web.Response:
        form = await request.post()
        asked.append(str(form.get("refresh_token")))
        return web.json_response({"access_token": "given"})

    async def demand(request: web.Request, _: Hit) -> web.Response | None:
        if request.headers.get("Authorization") == "Bearer given":
            return None
        realm = f"http://127.0.0.1:{port}/token"
        challenge = f'Bearer realm="{realm}",service="s",scope="repository:app:pull"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    app = web.Application()
    app.router.add_post("/token", give)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        reference = node.image()
        node.registry.faults(repository_of(reference)).instead = demand
        token = Credentials(node.registry.host, identity_token="t0ken")
        assert (await Pull(node.runtime, reference).run(token)).digest
        assert set(asked) == {"t0ken"}
    finally:
        await runner.cleanup()


async def test_a_registry_token_is_refused_by_the_runtime_itself(node: RealNode) -> None:
    """No containerd takes one (cri, ParseAuth); the next credentials may do."""
    reference = node.image()
    node.registry.protect(repository_of(reference), "me", "s3cret")
    token = Credentials(node.registry.host, registry_token="t0ken")
    failure = await Pull(node.runtime, reference).failure(token)
    assert failure.reason is Reason.UNAUTHORIZED
    assert "t0ken" not in failure.message


async def test_a_blob_that_the_node_has_lost_is_no_missing_image(node: RealNode) -> None:
    """After a crash the metadata may know what the disk has not: the registry has said nothing."""
    image = make_image(seed="lost")
    pull = Pull(node.runtime, node.put(image))
    await pull.run()
    blobs = node.containerd.root / "io.containerd.content.v1.content/blobs/sha256"
    (blobs / image.digest.removeprefix("sha256:")).unlink()
    failure = await pull.failure()
    assert failure.reason is Reason.UNKNOWN
    assert failure.reason.retry_makes_sense


async def test_an_artifact_that_was_taken_for_an_image_is_not_present(node: RealNode) -> None:
    """Else a second task would find on the node what the first has failed for."""
    pull = Pull(node.runtime, node.put(make_artifact(seed="chart")))
    for _ in range(2):
        assert (await pull.failure()).reason is Reason.UNSUPPORTED_IMAGE
        assert await node.runtime.find(pull.reference) is None


async def test_one_image_with_two_digests(node: RealNode) -> None:
    """A tag's own is told, although CRI names both: an index may be published again."""
    image = make_image(MIB)
    first = await Pull(node.runtime, node.registry.put("app/again", "1", image)).run()
    manifest = image.manifest
    spaced = type(manifest)(manifest.media_type, manifest.content + b"\n")
    again = type(image)(spaced, image.blobs)
    second = await Pull(node.runtime, node.registry.put("app/again", "1", again)).run()
    assert (first.digest, second.digest) == (image.digest, again.digest)
    assert image.digest != again.digest


async def test_a_paused_runtime_is_away(node: RealNode) -> None:
    """It accepts connections and never answers."""
    runtime = CriRuntime(f"unix://{node.containerd.socket}", answer_seconds=0.2)
    assert await node.runtime.find(node.missing()) is None
    node.containerd.pause()
    try:
        with pytest.raises(RuntimeAway, match=r"no answer within 0\.2 s"):
            await runtime.facts()
        with pytest.raises(PullFailed) as failed:
            await runtime.find(node.missing())
        assert failed.value.reason is Reason.RUNTIME_UNAVAILABLE
    finally:
        node.containerd.resume()
    assert await node.runtime.find(node.missing()) is None
    await runtime.close()


async def test_a_runtime_tells_of_its_images(node: RealNode) -> None:
    """Of one that comes and of one that goes; that it has stopped is an error."""
    told = asyncio.Event()
    watching = asyncio.create_task(node.runtime.watch_images(told.set))
    pull = Pull(node.runtime, node.image())
    await pull.run()
    while not told.is_set():  # the subscription may have begun after the pull
        await pull.run()
        await asyncio.sleep(0.01)
    told.clear()
    await remove_image(node.containerd, pull.reference)
    await told.wait()
    assert pull.reference not in marks(await node.runtime.list_images())
    await node.containerd.kill()
    with pytest.raises(RuntimeAway):
        await watching


class CapturingBus:
    """Carries an agent's inventory to whoever looks."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[Inventory] = asyncio.Queue()
        self.ask: Handler = print

    def publish(self, subject: str, payload: bytes) -> None:
        """Keep a report."""
        del subject
        self.reports.put_nowait(msgspec.json.decode(payload, type=Inventory))

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Subscription:
        """Have questions answered."""
        self.ask = handler
        return Subscription(subject, handler, lambda: None, queue)


async def test_an_inventory_follows_what_is_pulled_and_removed(node: RealNode) -> None:
    """By the runtime's events: both within a part of the minute after which it looks anyway."""
    bus, reference = CapturingBus(), node.image()
    address = AgentAddress("node-1", "0" * 16)
    reporter = InventoryReporter(
        bus=bus, runtime=node.runtime, address=address, notify=lambda _notice: None
    )
    await reporter.open()
    running = asyncio.create_task(reporter.run())
    try:
        for want in wants([reference, "registry.example/other:1"]):
            bus.ask(Received("", msgspec.json.encode(want), ""))
        first = await bus.reports.get()
        assert first.whole
        assert not any(found.present for found in first.found)
        pulled = await Pull(node.runtime, reference).run()
        (come,) = (await bus.reports.get()).found
        assert come == Found(reference=reference, digest=pulled.digest, size=pulled.size)
        await remove_image(node.containerd, reference)
        last = await bus.reports.get()
        assert last.found == [Found(reference=reference, present=False)]
        assert (last.number, last.hash) == (3, first.hash)
    finally:
        running.cancel()
        await asyncio.wait([running])
