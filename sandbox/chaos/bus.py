"""Three nats-servers as one cluster, each a process with a store of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp

from sandbox.child import Child
from sandbox.ports import free_port

PROGRAM = Path(sysconfig.get_path("scripts")) / "nats-server"
STORE_BYTES = 256 * 1024 * 1024
"""Of each server's store; of the one with a small disk, which is as large, too."""
LOOK_SECONDS = 0.1


class BusServer:
    """One nats-server of the cluster."""

    def __init__(self, name: str, folder: Path, token: str) -> None:
        self.name = name
        self.port = free_port()
        self.cluster_port = free_port()
        self._monitor_port = free_port()
        self._token = token
        self._folder = folder / name
        self.store = self._folder / "store"
        self.store.mkdir(parents=True)
        self._config = self._folder / "nats-server.conf"
        self.child = Child([PROGRAM, "-c", self._config], self._folder / "log")

    def configure(self, all_servers: Sequence[BusServer]) -> None:
        """Say who the others are."""
        routes = [f"nats://127.0.0.1:{each.cluster_port}" for each in all_servers]
        settings = {
            "server_name": self.name,
            "listen": f"127.0.0.1:{self.port}",
            "http": f"127.0.0.1:{self._monitor_port}",
            "authorization": {"token": self._token},
            "jetstream": {
                "store_dir": str(self.store),
                "sync_interval": "always",
                "max_file_store": STORE_BYTES,
            },
            "cluster": {
                "name": "chaos",
                "listen": f"127.0.0.1:{self.cluster_port}",
                "routes": routes,
                "no_advertise": True,
            },
        }
        self._config.write_text(json.dumps(settings))

    async def is_healthy(self) -> bool:
        """Whether it says so itself, its part of every stream included."""
        url = f"http://127.0.0.1:{self._monitor_port}/healthz"
        timeout = aiohttp.ClientTimeout(total=2.0)
        with suppress(OSError, aiohttp.ClientError, TimeoutError):
            async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as answer:
                return answer.status == 200  # noqa: PLR2004 -- HTTP's word for yes
        return False

    async def healthy(self, within: float) -> bool:
        """Wait until it is; False where it is not by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not await self.is_healthy():
                    await asyncio.sleep(LOOK_SECONDS)
                return True
        return False

    async def restart(self) -> None:
        """SIGKILL, and start again."""
        await self.child.kill()
        self.child.start()

    # ── a disk that can be full ──

    def mount_small_disk(self) -> None:
        """Put the store on a file system of its own, as large as the store. Needs root."""
        size = f"size={STORE_BYTES}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "ips", self.store], check=True)

    def unmount(self) -> None:
        """Undo that."""
        subprocess.run(["umount", "--lazy", self.store], check=False)

    def fill_disk(self) -> None:
        """Leave no byte of it."""
        with suppress(OSError), self._filler.open("wb") as filler:
            while True:
                filler.write(bytes(1024 * 1024))
                filler.flush()

    def empty_disk(self) -> None:
        """Undo that."""
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.store / "filler"
