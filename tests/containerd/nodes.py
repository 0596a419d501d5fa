"""Drivers under test, each with the images that it can pull, behind one small surface."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from agent.runtime.protocol import Bytes, Credentials, PresentImage, PullFailed, Runtime
from sandbox.containerd import Containerd
from sandbox.images import Image, make_image
from sandbox.registry import Registry

MIB = 1 << 20
PROGRESS_SECONDS = 0.02
STOP_SECONDS = 1.0
_DEADLINE = 20.0


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
        async with asyncio.timeout(_DEADLINE):
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

    def image(self, *, slow: bool = False) -> str:
        """Name a new image; a slow one takes about a second."""

    def missing(self) -> str:
        """Name an image that no registry has."""

    async def under_way(self, pull: Pull) -> None:
        """Wait until a pull has brought some bytes, but not all."""


async def interrupt(node: Node, pull: Pull) -> None:
    """Begin a pull and cancel it when it has brought something; it ends within a second."""
    task = asyncio.create_task(pull.run())
    try:
        await node.under_way(pull)
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=STOP_SECONDS)
    assert task.cancelled()


@dataclass
class SimulatedNode:
    """The fake."""

    runtime: Runtime
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def image(self, *, slow: bool = False) -> str:
        """Name one; all take the same time."""
        del slow
        return f"registry.example/app/{next(self._numbers)}:1"

    def missing(self) -> str:
        """Name one that fails by its name."""
        return "registry.example/fails/image-not-found:1"

    async def under_way(self, pull: Pull) -> None:
        """Wait for the third report."""
        await pull.until(lambda: len(pull.seen) > 2)


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

    def image(self, *, slow: bool = False) -> str:
        """Put three layers of a MiB each into the registry; a slow one makes all slow."""
        if slow:
            self.registry.throttle(4 * MIB)
        return self.put(make_image(MIB, MIB, MIB, seed=next(self._numbers)))

    def put(self, image: Image) -> str:
        """Put an image into a repository of its own."""
        return self.registry.put(f"app/{next(self._numbers)}", "1", image)

    def missing(self) -> str:
        """Name a repository that is not there."""
        return f"{self.registry.host}/missing:1"

    async def under_way(self, pull: Pull) -> None:
        """Wait until the registry has sent the half of it, and the pull has noticed."""
        repository = repository_of(pull.reference)
        await self.registry.until(
            lambda: self.registry.sent(repository) > 1.5 * MIB, within=_DEADLINE
        )
        if self.runtime.sees_bytes:
            await pull.until(lambda: bool(pull.seen))

    async def until_collected(self) -> None:
        """Wait until nothing is left in the content store, neither half nor whole."""
        content = self.containerd.root / "io.containerd.content.v1.content"
        async with asyncio.timeout(_DEADLINE):
            while [*content.glob("ingest/*"), *content.glob("blobs/*/*")]:
                await asyncio.sleep(0.01)


def repository_of(reference: str) -> str:
    """Cut the registry and the tag off."""
    return reference.partition("/")[2].rpartition(":")[0]
