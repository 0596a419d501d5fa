"""The driver ``cri`` on a runtime that is no containerd, and on sockets that are no runtime."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpclib.server import Server

from agent.runtime.cri import CriRuntime
from agent.runtime.node import node_platform
from agent.runtime.proto import cri_pb2 as cri
from agent.runtime.protocol import (
    PresentImage,
    PullFailed,
    RemovalFailed,
    RuntimeAway,
    RuntimeFacts,
)
from common.reasons import Reason
from tests.containerd.bare_runtime import DIGEST, IMAGE, BareRuntime, EmptyRuntime
from tests.containerd.nodes import Pull
from tests.fixtures.patience import PATIENCE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a socket."""
    return tmp_path / "cri.sock"


@pytest.fixture
async def driver(path: Path) -> AsyncIterator[CriRuntime]:
    """Connect to the socket, where nobody need be yet."""
    driver = CriRuntime(f"unix://{path}", answer_seconds=PATIENCE)
    yield driver
    await driver.close()


@asynccontextmanager
async def serving(runtime: EmptyRuntime, path: Path) -> AsyncIterator[None]:
    """Listen on a socket."""
    server = Server([runtime])
    await server.start(path=str(path))
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def bare(path: Path) -> AsyncIterator[BareRuntime]:
    """Serve CRI and nothing else."""
    runtime = BareRuntime()
    async with serving(runtime, path):
        yield runtime


async def test_what_only_containerd_has_is_absent(driver: CriRuntime, bare: BareRuntime) -> None:
    """Its absence is to be seen, and no error."""
    assert await driver.facts() == RuntimeFacts("cri-o 1.30.0", node_platform())
    assert not driver.sees_bytes
    assert not driver.resumes
    pull = Pull(driver, IMAGE)
    assert await pull.run() == await driver.find(IMAGE) == PresentImage(DIGEST, 5)
    assert pull.seen == []
    assert "containerd-lease" not in (bare.pulls[0].metadata or {})
    await driver.forget("key")
    await driver.sweep(lambda _: False)


async def test_a_cancelled_pull_is_cancelled_there(driver: CriRuntime, bare: BareRuntime) -> None:
    """The runtime learns of it at once."""
    bare.held = asyncio.Event()
    task = asyncio.create_task(Pull(driver, IMAGE).run())
    await bare.pulling.wait()
    task.cancel()
    await asyncio.wait_for(bare.cancelled.wait(), PATIENCE)
    assert task.cancelled()


async def test_answers_of_16_mib(driver: CriRuntime, bare: BareRuntime) -> None:
    """As much as gRPC lets a runtime say at once."""
    bare.images.add(IMAGE)
    bare.padding = 16 * 1024 * 1024 - 1024
    assert await driver.find(IMAGE) == PresentImage(DIGEST, 5)


async def test_a_break_is_no_cancellation(driver: CriRuntime, bare: BareRuntime) -> None:
    """Grpclib wakes a call by cancelling its task; of that nothing may be left behind."""
    bare.held = asyncio.Event()

    async def fail() -> tuple[Reason, int]:
        failure = await Pull(driver, IMAGE).failure()
        task = asyncio.current_task()
        return failure.reason, task.cancelling() if task else -1

    task = asyncio.create_task(fail())
    await bare.pulling.wait()
    bare.sever()
    assert await task == (Reason.RUNTIME_UNAVAILABLE, 0)


async def test_a_cancellation_is_not_lost_in_a_break(driver: CriRuntime, bare: BareRuntime) -> None:
    """Whoever cancels at the moment when the connection breaks does not wait for ever."""
    bare.held = asyncio.Event()
    task = asyncio.create_task(Pull(driver, IMAGE).run())
    await bare.pulling.wait()
    await driver.close()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_after_a_break_the_next_call_connects_anew(
    driver: CriRuntime, bare: BareRuntime
) -> None:
    """Nobody waits for a back-off."""
    bare.held = asyncio.Event()
    task = asyncio.create_task(Pull(driver, IMAGE).failure())
    await bare.pulling.wait()
    bare.sever()
    await task
    bare.held = None
    assert await Pull(driver, IMAGE).run() == PresentImage(DIGEST, 5)


async def test_a_missing_socket(driver: CriRuntime, path: Path) -> None:
    """A runtime that is not there yet is waited for by others; here it is only said."""
    with pytest.raises(RuntimeAway, match=rf"^no container runtime at unix://{path}: No such file"):
        await driver.facts()
    with pytest.raises(RuntimeAway):
        await driver.sweep(lambda _: True)
    await driver.forget("key")


async def test_a_socket_that_refuses(driver: CriRuntime, path: Path) -> None:
    """As one that a killed runtime has left."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(RuntimeAway, match="Connection refused"):
        await driver.facts()


async def test_something_else_listens(driver: CriRuntime, path: Path) -> None:
    """What answers, but not in HTTP/2, is no runtime."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        with pytest.raises(RuntimeAway, match="the connection broke"):
            await driver.facts()


async def test_a_runtime_without_cri(driver: CriRuntime, path: Path) -> None:
    """Docker's containerd comes with its CRI plugin disabled: that is said in these words."""
    async with serving(EmptyRuntime(), path):
        with pytest.raises(RuntimeAway, match="is its cri plugin disabled"):
            await driver.facts()
        with pytest.raises(PullFailed) as failed:
            await driver.find(IMAGE)
    assert failed.value.reason is Reason.RUNTIME_UNAVAILABLE


@pytest.mark.parametrize("endpoint", ["", "/run/x.sock", "unix://run/x.sock", "tcp://1.2.3.4:1"])
def test_an_endpoint_must_be_one(endpoint: str) -> None:
    """Refused at the start, by name."""
    with pytest.raises(ValueError, match="unix:///path"):
        CriRuntime(endpoint)


async def test_what_containers_have_is_in_use(driver: CriRuntime, bare: BareRuntime) -> None:
    """By each name that a runtime tells; and the image of sandboxes, which 1.6 pins nowhere."""
    assert await driver.used_images() == frozenset()
    bare.containers = [
        cri.Container(image=cri.ImageSpec(image="sha256:1"), image_ref="r/a@sha256:2"),
        cri.Container(image_ref="sha256:3", image_id="sha256:4"),
    ]
    bare.config = '{"sandboxImage": "pause:3.6", "other": [1]}'
    assert await driver.used_images() == {
        *("sha256:1", "r/a@sha256:2", "sha256:3", "sha256:4"),
        *("pause:3.6", "docker.io/library/pause:3.6"),
    }
    bare.config = "{"
    assert "pause:3.6" not in await driver.used_images()


async def test_a_runtime_that_keeps_an_image_says_why(
    driver: CriRuntime, bare: BareRuntime
) -> None:
    """In its own words, without credentials."""
    bare.keeps = "in use by http://me:s3cret@r/"
    with pytest.raises(RemovalFailed, match="in use by") as failed:
        await driver.remove_image("sha256:1")
    assert "s3cret" not in str(failed.value)


async def test_a_runtime_that_cannot_tell_its_containers(driver: CriRuntime, path: Path) -> None:
    """Is asked for nothing."""
    async with serving(EmptyRuntime(), path):
        with pytest.raises(RuntimeAway):
            await driver.used_images()
