"""What a fleet is measured on: a nats-server of its own, who works on it, and the nodes.

Everything is a process of its own, so that each has its own CPU time and memory. NATS is set up as
the coordinator sets up its own, but for identities: everybody shows the same token (what joining
costs is measured by itself, ``bench/callout.py``).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sysconfig
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.figures import cpu_of
from bench.quick_nodes import Wanted
from sandbox.child import Child
from sandbox.ports import LOOPBACK, free_port
from sandbox.programs import Coordinator, Program

NATS_SERVER = Path(sysconfig.get_path("scripts")) / "nats-server"
START_SECONDS = 600.0
"""On a machine with twenty other programs a start takes minutes."""


class MeasuredNats:
    """A nats-server that counts its messages."""

    def __init__(self, folder: Path) -> None:
        self.token = secrets.token_hex(16)
        self.url = f"nats://{LOOPBACK}:{free_port()}"
        self._monitor = f"{LOOPBACK}:{free_port()}"
        config = folder / "nats-server.conf"
        config.write_text(
            json.dumps(
                {
                    "listen": self.url.removeprefix("nats://"),
                    "http": self._monitor,
                    "authorization": {"token": self.token, "timeout": 60},
                    "max_connections": 100_000,
                    "jetstream": {
                        "store_dir": str(folder / "store"),
                        "sync_interval": "always",
                        "max_file_store": 1 << 50,
                    },
                }
            )
        )
        self.child = Child([NATS_SERVER, "-c", config], folder / "nats-server.log")

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self.child.start()
        async with asyncio.timeout(START_SECONDS):
            while True:
                with suppress(aiohttp.ClientError):
                    await self._ask("healthz")
                    return
                await asyncio.sleep(0.05)

    async def _ask(self, what: str) -> dict[str, int]:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{self._monitor}/{what}", raise_for_status=True) as answer,
        ):
            found: dict[str, int] = await answer.json()
            return found

    async def messages(self) -> int:
        """How many messages it has taken and given by now."""
        found = await self._ask("varz")
        return found["in_msgs"] + found["out_msgs"]

    def access(self) -> dict[str, str]:
        """How a coordinator or an agent is told of it."""
        return {"IPS_NATS_URL": self.url, "IPS_NATS_TOKEN": self.token}


@dataclass(frozen=True)
class Spent:
    """CPU seconds by process, and messages, since the start; or between two moments."""

    cpu: Mapping[str, float]
    messages: int

    def since(self, before: Spent) -> Spent:
        """What has been spent between two moments."""
        cpu = {name: seconds - before.cpu[name] for name, seconds in self.cpu.items()}
        return Spent(cpu, self.messages - before.messages)


class Stack:
    """A nats-server, coordinators or bare ones, and nodes; to be ended in one go."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.nats = MeasuredNats(folder)
        self.coordinators: list[Coordinator] = []
        self._children: dict[str, Child] = {"nats-server": self.nats.child}

    async def start_coordinators(
        self, count: int, settings: Mapping[str, str] | None = None
    ) -> None:
        """Start some; the first one leads."""
        for number in range(count):
            own = {**self.nats.access(), "IPS_LOG_LEVEL": "warning", **(settings or {})}
            name = "leader" if not number else f"follower{number if count > 2 else ''}"
            coordinator = Coordinator(self._folder, own, name=name)
            coordinator.start()
            self._children[name] = coordinator
            self.coordinators.append(coordinator)
            await coordinator.ready(within=START_SECONDS)

    async def start_bare(self, count: int) -> None:
        """Start as many that do not think."""
        for number in range(count):
            role = "follower" if number else "leader"
            own = {
                "BENCH_URL": self.nats.url,
                "BENCH_TOKEN": self.nats.token,
                "BENCH_ROLE": role,
            }
            await self._start("bench.bare", role, own)
            await self._said(role, "ready")

    async def start_nodes(self, nodes: int, connections: int) -> None:
        """Start nodes that are done at once; they announce themselves some seconds later."""
        wanted = Wanted(
            url=self.nats.url, token=self.nats.token, nodes=nodes, connections=connections
        )
        await self._start("bench.quick_nodes", "nodes", wanted.settings())

    async def start_agents(self, names: Sequence[str]) -> None:
        """Start real agents in one process, whose pulls take no time."""
        own = {**self.nats.access(), "BENCH_NODES": str(len(names))}
        await self._start("bench.agents", "nodes", own, list(names))

    async def start_watchers(self, port: int, count: int) -> None:
        """Start so many SSE clients of a coordinator, and wait until all are connected."""
        await self._start("bench.watchers", "watchers", {}, [str(port), str(count)])
        await self._said("watchers", "watching")

    async def _said(self, name: str, word: str) -> None:
        async with asyncio.timeout(START_SECONDS):
            while word not in self.log(name):
                self.pid(name)
                await asyncio.sleep(0.05)

    async def _start(
        self, module: str, name: str, settings: Mapping[str, str], words: Sequence[str] = ()
    ) -> None:
        program = Program(module, name, self._folder, settings, words=words)
        program.start()
        self._children[name] = program

    async def while_alive(self, name: str, *works: Coroutine[Any, Any, None]) -> None:
        """Do something for as long as a process runs. Raises ProcessLookupError when it ends."""
        working = asyncio.ensure_future(asyncio.gather(*works))
        try:
            while not (await asyncio.wait([working], timeout=1.0))[0]:
                self.pid(name)
            await working
        finally:
            working.cancel()

    async def spent(self) -> Spent:
        """What everybody has used by now."""
        cpu = {name: cpu_of(self.pid(name)) for name in self._children}
        return Spent(cpu, await self.nats.messages())

    def pid(self, name: str) -> int:
        """A process's id. Raises ProcessLookupError for one that has ended."""
        child = self._children[name]
        if child.pid is None:
            raise ProcessLookupError(f"{name} has ended: {child.log[-2000:]}")
        return child.pid

    @property
    def names(self) -> list[str]:
        """All that runs."""
        return list(self._children)

    def log(self, name: str) -> str:
        """What one of them has said."""
        return self._children[name].log

    async def stop(self) -> None:
        """End everything, the server last."""
        for child in reversed(self._children.values()):
            if child.pid is not None:
                await child.kill()
