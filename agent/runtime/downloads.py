"""How far pulls are, from containerd's content store: it says so of every blob, CRI of nothing.

A pull's lease names the blobs that it has touched. The manifest among them says what the image
consists of; what of that is complete or under way, wherever it came from, adds up to the bytes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NoReturn, Protocol

import msgspec

from agent.runtime.containerd import CONTENT, NOT_FOUND
from agent.runtime.endpoint import CallFailed
from agent.runtime.protocol import Bytes, RuntimeAway
from common.messages import NOT_DECODABLE

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from agent.runtime.containerd import Blob, Resource
    from agent.runtime.protocol import OnBytes

# containerd marks a manifest, and an index, by labels for its garbage collector, before it fetches
# what they name.
_OF_MANIFEST = "containerd.io/gc.ref.content.config"
_OF_INDEX = "containerd.io/gc.ref.content.m."

_log = logging.getLogger(__name__)


class ContentStore(Protocol):
    """What is asked of a containerd; see ``containerd.Containerd``."""

    async def offsets(self) -> dict[str, int]:
        """List how many bytes of each unfinished blob are here, by digest."""

    async def resources(self, lease: str) -> list[Resource]:
        """List what a lease keeps."""

    async def blob(self, digest: str) -> Blob:
        """Look a complete blob up."""

    async def read(self, digest: str) -> bytes:
        """Read a complete blob."""


class _Descriptor(msgspec.Struct):
    digest: str
    size: int


class _Manifest(msgspec.Struct):
    config: _Descriptor
    layers: list[_Descriptor]


class Download:
    """The bytes of one pull; they never fall, although a blob may have to begin anew."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._absent: set[str] = set()

    @property
    def is_known(self) -> bool:
        """Whether it is known what the image consists of."""
        return bool(self._sizes)

    @property
    def bytes(self) -> Bytes:
        """How far it is."""
        return Bytes(sum(self._done.values()), sum(self._sizes.values()))

    @property
    def all_bytes(self) -> Bytes:
        """How far it is once it is over."""
        total = sum(self._sizes.values())
        return Bytes(total, total)

    def expect(self, sizes: Mapping[str, int]) -> None:
        """Take in what the image consists of: the size of each blob, manifests included."""
        self._sizes = dict(sizes)

    def uncertain(self, complete: Container[str], offsets: Mapping[str, int]) -> list[str]:
        """Name the blobs of which it has to be asked whether they are complete.

        containerd does not put under a lease what it need not fetch: a layer that was there
        before, or came by another pull. So each blob is asked for once, and again when it has
        ceased to be under way.
        """
        asked = [
            digest
            for digest in self._sizes
            if not (digest in complete or digest in offsets or digest in self._absent)
            and self._done.get(digest) != self._sizes[digest]
        ]
        self._absent = (self._absent | set(asked)) - offsets.keys()
        return asked

    def see(self, complete: Iterable[str], offsets: Mapping[str, int]) -> None:
        """Take in which blobs are complete, and how far others are."""
        for digest in complete:
            self._see(digest, self._sizes.get(digest, 0))
        for digest, offset in offsets.items():
            self._see(digest, offset)

    def _see(self, digest: str, count: int) -> None:
        if digest in self._sizes:
            seen = max(count, self._done.get(digest, 0))
            self._done[digest] = min(seen, self._sizes[digest])


class Downloads:
    """Watches any number of pulls; the content store is asked once a second for all of them.

    ``interval`` is that second.
    """

    def __init__(self, store: ContentStore, interval: float) -> None:
        self._store = store
        self._interval = interval
        self._offsets: dict[str, int] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def watch(self, download: Download, lease: str, on_bytes: OnBytes) -> NoReturn:
        """Report how far the pull under a lease is, until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self._look(download, lease)
            except (CallFailed, RuntimeAway) as error:
                # Blobs and leases come and go, and what is really wrong the pull says itself.
                _log.debug("bytes not seen this time: %s", error)
            if download.is_known:
                on_bytes(download.bytes)

    async def _look(self, download: Download, lease: str) -> None:
        offsets = await self._current_offsets()
        resources = await self._store.resources(lease)
        complete = {resource.id for resource in resources if resource.type == CONTENT}
        if not download.is_known:
            download.expect(await self._sizes_of_image(complete))
        for digest in download.uncertain(complete, offsets):
            if await self._is_complete(digest):
                complete.add(digest)
        download.see(complete, offsets)

    async def _is_complete(self, digest: str) -> bool:
        try:
            await self._store.blob(digest)
        except CallFailed as error:
            if error.code != NOT_FOUND:
                raise
            return False
        return True

    async def _current_offsets(self) -> dict[str, int]:
        """Ask, or let all who come within an interval share one answer."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now - self._asked_at >= self._interval:
                self._offsets = await self._store.offsets()
                self._asked_at = now
        return self._offsets

    async def _sizes_of_image(self, digests: Iterable[str]) -> dict[str, int]:
        """Find an image's manifest among blobs and sum up; empty while it is not among them."""
        blobs = [await self._store.blob(digest) for digest in digests]
        manifests = [blob for blob in blobs if _OF_MANIFEST in blob.labels]
        sizes: dict[str, int] = {}
        for manifest in manifests:
            sizes |= _sizes_in(await self._store.read(manifest.digest))
        indexes = [blob for blob in blobs if _is_index(blob)]
        if sizes:
            sizes |= {blob.digest: blob.size for blob in (*indexes, *manifests)}
        return sizes


def _is_index(blob: Blob) -> bool:
    return any(label.startswith(_OF_INDEX) for label in blob.labels)


def _sizes_in(manifest: bytes) -> dict[str, int]:
    """Read what a manifest names; nothing where it is not readable, which the pull will say."""
    try:
        content = msgspec.json.decode(manifest, type=_Manifest)
    except NOT_DECODABLE:
        return {}
    return {blob.digest: blob.size for blob in (content.config, *content.layers)}
