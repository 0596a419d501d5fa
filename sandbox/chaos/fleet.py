"""The cluster of real processes: three nats-servers, three coordinators, agents of two kinds.

Whatever speaks to NATS does so over a way of its own for each server, which can be cut. The agents
of a hundred nodes run many to a process, each with its own connection, spool and journal: a hundred
interpreters would take 4 GiB and most of two cores. The agents of the real containerds are programs
of their own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from sandbox.chaos.bus import LOOK_SECONDS, BusServer
from sandbox.chaos.deeds import Deed, deeds_in_log, read_deeds
from sandbox.chaos.proxy import Way
from sandbox.containerd import Containerd
from sandbox.images import make_image
from sandbox.programs import Agent, Coordinator, Program
from sandbox.registry import Registry

COORDINATORS = 3
SERVERS = 3
GROUPS = 5
PULL_SECONDS = 0.5
FAILURE_RATE = 0.05
IMAGES = 40
START_WITHIN = 900.0
"""Seconds until all serves: on a machine that has no time for it, NATS elects again and again."""
HEALTHY_WITHIN = 120.0
AGENT_WAIT_SECONDS = 15


@dataclass(frozen=True)
class Size:
    """How large the cluster is."""

    nodes: int
    """On simulated runtimes."""
    containerds: int


@dataclass
class Member:
    """A program of ours, and its ways to each server."""

    name: str
    program: Program
    ways: list[Way]


class Group(Program):
    """Agents of several nodes in one process."""

    def __init__(
        self, number: int, names: list[str], folder: Path, settings: dict[str, str]
    ) -> None:
        super().__init__("sandbox.chaos.agents", f"group-{number}", folder, settings)
        self.names = names
        self._command = [*self._command, *names]


class Fleet:
    """All of it; ``async with`` starts it and leaves nothing behind."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.folder = folder
        self.size = size
        self._token = secrets.token_hex(16)
        self.servers = [
            BusServer(f"nats-{number}", folder, self._token) for number in range(1, SERVERS + 1)
        ]
        self.has_small_disk = os.geteuid() == 0
        self.registry = Registry()
        self.images: list[str] = []
        """References that every runtime can pull."""
        self.coordinators: list[Member] = []
        self.groups: list[Member] = []
        self.real: list[Member] = []
        self.containerds: list[Containerd] = []
        self._stack = AsyncExitStack()

    # ── how it begins and ends ──

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        await self._stack.enter_async_context(self.registry)
        for number in range(IMAGES):
            image = make_image(64 * 1024, seed=f"chaos/{number}")
            self.images.append(self.registry.put(f"chaos/image-{number}", "1", image))
        await self._start_bus()
        for number in range(1, COORDINATORS + 1):
            self.coordinators.append(await self._coordinator(number))
        for member in self.coordinators:
            await self._ready(member)
        for number in range(1, GROUPS + 1):
            self.groups.append(await self._group(number))
        for number in range(1, self.size.containerds + 1):
            self.real.append(await self._real(number))

    async def _start_bus(self) -> None:
        if self.has_small_disk:
            self.servers[-1].mount_small_disk()
            self._stack.callback(self.servers[-1].unmount)
        for server in self.servers:
            server.configure(self.servers)
            self._stack.push_async_callback(server.child.kill)
            server.child.start()
        for server in self.servers:
            if not await server.healthy(START_WITHIN):
                raise RuntimeError(f"{server.name} is not healthy: {server.child.log[-2000:]}")

    async def _ways(self) -> tuple[list[Way], str]:
        ways = [Way(server.port) for server in self.servers]
        for way in ways:
            await way.start()
            self._stack.push_async_callback(way.close)
        return ways, ",".join(f"nats://127.0.0.1:{way.port}" for way in ways)

    async def _coordinator(self, number: int) -> Member:
        ways, url = await self._ways()
        settings = {
            "IPS_NATS_URL": url,
            "IPS_NATS_TOKEN": self._token,
            "IPS_REPLICAS": str(SERVERS),
            "IPS_EVENTS_MAX_BYTES": "50000000",
            "IPS_AUDIT_MAX_BYTES": "20000000",
            "IPS_WEBHOOK_NETWORKS": "127.0.0.0/8",
            "IPS_AGENT_WAIT_SECONDS": str(AGENT_WAIT_SECONDS),
            "IPS_MAX_CONCURRENT_TASKS": "10",
            "IPS_REQUESTS_PER_MINUTE": "0",
            "IPS_LOG_FORMAT": "json",
        }
        program = Coordinator(self.folder, settings, name=f"coordinator-{number}")
        return self._begin(Member(program.name, program, ways))

    async def _ready(self, member: Member) -> None:
        assert isinstance(member.program, Coordinator)  # noqa: S101 -- it was made as one
        await member.program.ready(within=START_WITHIN)

    def _agent_settings(self, url: str, group: str) -> dict[str, str]:
        return {
            "IPS_NATS_URL": url,
            "IPS_NATS_TOKEN": self._token,
            "IPS_NODE_LABELS": f"group={group}",
            "IPS_HEARTBEAT_SECONDS": "3",
            "IPS_LOG_FORMAT": "json",
        }

    async def _group(self, number: int) -> Member:
        ways, url = await self._ways()
        part = range(number, self.size.nodes + 1, GROUPS)
        settings = self._agent_settings(url, f"g{number}") | {
            "IPS_RUNTIME": "simulated",
            "IPS_DATA_DIR": str(self.folder / f"group-{number}"),
            "IPS_SIMULATED_SECONDS": str(PULL_SECONDS),
            "IPS_SIMULATED_BYTES": "1000",
            "IPS_SIMULATED_FAILURE_RATE": str(FAILURE_RATE),
            "IPS_LOG_LEVEL": "warning",
        }
        names = [f"sim-{node:03}" for node in part]
        program = Group(number, names, self.folder, settings)
        return self._begin(Member(program.name, program, ways))

    async def _real(self, number: int) -> Member:
        containerd = await self._stack.enter_async_context(Containerd())
        self.containerds.append(containerd)
        ways, url = await self._ways()
        settings = self._agent_settings(url, "real") | {
            "IPS_RUNTIME": "cri",
            "IPS_RUNTIME_ENDPOINT": f"unix://{containerd.socket}",
        }
        program = Agent(self.folder, f"real-{number}", settings)
        return self._begin(Member(program.name, program, ways))

    def _begin(self, member: Member) -> Member:
        self._stack.push_async_callback(member.program.kill)
        member.program.start()
        return member

    # ── what is there ──

    @property
    def urls(self) -> list[str]:
        """Where the coordinators are asked."""
        return [
            member.program.url
            for member in self.coordinators
            if isinstance(member.program, Coordinator)
        ]

    def nodes_of(self, group: str) -> int:
        """How many nodes have a label ``group``."""
        if group == "real":
            return self.size.containerds
        number = int(group.removeprefix("g"))
        return len(range(number, self.size.nodes + 1, GROUPS))

    def deeds(self) -> list[Deed]:
        """What all agents did, as they wrote it down themselves."""
        found: list[Deed] = []
        for member in self.groups:
            assert isinstance(member.program, Group)  # noqa: S101 -- it was made as one
            for name in member.program.names:
                folder = self.folder / member.name / "agent" / name
                found += read_deeds(folder / "deeds")
        for member in self.real:
            found += deeds_in_log(member.name, member.program.log)
        return found

    def keep_logs(self, folder: Path) -> None:
        """Copy what everybody said, to be read after a breach."""
        folder.mkdir(parents=True, exist_ok=True)
        for log in self.folder.rglob("*log"):
            if log.is_file() and "containerd" not in log.parts:
                name = log.relative_to(self.folder).as_posix().replace("/", "-")
                shutil.copyfile(log, folder / name)

    async def nodes_known(self) -> None:
        """Wait until every coordinator knows every node: a task is for those that are known."""
        wanted = self.size.nodes + self.size.containerds
        async with aiohttp.ClientSession() as http:
            for url in self.urls:
                while True:
                    async with http.get(f"{url}/api/v1/nodes", params={"limit": "1"}) as answer:
                        if (await answer.json())["total"] == wanted:
                            break
                    await asyncio.sleep(LOOK_SECONDS)

    async def all_run(self) -> None:
        """Start again whatever does not run, and wait until the bus is whole."""
        for server in self.servers:
            if server.child.pid is None:
                server.child.start()
        for member in (*self.coordinators, *self.groups, *self.real):
            if member.program.pid is None:
                member.program.start()
        await asyncio.gather(*(server.healthy(HEALTHY_WITHIN) for server in self.servers))
