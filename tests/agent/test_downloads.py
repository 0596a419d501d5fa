"""The bytes of one pull, from what a content store says of blobs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Container

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.containerd import CONTENT, Blob, Ingest, Resource
from agent.runtime.downloads import Download, Downloads
from agent.runtime.endpoint import CallFailed
from agent.runtime.image_parts import ImageParts, read_manifest
from agent.runtime.protocol import Bytes, RuntimeAway
from common.messages import PullPhase

pytestmark = pytest.mark.pure

SIZES = {"manifest": 10, "config": 20, "a": 100, "b": 200}
PARTS = ImageParts("config", ("a", "b"), SIZES, 330)


def download() -> Download:
    """Know what an image consists of."""
    made = Download()
    made.expect(PARTS)
    return made


def far(download: Download) -> tuple[int, int | None]:
    """How far a download is."""
    return download.done, download.total


def test_nothing_is_known_before_the_manifest() -> None:
    """What is complete by then counts as soon as it is known for what it is."""
    unknown = Download()
    unknown.see(["manifest", "a"], {"b": 50})
    assert not unknown.is_known
    unknown.expect(PARTS)
    unknown.see(["manifest", "a"], {"b": 50})
    assert far(unknown) == (160, 330)


def test_blobs_of_other_images_do_not_count() -> None:
    """The content store speaks of all downloads of the node."""
    made = download()
    made.see(["other"], {"another": 5})
    assert far(made) == (0, 330)


def test_a_blob_that_begins_anew_is_no_step_back() -> None:
    """A failed layer starts from 0; a complete one leaves the list of the unfinished."""
    made = download()
    made.see([], {"b": 150})
    made.see([], {"b": 0})
    made.see([], {})
    assert far(made) == (150, 330)


def test_a_blob_that_no_lease_names_is_asked_for_when_that_may_have_changed() -> None:
    """Once, and when another pull has ceased to bring it."""
    made = download()
    assert made.uncertain({"manifest"}, {"b": 5}) == ["config", "a"]
    made.see({"manifest", "a"}, {"b": 5})
    assert made.uncertain({"manifest"}, {"b": 6}) == []
    assert made.uncertain({"manifest"}, {}) == ["b"]
    assert made.uncertain({"manifest"}, {}) == []


CHAIN = ("sha256:1", "sha256:2")


@pytest.mark.parametrize(
    ("snapshots", "done"),
    [
        ([], 0),
        (["extract-1-a sha256:1"], 0),
        (["extract-1-a sha256:2"], 100),
        (["sha256:1"], 100),
        (["sha256:1", "sha256:2"], 300),
        (["extract-1-a sha256:9", "sha256:9", "sha256", ""], 0),
    ],
)
def test_what_is_unpacked_need_not_come(snapshots: list[str], done: int) -> None:
    """A layer that is about to be unpacked stands on those below it; their blobs may be gone."""
    made = download()
    made.expect_chain(CHAIN)
    made.see_snapshots(snapshots)
    assert made.done == done


def test_a_config_is_read_once_it_is_here() -> None:
    """And never one that is too large to be meant."""
    made = download()
    assert made.config is None
    made.see(["config"], {})
    assert made.config == "config"
    made.expect_chain(CHAIN)
    assert made.config is None
    large = Download()
    large.expect(ImageParts("config", (), {"config": 2**40}, 2**40))
    large.see(["config"], {})
    assert large.config is None


OBSERVATIONS = st.lists(
    st.tuples(
        st.sets(st.sampled_from([*SIZES, "other"])),
        st.dictionaries(st.sampled_from([*SIZES, "other"]), st.integers(0, 10**6)),
    )
)


@given(OBSERVATIONS)
def test_bytes_never_fall_and_never_exceed_the_total(
    observations: list[tuple[set[str], dict[str, int]]],
) -> None:
    """Whatever is seen in whatever order."""
    made = download()
    before = 0
    for complete, offsets in observations:
        made.see(complete, offsets)
        assert before <= made.done <= 330
        before = made.done
    assert made.all_bytes == Bytes(330, 330, PullPhase.UNPACKING)


class Node:
    """The content store of a node on which downloads go on; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.present = {"manifest": 10, "config": 20, "a": 100}
        self.under_way = {"b": 0}
        self.faults: list[Exception] = []

    async def ingests(self) -> list[Ingest]:
        """Go on by a byte each time."""
        self.asked["ingests"] += 1
        if self.faults:
            raise self.faults.pop()
        self.under_way["b"] += 1
        return [Ingest(f"layer-{name}", at, 200, 0) for name, at in self.under_way.items()]

    async def resources(self, lease: str) -> list[Resource]:
        """Keep the same for every lease; of layer ``a`` no lease knows."""
        self.asked[f"resources {lease}"] += 1
        return [Resource("manifest", CONTENT), Resource("b", "ingests")]

    async def blob(self, digest: str) -> Blob:
        """Look up what is complete."""
        self.asked[f"blob {digest}"] += 1
        if digest not in self.present:
            raise CallFailed("NOT_FOUND", digest)
        labels = {"containerd.io/gc.ref.content.config": "config"} if digest == "manifest" else {}
        return Blob(digest, self.present[digest], labels)

    async def idle_ingests(self, running: Container[str]) -> set[str]:
        """Nothing is kept for later."""
        del running
        return set()

    async def read(self, digest: str) -> bytes:
        """Read the manifest, or a config that says nothing."""
        if digest == "config":
            return b"{}"
        assert digest == "manifest"
        layers = [{"digest": "a", "size": 100}, {"digest": "b", "size": 200}]
        return json.dumps({"config": {"digest": "config", "size": 20}, "layers": layers}).encode()


async def watch(downloads: Downloads, lease: str, reports: int) -> list[Bytes]:
    """Watch a pull until it has been reported on so often."""
    seen: list[Bytes] = []
    enough = asyncio.Event()

    def on_bytes(value: Bytes) -> None:
        seen.append(value)
        if len(seen) == reports:
            enough.set()

    task = asyncio.create_task(downloads.watch(Download(), lease, on_bytes))
    await enough.wait()
    task.cancel()
    return seen


async def test_all_pulls_share_one_look_at_the_store() -> None:
    """However many there are, it is asked once in each interval."""
    node = Node()
    downloads = Downloads(node, node, interval=0.01)
    await asyncio.gather(*(watch(downloads, f"lease-{n}", 5) for n in range(8)))
    assert node.asked["resources lease-0"] >= 5
    assert node.asked["ingests"] <= node.asked["resources lease-0"] + 1


async def test_what_no_lease_knows_is_asked_for_once() -> None:
    """Layers that were there before count from the first report."""
    node = Node()
    seen = await watch(Downloads(node, node, interval=0.001), "lease", 5)
    assert seen[0] == Bytes(131, 330)
    assert node.asked["blob a"] == 1


async def test_a_look_that_fails_is_made_up_for() -> None:
    """Blobs and leases come and go; a pull that is really broken says so itself."""
    node = Node()
    node.faults = [CallFailed("NOT_FOUND", "lease"), RuntimeAway("gone")]
    seen = await watch(Downloads(node, node, interval=0.001), "lease", 2)
    assert seen[0] == Bytes(131, 330)


@pytest.mark.parametrize("manifest", [b"", b"{", b'{"config": {"digest": "\xe4", "size": 1}}'])
def test_a_manifest_that_is_none_tells_no_sizes(manifest: bytes) -> None:
    """The pull itself will say what is wrong with it."""
    assert read_manifest(manifest, {}) is None
