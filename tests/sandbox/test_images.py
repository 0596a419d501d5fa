from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

import pytest

from sandbox.images import (
    Blob,
    assemble,
    make_artifact,
    make_garbage_layer,
    make_image,
    make_index,
    make_layer,
    make_wrong_layer,
    sha256,
)

pytestmark = pytest.mark.pure


def parsed(blob: Blob) -> Any:
    """Read a JSON document."""
    return json.loads(blob.content)


def test_seed() -> None:
    """The same seed makes the same image, and another shares no blob with it."""
    one, again, other = (make_image(100, 200, seed=seed) for seed in ("a", "a", "b"))
    assert one == again
    assert one.digest == again.digest
    assert one.blobs[1].content[4:8] == bytes(4)  # gzip would write the time there
    assert not {blob.digest for blob in one.blobs} & {blob.digest for blob in other.blobs}


def test_manifest() -> None:
    """A manifest describes config and layers as they are."""
    image = make_image(100, 200)
    manifest = parsed(image.manifest)
    described = [manifest["config"], *manifest["layers"]]
    assert described == [
        {"mediaType": blob.media_type, "digest": sha256(blob.content), "size": len(blob.content)}
        for blob in image.blobs
    ]
    assert image.size == sum(part["size"] for part in described)


def test_layer() -> None:
    """A layer is a tar of one incompressible file, and its diff id is the tar's digest."""
    layer = make_layer(50_000, seed=1)
    tar = gzip.decompress(layer.blob.content)
    assert layer.diff_id == sha256(tar)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert [file.size for file in archive] == [50_000]
    assert 50_000 < layer.blob.size < 50_000 + 12_000
    assert len(gzip.compress(layer.blob.content)) > 50_000


def test_index() -> None:
    """An index names the platform of each child and holds all their blobs."""
    amd, arm = (make_image(seed=1, platform=f"linux/{arch}") for arch in ("amd64", "arm64"))
    index = make_index(amd, arm)
    assert [
        (child["digest"], child["platform"]["architecture"])
        for child in parsed(index.manifest)["manifests"]
    ] == [(amd.digest, "amd64"), (arm.digest, "arm64")]
    # The one layer is the same on both platforms, the configs differ.
    assert len(index.blobs) == 3


@pytest.mark.parametrize("make", [make_wrong_layer, make_garbage_layer])
def test_bad_layer(make: Any) -> None:
    """A bad layer is what its image says it is, and cannot be unpacked as that."""
    layer = make(5_000, seed=1)
    assert parsed(assemble([layer]).blobs[0])["rootfs"]["diff_ids"] == [layer.diff_id]
    content = gzip.decompress(layer.blob.content)
    unpacks = sha256(content) == layer.diff_id
    try:
        tarfile.open(fileobj=io.BytesIO(content)).close()
    except tarfile.ReadError:
        unpacks = False
    assert not unpacks


def test_artifact() -> None:
    """An artifact has no image's config."""
    config = make_artifact().blobs[0]
    assert "helm" in config.media_type
    assert "rootfs" not in parsed(config)
