"""Drivers under test, each with the images that it can pull, behind one small surface."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest
from aiohttp import web

from agent.runtime.protocol import Bytes, Credentials, PresentImage, PullFailed, Runtime
from sandbox.answers import Hit
from sandbox.containerd import Containerd
from sandbox.faults import Kind
from sandbox.images import Image, make_image
from sandbox.registry import Registry
from tests.fixtures.patience import PATIENCE

MIB = 1 << 20
PROGRESS_SECONDS = 0.02


@dataclass
class Pull:
    """One caller of ``pull``; keeps what it is told."""

    runtime: Runtime
    reference: str
    key: str = "task-1/image-1"
    seen: list[Bytes] = field(default_factory=list)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, credentials: Credentials | None = None) -> PresentImage:
        """Pull the image to the end."""
        return await self.runtime.pull(
            self.reference,
            credentials,
            resume_key=self.key,
            keep_seconds=60,
            on_bytes=self._on_bytes,
        )

    async def failure(self, credentials: Credentials | None = None) -> PullFailed:
        """Pull the image, which must fail."""
        with pytest.raises(PullFailed) as failed:
            await self.run(credentials)
        return failed.value

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on what was seen holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await self._moved.wait()
                self._moved.clear()

    def _on_bytes(self, value: Bytes) -> None:
        self.seen.append(value)
        self._moved.set()


class Node(Protocol):
    """A driver and the images that it can pull."""

    @property
    def runtime(self) -> Runtime:
        """The driver."""

    def image(self) -> str:
        """Name a new image."""

    def missing(self) -> str:
        """Name an image that no registry has."""

    def hold(self, reference: str) -> None:
        """Let pulls of an image bring some bytes, and no more until ``let_go``."""

    def let_go(self, reference: str) -> None:
        """Let them go on."""

    async def under_way(self, pull: Pull) -> None:
        """Wait until a pull that is held has brought some bytes."""

    async def hung_up(self) -> None:
        """Wait until nothing is being sent to anybody."""


async def interrupt(node: Node, pull: Pull) -> None:
    """Cancel a pull that has brought something and is held: it ends, and so do its bytes."""
    node.hold(pull.reference)
    task = asyncio.create_task(pull.run())
    try:
        await node.under_way(pull)
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE)
    assert task.cancelled()
    await node.hung_up()
    node.let_go(pull.reference)


@dataclass
class SimulatedNode:
    """The fake."""

    runtime: Runtime
    held: Path
    """The file that holds pulls."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def image(self) -> str:
        """Name one; all take the same time."""
        return f"registry.example/app/{next(self._numbers)}:1"

    def missing(self) -> str:
        """Name one that fails by its name."""
        return "registry.example/fails/image-not-found:1"

    def hold(self, reference: str) -> None:
        """Hold all that begin from now on."""
        del reference
        self.held.touch()

    def let_go(self, reference: str) -> None:
        """Let all go on."""
        del reference
        self.held.unlink()

    async def under_way(self, pull: Pull) -> None:
        """Wait for a report."""
        await pull.until(lambda: bool(pull.seen))

    async def hung_up(self) -> None:
        """Nobody sends anything."""


@dataclass
class RealNode:
    """A driver, a containerd and a registry."""

    connect: Callable[[Containerd], Runtime]
    """Makes the driver; it may be pointed at another containerd, too."""
    containerd: Containerd
    registry: Registry
    runtime: Runtime = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.runtime = self.connect(self.containerd)

    def image(self) -> str:
        """Put three layers of two MiB each into the registry."""
        return self.put(make_image(2 * MIB, 2 * MIB, 2 * MIB, seed=next(self._numbers)))

    def put(self, image: Image) -> str:
        """Put an image into a repository of its own."""
        return self.registry.put(f"app/{next(self._numbers)}", "1", image)

    def refuse_last(self, image: Image) -> None:
        """Refuse the last layer of an image, and not before everything else of it is here."""
        *others, last = (blob.digest for blob in image.blobs)
        content = self.containerd.root / "io.containerd.content.v1.content/blobs/sha256"

        async def wait(_request: web.Request, _hit: Hit) -> None:
            while not all((content / digest.partition(":")[2]).exists() for digest in others):
                await asyncio.sleep(0.01)

        faults = self.registry.faults(last)
        faults.instead = wait
        faults.refuse(Kind.BLOB, 503)

    def missing(self) -> str:
        """Name a repository that is not there."""
        return f"{self.registry.host}/missing:1"

    def hold(self, reference: str) -> None:
        """Hold the last quarter of each layer back, and whatever a resumed pull asks for."""
        repository = repository_of(reference)
        after = 0 if self.registry.sent(repository) else 3 * MIB // 2
        self.registry.faults(repository).stall(after=after)

    def let_go(self, reference: str) -> None:
        """Send the rest."""
        self.registry.faults(repository_of(reference)).heal()

    async def under_way(self, pull: Pull) -> None:
        """Wait until the registry has sent what it does not hold, and the pull has noticed."""
        repository = repository_of(pull.reference)
        await self.registry.until(lambda: self.registry.sent(repository) >= 3 * 3 * MIB // 2)
        if self.runtime.sees_bytes:
            await pull.until(lambda: bool(pull.seen))

    async def hung_up(self) -> None:
        """Wait until the registry answers nobody."""
        await self.registry.until(lambda: not self.registry.busy)

    async def written(self, size: int) -> None:
        """Wait until so many bytes of unfinished layers are on containerd's disk."""
        content = self.containerd.root / "io.containerd.content.v1.content"
        async with asyncio.timeout(PATIENCE):
            while sum(map(_size, content.glob("ingest/*/data"))) < size:
                await asyncio.sleep(0.01)

    async def until_collected(self) -> None:
        """Wait until nothing is left in the content store, neither half nor whole."""
        content = self.containerd.root / "io.containerd.content.v1.content"
        async with asyncio.timeout(PATIENCE):
            while [*content.glob("ingest/*"), *content.glob("blobs/*/*")]:
                await asyncio.sleep(0.01)


def _size(file: Path) -> int:
    """Of a file that may be moved away, as a manifest that is whole is."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def repository_of(reference: str) -> str:
    """Cut the registry and the tag off."""
    return reference.partition("/")[2].rpartition(":")[0]
