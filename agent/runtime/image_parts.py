"""What an image consists of, as its manifest and its config say; both are a registry's word."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from common.messages import NOT_DECODABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BYTES = 2**47
"""Of an image, or of a part of one: 128 TiB, so that 50 on a node come to less than 2^53."""
DOCUMENT_LIMIT = 8 * 1024 * 1024
"""Bytes of a manifest or config; containerd itself refuses manifests that are larger."""

_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,128}")
_Digest = Annotated[str, Meta(max_length=256)]


def bounded_size(number: int) -> int | None:
    """Take a number of bytes from outside; None for one that cannot be meant."""
    return number if 0 <= number <= MOST_BYTES else None


def bounded_digest(text: str) -> str | None:
    """Take a digest from outside, ``sha256:…``; None for what is none."""
    return text if _DIGEST.fullmatch(text) else None


class _Descriptor(msgspec.Struct):
    digest: _Digest
    size: int


class _Manifest(msgspec.Struct):
    config: _Descriptor
    layers: list[_Descriptor]


class _RootFs(msgspec.Struct):
    diff_ids: list[_Digest] = []


class _Config(msgspec.Struct):
    rootfs: _RootFs = msgspec.field(default_factory=_RootFs)


@dataclass(frozen=True, slots=True)
class ImageParts:
    """The blobs of an image. ``layers`` are digests, lowest first."""

    config: str
    layers: tuple[str, ...]
    sizes: Mapping[str, int]
    """Bytes of each blob, 0 where its manifest says what cannot be; manifests included."""
    total: int | None
    """None where the sizes make no sense."""


def read_manifest(content: bytes, manifests: Mapping[str, int]) -> ImageParts | None:
    """Read what a manifest names; None where it is not readable, which the pull will say.

    ``manifests``: itself and the index that it is of, with their sizes.
    """
    try:
        manifest = msgspec.json.decode(content, type=_Manifest)
    except NOT_DECODABLE:
        return None
    blobs = (manifest.config, *manifest.layers)
    sizes = {blob.digest: bounded_size(blob.size) for blob in blobs} | dict(manifests)
    known = [size for size in sizes.values() if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    return ImageParts(
        manifest.config.digest,
        tuple(layer.digest for layer in manifest.layers),
        {digest: size or 0 for digest, size in sizes.items()},
        None if total is None else bounded_size(total),
    )


def read_chain(config: bytes) -> tuple[str, ...]:
    """Read the chain ids of a config's layers, lowest first; none where it is not readable.

    By these a runtime knows its snapshots: image-spec, "Layer ChainID".
    """
    try:
        diff_ids = msgspec.json.decode(config, type=_Config).rootfs.diff_ids
    except NOT_DECODABLE:
        return ()
    return tuple(accumulate(diff_ids, _chained))


def _chained(below: str, diff_id: str) -> str:
    return f"sha256:{hashlib.sha256(f'{below} {diff_id}'.encode()).hexdigest()}"
