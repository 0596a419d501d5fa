"""One real containerd as a node has it, in a folder of its own, to be killed and paused at will.

It has its own process group and mount namespace and dies with its parent, so that no end of a test
leaves a process or an overlay behind. Needs root. Objects belong to no event loop.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError

from sandbox.child import Child
from sandbox.versions import Binary, find

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOCKET_PATH_LIMIT = 108  # sizeof(sockaddr_un.sun_path)
_START_SECONDS = 120.0
_PROBE_SECONDS = 0.01
_LIST_IMAGES = "/runtime.v1.ImageService/ListImages"
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "slave")

# The smallest configuration that works unchanged for 1.6, 1.7 and 2.x, which migrates it itself.
_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
# It would create /opt/containerd.
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/c.sock"
[ttrpc]
  address = "{folder}/c.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
{cri}
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{folder}/certs.d"
# Every instance would take the one socket in /var/run.
[plugins."io.containerd.nri.v1.nri"]
  disable = true
"""


class ContainerdError(Exception):
    """A containerd did not start; the text holds the end of its log."""


class Containerd:
    """A containerd of its own; ``async with`` starts it and in the end removes all of it.

    Without a ``binary`` it is PATH's (raises FileNotFoundError if there is none). ``cri`` are
    settings of its CRI plugin beyond the few needed. ``disk`` (bytes) puts what it stores on a file
    system that small.
    """

    def __init__(
        self,
        binary: Binary | None = None,
        *,
        cri: Mapping[str, str | int] | None = None,
        disk: int | None = None,
    ) -> None:
        self.binary = binary or find()
        self.folder = _make_folder()
        self.socket = self.folder / "c.sock"
        self.root = self.folder / "root"
        """Where content and snapshots are."""
        self.hosts = self.folder / "certs.d"
        """Where it looks at every pull for ``<registry>/hosts.toml``."""
        config = self.folder / "config.toml"
        cri_lines = "\n".join(
            f"  {key} = {json.dumps(value)}" for key, value in (cri or {}).items()
        )
        config.write_text(_CONFIG.format(folder=self.folder, cri=cri_lines))
        self._child = Child(
            [*_OWN_MOUNTS, self.binary.path, "--config", config], self.folder / "log"
        )
        self._disk = disk

    @property
    def pid(self) -> int | None:
        """Process id while it runs, paused or not."""
        return self._child.pid

    @property
    def log(self) -> str:
        """What it has written, over all its starts."""
        return self._child.log

    async def start(self) -> None:
        """Start it and wait until its CRI image service answers. Raises ContainerdError."""
        if self._disk is not None and not self.root.is_mount():
            self.root.mkdir()
            await _run("mount", "-t", "tmpfs", "-o", f"size={self._disk}", "ips", self.root)
        self._child.start()
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._ready()
        except TimeoutError:
            raise ContainerdError(f"does not answer: {self.log[-2000:]}") from None

    async def terminate(self) -> None:
        """End it with SIGTERM, as an upgrade does, and wait. What it stored stays."""
        await self._child.terminate()

    async def kill(self) -> None:
        """End it with SIGKILL and wait. What it stored stays."""
        await self._child.kill()

    async def restart(self) -> None:
        """End it with SIGTERM and start it again."""
        await self.terminate()
        await self.start()

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP): connections are accepted and never answered."""
        self._child.pause()

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._child.resume()

    async def stop(self) -> None:
        """End it and remove everything that it had. Does nothing the second time."""
        await self._child.kill()
        if self.root.is_mount():
            await _run("umount", self.root)
        if self.folder.exists():
            await asyncio.to_thread(shutil.rmtree, self.folder)

    def route(self, name: str, url: str, *, ca: Path | None = None) -> None:
        """Let references that begin with ``name`` be pulled from ``url`` from now on.

        ``ca`` is trusted for it. Every failing request is sent twice: to the server and to the
        host, which older lines want named both.
        """
        lines = [f"server = {json.dumps(url)}", f"[host.{json.dumps(url)}]"]
        lines.append('capabilities = ["pull", "resolve"]')
        if ca is not None:
            lines.append(f"ca = {json.dumps(str(ca))}")
        folder = self.hosts / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text("\n".join(lines))

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _ready(self) -> None:
        """Ask for its images until it tells: the socket is there before the CRI plugin is."""
        while True:
            if self.pid is None:
                raise ContainerdError(
                    f"ended at once ({self._child.exit_code}): {self.log[-2000:]}"
                )
            channel = Channel(path=str(self.socket), codec=_AsBytes())
            try:
                await UnaryUnaryMethod(channel, _LIST_IMAGES, bytes, bytes)(b"")
            except (OSError, GRPCError, StreamTerminatedError):
                await asyncio.sleep(_PROBE_SECONDS)
            else:
                return
            finally:
                channel.close()


class _AsBytes(CodecBase):
    """Messages as they travel: an empty one asks for everything, the answer is not looked at."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        del message_type
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        del message_type
        return data


def _make_folder() -> Path:
    """Make a folder for its files. Raises ValueError if a socket's path in it were too long."""
    longest = Path(tempfile.gettempdir(), "ips-12345678", "c.sock.ttrpc")
    if len(str(longest)) >= _SOCKET_PATH_LIMIT:
        raise ValueError(f"too long for the path of a socket: {longest}")
    return Path(tempfile.mkdtemp(prefix="ips-"))


async def _run(*command: str | Path) -> None:
    """Run mount(8) or umount(8). Raises CalledProcessError."""
    await asyncio.to_thread(subprocess.run, command, check=True)
