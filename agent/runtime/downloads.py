"""How far pulls are, from containerd's content store: it says so of every blob, CRI of nothing.

A pull's lease names the blobs and snapshots that it has touched. The manifest among them says what
the image consists of; what of that is here or under way, wherever it came from, adds up to the
bytes, and says what the pull waits for.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NoReturn, Protocol

from agent.runtime.containerd import CONTENT, INGESTS, NOT_FOUND, SNAPSHOTS
from agent.runtime.endpoint import CallFailed
from agent.runtime.image_parts import DOCUMENT_LIMIT, read_chain, read_manifest
from agent.runtime.protocol import Bytes, RuntimeAway
from agent.runtime.slots import Slots
from common.messages import PullPhase

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping, Sequence

    from agent.runtime.containerd import Blob, Ingest, Resource
    from agent.runtime.image_parts import ImageParts
    from agent.runtime.protocol import OnBytes

_MANIFEST_SECONDS = 1.0

_log = logging.getLogger(__name__)


class ContentStore(Protocol):
    """What is asked of a containerd; see ``containerd.Containerd``."""

    async def ingests(self) -> list[Ingest]:
        """List the unfinished blobs of the whole node."""

    async def resources(self, lease: str) -> list[Resource]:
        """List what a lease keeps."""

    async def blob(self, digest: str) -> Blob:
        """Look a complete blob up."""

    async def read(self, digest: str) -> bytes:
        """Read a complete blob."""


class IdleLeases(Protocol):
    """Knows what is half pulled and not being pulled."""

    async def idle_ingests(self, running: Container[str]) -> set[str]:
        """Name the downloads that only our own leases keep, those that run excepted."""


class Download:
    """The bytes of one pull; they never fall, although a blob may have to begin anew."""

    def __init__(self) -> None:
        self._parts: ImageParts | None = None
        self._chain: tuple[str, ...] | None = None
        self._done: dict[str, int] = {}
        self._absent: set[str] = set()

    @property
    def is_known(self) -> bool:
        """Whether it is known what the image consists of."""
        return self._parts is not None

    @property
    def config(self) -> str | None:
        """The config, where it is worth reading: it is here and has not been read yet."""
        if self._parts is None or self._chain is not None:
            return None
        config = self._parts.config
        is_here = self._done.get(config) == self._sizes[config]
        return config if is_here and self._sizes[config] <= DOCUMENT_LIMIT else None

    @property
    def done(self) -> int:
        """Bytes that are here."""
        return sum(self._done.values())

    @property
    def total(self) -> int | None:
        """Bytes of the whole image; None where they are not known."""
        return None if self._parts is None else self._parts.total

    @property
    def all_bytes(self) -> Bytes | None:
        """How far it is once it is over; None where the image's size is not known."""
        return None if self.total is None else Bytes(self.total, self.total, PullPhase.UNPACKING)

    @property
    def lacks(self) -> bool:
        """Whether a part has still to come."""
        return any(self._done.get(digest) != size for digest, size in self._sizes.items())

    @property
    def _sizes(self) -> Mapping[str, int]:
        return {} if self._parts is None else self._parts.sizes

    def expect(self, parts: ImageParts) -> None:
        """Take in what the image consists of."""
        self._parts = parts

    def expect_chain(self, chain: Sequence[str]) -> None:
        """Take in the chain ids of its layers, lowest first."""
        self._chain = tuple(chain)

    def is_part(self, digest: str) -> bool:
        """Whether a blob belongs to the image."""
        return digest in self._sizes

    def uncertain(self, complete: Container[str], under_way: Container[str]) -> list[str]:
        """Name the blobs of which it has to be asked whether they are complete.

        containerd does not put under a lease what it need not fetch: a layer that was there
        before, or came by another pull. So each blob is asked for once, and again when it has
        ceased to be under way.
        """
        asked = [
            digest
            for digest, size in self._sizes.items()
            if not (digest in complete or digest in under_way or digest in self._absent)
            and self._done.get(digest) != size
        ]
        self._absent |= set(asked)
        self._absent = {digest for digest in self._absent if digest not in under_way}
        return asked

    def see(self, complete: Iterable[str], offsets: Mapping[str, int]) -> None:
        """Take in which blobs are complete, and how far others are."""
        for digest in complete:
            self._see(digest, self._sizes.get(digest, 0))
        for digest, offset in offsets.items():
            self._see(digest, offset)

    def see_snapshots(self, names: Iterable[str]) -> None:
        """Take in which layers the pull has unpacked, or is about to.

        What is below one of them was unpacked before. Its blob need not come, and may have been
        dropped by then (``discard_unpacked_layers``).
        """
        if self._parts is None or not self._chain:
            return
        place = {chain_id: index for index, chain_id in enumerate(self._chain)}
        unpacked = 0
        for name in names:
            purpose, _, chain_id = name.rpartition(" ")
            if chain_id in place:
                unpacked = max(unpacked, place[chain_id] + (0 if purpose else 1))
        self.see(self._parts.layers[:unpacked], {})

    def _see(self, digest: str, count: int) -> None:
        if digest in self._sizes:
            seen = max(count, self._done.get(digest, 0))
            self._done[digest] = min(seen, self._sizes[digest])


