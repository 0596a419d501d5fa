from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.containerd import Containerd, ContainerdError
from sandbox.images import make_image
from sandbox.versions import Binary

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from sandbox.registry import Registry
    from tests.fixtures.containerd import ContainerdFactory

pytestmark = pytest.mark.containerd


async def start_ctr(containerd: Containerd, *arguments: str | Path) -> Process:
    """Start containerd's own client in the namespace of Kubernetes."""
    return await asyncio.create_subprocess_exec(
        containerd.binary.ctr,
        *("--address", containerd.socket, "--namespace", "k8s.io"),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def ctr(containerd: Containerd, *arguments: str | Path) -> tuple[int | None, str]:
    """Run containerd's own client: its exit code and all that it says."""
    process = await start_ctr(containerd, *arguments)
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def pull(containerd: Containerd, reference: str) -> tuple[int | None, str]:
    """Pull as the hosts.toml files say, or else over plain http."""
    hosts = ("--hosts-dir", containerd.hosts) if containerd.hosts.exists() else ("--plain-http",)
    return await ctr(containerd, "images", "pull", *hosts, reference)


async def test_pull(containerd: Containerd, registry: Registry) -> None:
    """An image of the sandbox is pulled from its registry, whole and once."""
    image = make_image(100_000, 300_000)
    reference = registry.put("app", "1", image)
    code, said = await pull(containerd, reference)
    assert code == 0, said
    assert registry.sent() == image.size
    assert reference in (await ctr(containerd, "images", "list", "--quiet"))[1]


async def test_survives_kill(containerd: Containerd, registry: Registry) -> None:
    """What was pulled is there again after SIGKILL and a start, and after a restart."""
    reference = registry.put("app", "1", make_image())
    await pull(containerd, reference)
    await containerd.kill()
    assert containerd.pid is None
    await containerd.start()
    assert reference in (await ctr(containerd, "images", "list", "--quiet"))[1]
    await containerd.restart()
    assert reference in (await ctr(containerd, "images", "list", "--quiet"))[1]


async def test_pause(containerd: Containerd) -> None:
    """A paused containerd takes a call and answers it when it is resumed."""
    containerd.pause()
    asking = asyncio.create_task(ctr(containerd, "images", "list", "--quiet"))
    done, _ = await asyncio.wait([asking], timeout=0.2)
    assert not done
    containerd.resume()
    assert (await asking)[0] == 0


async def test_small_disk(containerd_factory: ContainerdFactory, registry: Registry) -> None:
    """An image that fits is pulled, one that does not fails for want of space."""
    containerd = await containerd_factory(disk=8 << 20)
    assert shutil.disk_usage(containerd.root).total == 8 << 20
    code, said = await pull(containerd, registry.put("small", "1", make_image(1 << 20)))
    assert code == 0, said
    code, said = await pull(containerd, registry.put("big", "1", make_image(9 << 20)))
    assert code != 0
    assert os.strerror(errno.ENOSPC).lower() in said


async def test_route(containerd: Containerd, registry: Registry) -> None:
    """A name that no DNS knows is pulled from where it is routed."""
    registry.put("app", "1", make_image())
    containerd.route("registry.test:5000", registry.url)
    code, said = await pull(containerd, "registry.test:5000/app:1")
    assert code == 0, said
    assert {hit.status for hit in registry.hits} == {200}


async def test_bytes_stop(containerd: Containerd, registry: Registry) -> None:
    """A client that dies in the middle of a pull leaves the registry idle."""
    image = make_image(8 << 20)
    registry.throttle(8 << 20)
    client = await start_ctr(
        containerd, "images", "pull", "--plain-http", registry.put("app", "1", image)
    )
    await registry.until(lambda: registry.sent() > 0)
    client.kill()
    await client.communicate()
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
