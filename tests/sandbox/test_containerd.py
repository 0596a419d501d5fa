from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.exceptions import GRPCError

from agent.runtime.proto.cri_pb2 import ImageSpec, PullImageRequest, PullImageResponse
from sandbox.certificates import self_signed
from sandbox.containerd import Containerd, ContainerdError
from sandbox.images import make_image
from sandbox.registry import Registry
from sandbox.versions import Binary

if TYPE_CHECKING:
    from tests.fixtures.containerd import ContainerdFactory

pytestmark = pytest.mark.containerd


async def pull(containerd: Containerd, reference: str) -> str | None:
    """Pull as a kubelet does: the error's text, None if there is none."""
    channel = Channel(path=str(containerd.socket))
    call = UnaryUnaryMethod(
        channel, "/runtime.v1.ImageService/PullImage", PullImageRequest, PullImageResponse
    )
    try:
        await call(PullImageRequest(image=ImageSpec(image=reference)))
    except GRPCError as error:
        return error.message
    finally:
        channel.close()
    return None


async def images(containerd: Containerd) -> str:
    """List what is there with containerd's own client."""
    process = await asyncio.create_subprocess_exec(
        containerd.binary.ctr,
        *("--address", containerd.socket, "--namespace", "k8s.io", "images", "list", "--quiet"),
        stdout=asyncio.subprocess.PIPE,
    )
    listed, _ = await process.communicate()
    assert process.returncode == 0
    return listed.decode()


async def test_pull(containerd: Containerd, registry: Registry) -> None:
    """An image of the sandbox is pulled from its registry, whole and once."""
    image = make_image(100_000, 300_000)
    reference = registry.put("app", "1", image)
    assert await pull(containerd, reference) is None
    assert registry.sent() == image.size
    assert reference in await images(containerd)


async def test_survives_kill(containerd: Containerd, registry: Registry) -> None:
    """What was pulled is there again after SIGKILL and a start, and after a restart."""
    reference = registry.put("app", "1", make_image())
    await pull(containerd, reference)
    await containerd.kill()
    assert containerd.pid is None
    await containerd.start()
    assert reference in await images(containerd)
    await containerd.restart()
    assert reference in await images(containerd)


async def test_pause(containerd: Containerd) -> None:
    """A paused containerd takes a call and answers it when it is resumed."""
    containerd.pause()
    asking = asyncio.create_task(images(containerd))
    done, _ = await asyncio.wait([asking], timeout=0.2)
    assert not done
    containerd.resume()
    await asking


async def test_small_disk(containerd_factory: ContainerdFactory, registry: Registry) -> None:
    """An image that fits is pulled, one that does not fails for want of space."""
    containerd = await containerd_factory(disk=8 << 20)
    assert shutil.disk_usage(containerd.root).total == 8 << 20
    small, big = (make_image(size) for size in (1 << 20, 9 << 20))
    assert await pull(containerd, registry.put("small", "1", small)) is None
    said = await pull(containerd, registry.put("big", "1", big))
    assert os.strerror(errno.ENOSPC).lower() in (said or "")


async def test_route(containerd: Containerd, registry: Registry) -> None:
    """A name that no DNS knows is pulled from where it is routed."""
    registry.put("app", "1", make_image())
    containerd.route("registry.test:5000", registry.url)
    assert await pull(containerd, "registry.test:5000/app:1") is None
    assert {hit.status for hit in registry.hits} == {200}


async def test_route_with_tls(containerd: Containerd, tmp_path: Path) -> None:
    """A certificate that nobody signed is trusted where a route says so, and only there."""
    made = self_signed(tmp_path)
    async with Registry(tls=made.server_context()) as registry:
        registry.put("app", "1", make_image())
        containerd.route("trusted.test", registry.url, ca=made.certificate)
        containerd.route("other.test", registry.url)
        assert await pull(containerd, "trusted.test/app:1") is None
        assert "x509" in (await pull(containerd, "other.test/app:1") or "")


async def test_bytes_stop(containerd: Containerd, registry: Registry) -> None:
    """A pull that is cancelled leaves the registry idle."""
    image = make_image(8 << 20)
    registry.throttle(8 << 20)
    pulling = asyncio.create_task(pull(containerd, registry.put("app", "1", image)))
    await registry.until(lambda: registry.sent() > 0)
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    await registry.until(lambda: not registry.busy)
    assert registry.sent() < image.size


async def test_cri_settings(containerd_factory: ContainerdFactory) -> None:
    """Settings of the CRI plugin arrive."""
    containerd = await containerd_factory(cri={"max_container_log_line_size": 12345})
    process = await asyncio.create_subprocess_exec(
        containerd.binary.path,
        *("--config", containerd.folder / "config.toml", "config", "dump"),
        stdout=asyncio.subprocess.PIPE,
    )
    dump, _ = await process.communicate()
    assert b"max_container_log_line_size = 12345" in dump


def leftovers(containerd: Containerd, pid: int | None) -> list[str]:
    """Tell what there still is of a containerd."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    left = [path for path in (containerd.folder, Path(f"/proc/{pid}")) if path.exists()]
    return [*map(str, left), *(line for line in mounts if str(containerd.folder) in line)]


async def test_stop_leaves_nothing(containerd_factory: ContainerdFactory) -> None:
    """Stopping removes process, mounts and folder, whatever was going on; twice is once."""
    containerd = await containerd_factory(disk=8 << 20)
    pid = containerd.pid
    assert len(leftovers(containerd, pid)) == 3
    containerd.pause()
    await containerd.stop()
    await containerd.stop()
    assert leftovers(containerd, pid) == []


async def test_does_not_start(tmp_path: Path) -> None:
    """A program that ends at once is told of with what it wrote, and leaves nothing."""
    (broken := tmp_path / "containerd").write_text("#!/bin/sh\necho no such luck; exit 3\n")
    broken.chmod(0o755)
    containerd = Containerd(Binary(broken, "0.0.0"))
    with pytest.raises(ContainerdError, match=r"\(3\): no such luck"):
        await containerd.__aenter__()
    assert leftovers(containerd, containerd.pid) == []


def test_socket_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder too deep for a socket is refused, and not left there."""
    (deep := tmp_path / ("x" * 100)).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(ValueError, match="too long"):
        Containerd(Binary(tmp_path / "containerd", "0.0.0"))
    assert list(deep.iterdir()) == []