class Downloads:
    """Watches any number of pulls; the content store is asked once a second for all of them.

    ``interval`` is that second.
    """

    def __init__(self, store: ContentStore, idle: IdleLeases, interval: float) -> None:
        self._store = store
        self._idle = idle
        self._interval = interval
        self._ingests: list[Ingest] = []
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self.slots = Slots()
        """Who has the places in which the runtime downloads."""

    async def watch(self, download: Download, lease: str, on_bytes: OnBytes) -> NoReturn:
        """Report how far the pull under a lease is, until cancelled."""
        now = asyncio.get_running_loop().time
        began = now()
        with self.slots.turn(lease):
            while True:
                await asyncio.sleep(self._interval)
                try:
                    phase = await self._look(download, lease)
                except (CallFailed, RuntimeAway) as error:
                    # Blobs and leases come and go, and what is really wrong the pull says itself.
                    _log.debug("bytes not seen this time: %s", error)
                    continue
                # A manifest is here in no time; one that is not shall not stay unnoticed.
                if download.is_known or now() - began > _MANIFEST_SECONDS:
                    on_bytes(Bytes(download.done, download.total, phase))

    async def _look(self, download: Download, lease: str) -> PullPhase:
        ingests = await self._current_ingests()
        resources = await self._store.resources(lease)
        complete = {each.id for each in resources if each.type == CONTENT}
        offsets = {each.digest: each.offset for each in ingests}
        if not download.is_known and (parts := await self._parts_of_image(complete)):
            download.expect(parts)
        for digest in download.uncertain(complete, offsets):
            if await self._is_complete(digest):
                complete.add(digest)
        download.see(complete, offsets)
        if config := download.config:
            download.expect_chain(read_chain(await self._store.read(config)))
        download.see_snapshots(each.id for each in resources if each.type.startswith(SNAPSHOTS))
        named = {each.id for each in resources if each.type == INGESTS}
        under_way = [each for each in ingests if each.lacks_bytes]
        own = {each.name for each in under_way if _belongs(each, named, download)}
        if own and await self._is_open(lease, own, under_way):
            return PullPhase.DOWNLOADING
        if own or download.lacks or not download.is_known:
            return PullPhase.QUEUED
        return PullPhase.UNPACKING

    async def _is_open(self, lease: str, own: Collection[str], under_way: list[Ingest]) -> bool:
        """Whether the runtime really downloads one of a pull's blobs, not only means to."""
        self.slots.claim(lease, own)
        others = {each.name for each in under_way} - set(own)
        now = asyncio.get_running_loop().time()
        if self.slots.may_be_taken(lease, others, now):
            # What was interrupted is still listed, and nobody downloads it.
            others -= await self._idle.idle_ingests(self.slots.running)
        return self.slots.has_one(lease, others, now)

    async def _is_complete(self, digest: str) -> bool:
        try:
            await self._store.blob(digest)
        except CallFailed as error:
            if error.code != NOT_FOUND:
                raise
            return False
        return True

    async def _current_ingests(self) -> list[Ingest]:
        """Ask, or let all who come within an interval share one answer."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now - self._asked_at >= self._interval:
                self._ingests = await self._store.ingests()
                self._asked_at = now
                self.slots.see(self._ingests, now)
        return self._ingests

    async def _parts_of_image(self, digests: Iterable[str]) -> ImageParts | None:
        """Find an image's manifest among blobs; None while it is not among them.

        Only what this pull has touched is there: manifests of an earlier one were taken out of the
        lease, because a tag may have moved. More than one would be none.
        """
        blobs = [await self._store.blob(digest) for digest in digests]
        manifests = [blob for blob in blobs if blob.is_manifest]
        if len(manifests) != 1 or manifests[0].size > DOCUMENT_LIMIT:
            return None
        content = await self._store.read(manifests[0].digest)
        indexes = [blob for blob in blobs if blob.is_index]
        return read_manifest(content, {blob.digest: blob.size for blob in (*indexes, *manifests)})


def _belongs(ingest: Ingest, named: Container[str], download: Download) -> bool:
    """Whether a download is a pull's: opened under its lease, or by another for both.

    What else the lease names was left by an earlier pull, of what the tag named then perhaps.
    """
    if download.is_known:
        return download.is_part(ingest.digest)
    return ingest.name in named and ingest.name.startswith(("manifest-", "index-"))
