"""Container images made on the spot: small or big, right or wrong, the same for the same seed.

Layers are random bytes in a tar in a gzip of stored blocks, so that what travels is as big as what
was asked for and making it costs little more than hashing it. OCI media types throughout.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@dataclass(frozen=True)
class Blob:
    """Bytes that a registry serves under their digest."""

    media_type: str
    content: bytes = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """``sha256:`` and 64 hex digits."""
        return sha256(self.content)

    @property
    def size(self) -> int:
        """Bytes as they travel."""
        return len(self.content)

    @property
    def descriptor(self) -> dict[str, Any]:
        """How a manifest or index names this blob."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Layer:
    """A file system layer; ``diff_id`` is the digest of its tar before compression."""

    blob: Blob
    diff_id: str


@dataclass(frozen=True)
class Image:
    """What one reference names: a manifest or an index, and everything below it."""

    manifest: Blob
    """The manifest, or the index of a multi-platform image: what a tag points at."""
    blobs: tuple[Blob, ...] = ()
    """Config and layers; of all platforms for an index."""
    children: tuple[Image, ...] = ()
    """The images of an index, one for each platform."""

    @property
    def digest(self) -> str:
        """Of the manifest or index: the one in ``repository@digest``."""
        return self.manifest.digest

    @property
    def size(self) -> int:
        """Bytes of config and layers together, without manifests."""
        return sum(blob.size for blob in self.blobs)


def sha256(content: bytes) -> str:
    """Digest in OCI form."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def make_image(
    *sizes: int,
    seed: int | str = 0,
    platform: str = "linux/amd64",
) -> Image:
    """Make an image with one layer of random bytes for each size (bytes; one of 1 KiB if none).

    The same arguments make the same image, another seed shares no layer with it. ``platform`` is
    ``os/architecture``; it is in the config, so that platforms may share layers but never an image.
    """
    layers = [make_layer(size, seed=f"{seed}/{n}") for n, size in enumerate(sizes or (1024,))]
    return assemble(layers, platform=platform)


def make_layer(size: int, *, seed: int | str) -> Layer:
    """Make a layer that holds one file of ``size`` random bytes; its blob is about 10 KiB more."""
    content = random.Random(seed).randbytes(size)  # noqa: S311 - repeatable, not secret
    file = tarfile.TarInfo(f"data/{sha256(content)[7:19]}")
    file.size = size
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(file, io.BytesIO(content))
    return Layer(Blob(LAYER, _stored(buffer.getvalue())), diff_id=sha256(buffer.getvalue()))


def make_program_layer(programs: Mapping[str, Path]) -> Layer:
    """Make a layer of programs of this machine, each under a path of its own in the image."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in programs.items():
            content = path.read_bytes()
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(content), 0o755
            archive.addfile(file, io.BytesIO(content))
    return Layer(Blob(LAYER, _stored(buffer.getvalue())), diff_id=sha256(buffer.getvalue()))


def make_wrong_layer(size: int, *, seed: int | str) -> Layer:
    """Make a layer whose ``diff_id`` is not its content's: it downloads well and never unpacks."""
    return Layer(make_layer(size, seed=seed).blob, diff_id=sha256(b"something else"))


def make_garbage_layer(size: int, *, seed: int | str) -> Layer:
    """Make a layer that is gzip but no tar: it downloads well and never unpacks."""
    content = random.Random(seed).randbytes(size)  # noqa: S311 - repeatable, not secret
    return Layer(Blob(LAYER, _stored(content)), diff_id=sha256(content))


def make_sparse_layer(mebibytes: int, *, seed: int | str) -> Layer:
    """Make a layer with little to download and much to unpack: a file of zeros."""
    digest = hashlib.sha256()
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as archive:
        file = tarfile.TarInfo(f"zeros-{seed}")
        file.size = mebibytes << 20
        parts = [file.tobuf(), *[bytes(1 << 20)] * mebibytes, bytes(2 * tarfile.BLOCKSIZE)]
        for part in parts:
            digest.update(part)
            archive.write(part)
    return Layer(Blob(LAYER, buffer.getvalue()), diff_id=f"sha256:{digest.hexdigest()}")


def resized(image: Image, size: int) -> Image:
    """Have an image's manifest say of its last layer that it has ``size`` bytes."""
    manifest = json.loads(image.manifest.content)
    manifest["layers"][-1]["size"] = size
    return Image(_document(image.manifest.media_type, manifest), image.blobs)


def assemble(
    layers: Sequence[Layer],
    *,
    platform: str = "linux/amd64",
    entrypoint: Sequence[str] = ("/data",),
) -> Image:
    """Make an image of given layers, lowest first. ``entrypoint`` is the program that it runs."""
    system, architecture = platform.split("/", 1)
    config = _document(
        CONFIG,
        {
            "architecture": architecture,
            "os": system,
            "config": {"Entrypoint": list(entrypoint)},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        },
    )
    return _image(config, [layer.blob for layer in layers])


def make_index(*images: Image) -> Image:
    """Make a multi-platform image of images made by ``make_image`` or ``assemble``."""
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {**image.manifest.descriptor, "platform": _platform(image)} for image in images
        ],
    }
    blobs = {blob.digest: blob for image in images for blob in image.blobs}
    return Image(_document(INDEX, index), tuple(blobs.values()), images)


def make_artifact(size: int = 1024, *, seed: int | str = 0) -> Image:
    """Make what registries also hold but no runtime can run: a Helm chart."""
    chart = make_layer(size, seed=seed).blob
    config = _document(HELM_CONFIG, {"name": f"chart-{seed}", "version": "1.0.0"})
    return _image(config, [Blob(HELM_CHART, chart.content)])


def _image(config: Blob, layers: Sequence[Blob]) -> Image:
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor,
        "layers": [layer.descriptor for layer in layers],
    }
    return Image(_document(MANIFEST, manifest), (config, *layers))


def _platform(image: Image) -> dict[str, str]:
    config = json.loads(image.blobs[0].content)
    return {"os": config["os"], "architecture": config["architecture"]}


def _document(media_type: str, value: Mapping[str, Any]) -> Blob:
    return Blob(media_type, json.dumps(value).encode())


def _stored(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=0, mtime=0)
