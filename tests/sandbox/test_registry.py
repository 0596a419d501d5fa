"""What a container runtime meets at the registry, met with an HTTP client."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession

from sandbox.certificates import self_signed
from sandbox.faults import Bandwidth, Kind
from sandbox.images import Blob, make_image, make_index, sha256
from sandbox.registry import Registry, in_thread

SIZE = 200_000


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """Speak HTTP."""
    async with ClientSession() as session:
        yield session


@pytest.fixture
def blob(registry: Registry) -> Blob:
    """Put an image into repository ``app`` and return its layer, more than SIZE bytes."""
    image = make_image(SIZE)
    registry.put("app", "1", image)
    return image.blobs[1]


def url(registry: Registry, kind: Kind, reference: str, repository: str = "app") -> str:
    """Name where a manifest or blob is."""
    return f"{registry.url}/v2/{repository}/{kind}/{reference}"


async def fetch(
    client: ClientSession, registry: Registry, blob: Blob, *, range_: str | None = None
) -> tuple[int, bytes]:
    """Get a blob's bytes and the status of the answer."""
    headers = {"Range": range_} if range_ else {}
    async with client.get(url(registry, Kind.BLOB, blob.digest), headers=headers) as answer:
        return answer.status, await answer.read()


async def status(client: ClientSession, address: str, user: str = "") -> int:
    """Get just the status of an answer, as ``name:password`` if given."""
    headers = {"Authorization": f"Basic {b64encode(user.encode()).decode()}"} if user else {}
    async with client.get(address, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize("by_digest", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_manifest(
    registry: Registry, client: ClientSession, method: str, by_digest: bool
) -> None:
    """A manifest is found by tag and by digest, its head too."""
    image = make_image()
    assert registry.put("team/app", "1", image) == f"{registry.host}/team/app:1"
    reference = image.digest if by_digest else "1"
    where = url(registry, Kind.MANIFEST, reference, "team/app")
    async with client.request(method, where) as answer:
        assert answer.status == 200
        assert answer.headers["Docker-Content-Digest"] == image.digest
        assert answer.headers["Content-Type"] == image.manifest.media_type
        assert answer.headers["Content-Length"] == str(image.manifest.size)
        assert await answer.read() == (image.manifest.content if method == "GET" else b"")


async def test_index(registry: Registry, client: ClientSession) -> None:
    """An index brings its children and their blobs."""
    index = make_index(make_image(), make_image(platform="linux/arm64"))
    registry.put("app", "1", index)
    for child in index.children:
        assert await status(client, url(registry, Kind.MANIFEST, child.digest)) == 200
    for blob in index.blobs:
        assert await fetch(client, registry, blob) == (200, blob.content)


async def test_tag_moves(registry: Registry, client: ClientSession) -> None:
    """A tag names what was put last."""
    registry.put("app", "1", make_image(seed="old"))
    registry.put("app", "1", new := make_image(seed="new"))
    async with client.get(url(registry, Kind.MANIFEST, "1")) as answer:
        assert sha256(await answer.read()) == new.digest


async def test_not_there(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """What is not there is 404, also if another repository has it."""
    assert await status(client, url(registry, Kind.MANIFEST, "2")) == 404
    assert await status(client, url(registry, Kind.BLOB, blob.digest, "other")) == 404


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=1000-", 1000, None), ("bytes=5-9", 5, 10), ("bytes=0-", 0, None)],
)
async def test_range(
    registry: Registry,
    client: ClientSession,
    blob: Blob,
    asked: str,
    start: int,
    stop: int | None,
) -> None:
    """A range is answered with just that."""
    assert await fetch(client, registry, blob, range_=asked) == (206, blob.content[start:stop])
    assert [hit.range for hit in registry.hits] == [asked]


@pytest.mark.parametrize(("asked", "code"), [(f"bytes={SIZE * 2}-", 416), ("pages=1-2", 400)])
async def test_bad_range(
    registry: Registry, client: ClientSession, blob: Blob, asked: str, code: int
) -> None:
    """A range that cannot be is refused."""
    assert (await fetch(client, registry, blob, range_=asked))[0] == code


async def test_hits(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """Hits tell what was asked for and how many bytes left."""
    await fetch(client, registry, blob)
    await fetch(client, registry, blob, range_="bytes=1000-")
    await status(client, url(registry, Kind.MANIFEST, "9") + "?ns=example.com")
    await registry.until(lambda: not registry.busy)
    assert [(hit.status, hit.sent) for hit in registry.hits] == [
        (200, blob.size),
        (206, blob.size - 1000),
        (404, 0),
    ]
    assert registry.hits[-1].path == "/v2/app/manifests/9?ns=example.com"
    assert registry.sent("app") == registry.sent() == 2 * blob.size - 1000
    assert registry.sent("other") == 0


async def test_protected(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """A protected repository is served to its credentials only, the others to all."""
    registry.put("open", "1", make_image())
    registry.protect("app", "user", "secret")
    where = url(registry, Kind.BLOB, blob.digest)
    async with client.get(where) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert await status(client, where, "user:wrong") == 401
    assert await status(client, where, "user:secret") == 200
    assert await status(client, url(registry, Kind.MANIFEST, "1", "open")) == 200


@pytest.mark.parametrize("code", [401, 403, 404, 429, 503])
async def test_refusal(registry: Registry, client: ClientSession, blob: Blob, code: int) -> None:
    """A refusal holds for its kind and its number of requests."""
    registry.faults("app").refuse(Kind.BLOB, code, times=2, headers={"Retry-After": "7"})
    assert await status(client, url(registry, Kind.MANIFEST, "1")) == 200
    where = url(registry, Kind.BLOB, blob.digest)
    async with client.get(where) as answer:
        assert answer.headers["Retry-After"] == "7"
    assert [await status(client, where) for _ in range(2)] == [code, 200]


async def test_scope_and_healing(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """A fault of one blob leaves others alone, and healing ends it."""
    other = make_image(seed="other").blobs[1]
    registry.put("app", "2", make_image(seed="other"))
    registry.faults(blob.digest).refuse(Kind.BLOB, 503)
    assert (await fetch(client, registry, blob))[0] == 503
    assert (await fetch(client, registry, other))[0] == 200
    registry.faults(blob.digest).heal()
    assert (await fetch(client, registry, blob))[0] == 200


async def test_latency(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """The latencies of a request's scopes add up."""
    registry.faults().latency = 0.02
    registry.faults("app").latency = 0.03
    before = asyncio.get_running_loop().time()
    await fetch(client, registry, blob)
    assert asyncio.get_running_loop().time() - before >= 0.05


async def test_throttle(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """All transfers share the bandwidth."""
    registry.throttle(10 * blob.size)
    before = asyncio.get_running_loop().time()
    await asyncio.gather(*(fetch(client, registry, blob) for _ in range(3)))
    assert asyncio.get_running_loop().time() - before >= 0.3


async def test_drop(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """A dropped answer has sent so many bytes, and the rest can be asked for."""
    registry.faults("app").drop(after=70_000, times=1)
    with pytest.raises(ClientPayloadError):
        await fetch(client, registry, blob)
    assert registry.sent() == 70_000
    assert await fetch(client, registry, blob, range_="bytes=70000-") == (
        206,
        blob.content[70_000:],
    )


async def test_stall(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """A stalled answer hangs after so many bytes and goes on when healed."""
    registry.faults(blob.digest).stall(after=70_000, times=1)
    async with client.get(url(registry, Kind.BLOB, blob.digest)) as answer:
        got = await answer.content.readexactly(70_000)
        assert registry.busy
        assert registry.sent() == 70_000
        registry.faults(blob.digest).heal()
        assert got + await answer.read() == blob.content


async def test_client_goes_away(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """A client that goes away ends its answer: bytes stop."""
    registry.faults().stall(after=1000)
    async with client.get(url(registry, Kind.BLOB, blob.digest)) as answer:
        await answer.content.readexactly(1000)
        assert registry.busy
    await registry.until(lambda: not registry.busy)
    assert registry.sent() == 1000


async def test_corrupt(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """A corrupt blob has the right length and a wrong digest, resumed or not."""
    registry.faults(blob.digest).corrupt = True
    code, content = await fetch(client, registry, blob)
    assert (code, len(content)) == (200, blob.size)
    assert sha256(content) != blob.digest
    assert content[:1000] == blob.content[:1000]
    assert (await fetch(client, registry, blob, range_="bytes=1000-"))[1] == content[1000:]


async def test_manifests_are_spared(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """What befalls the blobs of a scope leaves its manifests alone, but for the latency."""
    del blob
    faults = registry.faults("app")
    faults.corrupt = True
    faults.drop(after=1)
    faults.bandwidth = Bandwidth(1)
    async with client.get(url(registry, Kind.MANIFEST, "1")) as answer:
        assert sha256(await answer.read()) == answer.headers["Docker-Content-Digest"]


async def test_tls(client: ClientSession, tmp_path: Path) -> None:
    """A registry with TLS is trusted by those who know its certificate, by no one else."""
    made = self_signed(tmp_path)
    async with Registry(tls=made.server_context()) as registry:
        assert registry.url.startswith("https://127.0.0.1:")
        with pytest.raises(ClientConnectionError):
            await client.get(f"{registry.url}/v2/")
        async with client.get(f"{registry.url}/v2/", ssl=made.client_context()) as answer:
            assert answer.status == 200


async def test_stop_and_start(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """A stopped registry refuses, and comes back on its port with all that it had."""
    where = url(registry, Kind.BLOB, blob.digest)
    await registry.stop()
    with pytest.raises(ClientConnectionError):
        await client.get(where)
    await registry.start()
    assert await status(client, where) == 200


async def test_stop_cuts(registry: Registry, client: ClientSession, blob: Blob) -> None:
    """Stopping cuts an answer that hangs."""
    registry.faults().stall(after=1000)
    async with client.get(url(registry, Kind.BLOB, blob.digest)) as answer:
        await answer.content.readexactly(1000)
        await registry.stop()
        with pytest.raises(ClientPayloadError):
            await answer.read()


async def test_until_ends(registry: Registry) -> None:
    """Waiting for what does not happen ends."""
    with pytest.raises(TimeoutError):
        await registry.until(lambda: False, within=0.01)


@pytest.fixture
def threaded() -> Iterator[Registry]:
    """Serve an empty registry on a thread of its own."""
    with in_thread(Registry()) as registry:
        yield registry


def test_thread_serves_blocking_client(threaded: Registry) -> None:
    """On a thread of its own it serves those who block their loop."""
    image = make_image()
    threaded.put("app", "1", image)
    with urlopen(url(threaded, Kind.MANIFEST, "1")) as answer:  # noqa: S310 - our own http
        assert answer.read() == image.manifest.content


async def test_thread_wakes_other_loops(threaded: Registry, client: ClientSession) -> None:
    """A loop can wait for a registry that is on another thread."""
    image = make_image(SIZE)
    threaded.put("app", "1", image)
    threaded.faults().stall(after=1000)
    fetching = asyncio.create_task(fetch(client, threaded, image.blobs[1]))
    await threaded.until(lambda: threaded.sent() == 1000)
    threaded.faults().heal()
    assert await fetching == (200, image.blobs[1].content)
