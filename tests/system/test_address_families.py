"""Whole programs on hosts of IPv6 alone, of IPv4 alone and of both, in networks of their own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aiohttp
import pytest
from aiohttp import web

from sandbox.child import _DIES_WITH_PARENT
from sandbox.containerd import Containerd
from sandbox.images import make_image
from sandbox.own_network import ipv4_sockets, network_of
from sandbox.ports import free_port
from sandbox.programs import PROJECT, Agent, Coordinator
from sandbox.registry import Registry
from tests.fixtures.fleet import FAST, children_of
from tests.fixtures.patience import PATIENCE
from tests.fixtures.user import Json, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.versions import Binary
    from tests.fixtures.network import EnterNetwork

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

IPV4, LOOPBACK = "127.0.0.1", "[::1]"
MIB = 1024 * 1024
SIMULATED = {"IPS_RUNTIME": "simulated", **FAST}
WITHOUT_IPV6 = [sys.executable, str(PROJECT / "sandbox/without_ipv6.py")]


class Somebody(User):
    """Who asks one coordinator."""

    def __init__(self, http: aiohttp.ClientSession, coordinator: Coordinator) -> None:
        self.http = http
        self.coordinator = coordinator

    @property
    def url(self) -> str:
        """Where the coordinator is."""
        return self.coordinator.url


class Receiver:
    """Takes webhooks at ``::1``."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[tuple[str, Json]] = asyncio.Queue()
        """The ``Host`` that was asked for, and the body, of each."""
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """Take one."""
        self.taken.put_nowait((request.headers["Host"], await request.json()))
        return web.Response()


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Serve a receiver."""
    made, app = Receiver(), web.Application()
    app.router.add_post("/hook", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK.strip("[]"), 0).start()
    made.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}/hook"
    try:
        yield made
    finally:
        await runner.cleanup()


class Node:
    """A coordinator and an agent at addresses of one family, ended with the test."""

    def __init__(self, folder: Path, *, host: str, listen: str, settings: dict[str, str]) -> None:
        port = free_port(host)
        own = {"IPS_NATS_LISTEN": f"{listen}:{port}", "IPS_LISTEN": listen}
        own["IPS_WEBHOOK_NETWORKS"] = "127.0.0.0/8,::1/128"
        self.coordinator = Coordinator(folder, own, host=host)
        bus = {
            "IPS_NATS_URL": f"nats://{host}:{port}",
            "IPS_NATS_TOKEN": self.coordinator.token,
        }
        self.agent = Agent(folder, "node-1", {**bus, **settings}, host=host)
        self.ports = (self.coordinator.port, self.agent.metrics_port, port)
        """Of the API, of the agent, and of NATS."""

    async def __aenter__(self) -> Self:
        try:
            self.coordinator.start()
            await self.coordinator.ready()
            # Until a coordinator answers for NATS, whoever comes is refused as if by a wrong token.
            self.agent.start()
            await self.agent.ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End both."""
        await self.agent.kill()
        await self.coordinator.kill()

    async def command(self, *words: str, code: int = 0) -> str:
        """What the client's command says, and that it ends as expected."""
        paths = os.pathsep.join([str(PROJECT / "client/python/src"), str(PROJECT)])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ips_client", "--server", self.coordinator.url, *words),
            env={**os.environ, "PYTHONPATH": paths},
            stdout=PIPE,
            stderr=STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == code, said.decode()
        return said.decode()

    @property
    def pids(self) -> list[int]:
        """Both programs and the NATS of the one."""
        pids = [pid for pid in (self.coordinator.pid, self.agent.pid) if pid is not None]
        found = [*pids, *(child for pid in pids for child in children_of(pid))]
        assert len(found) == 3
        return found


def credentials(folder: Path, registry: Registry) -> Path:
    """Let only one user pull ``team/app``, and write down who."""
    registry.protect("team/app", "me", "s3cret")
    file = folder / "config.json"
    login = {"username": "me", "password": "s3cret"}
    file.write_text(json.dumps({"auths": {f"http://{registry.host}": login}}))
    return file


def connects(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host.strip("[]"), port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@pytest.mark.containerd
@pytest.mark.usefixtures("ipv6_alone")
async def test_ipv6_alone(containerd_binary: Binary, tmp_path: Path) -> None:
    """A private image is pulled from [::1] as a user does it, and no IPv4 socket is ever open."""
    own = {"stream_server_address": "::1"}
    listen = "[::]" if containerd_binary.is_of("2") else LOOPBACK
    async with AsyncExitStack() as stack:
        start = stack.enter_async_context
        hook = await start(receiver())
        registry = await start(Registry(address=LOOPBACK))
        containerd = await start(Containerd(containerd_binary, cri=own))
        settings = {
            "IPS_RUNTIME": "cri",
            "IPS_RUNTIME_ENDPOINT": f"unix://{containerd.socket}",
            "IPS_REGISTRY_CONFIG": str(credentials(tmp_path, registry)),
        }
        node = await start(Node(tmp_path, host=LOOPBACK, listen=listen, settings=settings))
        http = await start(aiohttp.ClientSession())
        reference = registry.put("team/app", "1", image := make_image(MIB, seed="app"))
        able = not containerd_binary.is_of("1.6")  # to it an IPv6 address is no registry
        words = ("run", reference, "--webhook", hook.url, "--wait")
        await node.command(*words, code=0 if able else 1)
        host, told = await asyncio.wait_for(hook.taken.get(), PATIENCE)
        event = "task.completed" if able else "task.failed"
        assert (told["event"], f"http://{host}/hook") == (event, hook.url)
        (row,) = await Somebody(http, node.coordinator).nodes(told["task"]["taskId"])
        (pulled,) = row["images"]
        assert pulled["image"] == reference
        if able:
            assert (pulled["state"], pulled["digest"]) == ("pulled", image.digest)
        else:
            assert (pulled["state"], pulled["reason"]) == ("failed", "InvalidReference")

        assert containerd.pid is not None
        pids = [*node.pids, containerd.pid]
        assert {network_of(pid) for pid in pids} == {network_of("thread-self")}
        assert [line for pid in pids for line in ipv4_sockets(pid)] == []
        assert not any(connects("127.0.0.1", port) for port in node.ports)


async def completes(node: Node) -> None:
    """A task of simulated pulls, from the command to its end."""
    assert "completed" in await node.command("run", "nginx", "--wait")


@pytest.mark.parametrize(("bindv6only", "host"), [(0, LOOPBACK), (1, IPV4)])
async def test_both_families_on_every_port(
    enter_network: EnterNetwork, tmp_path: Path, bindv6only: int, host: str
) -> None:
    """Whatever the kernel takes an IPv6 socket for, and whichever family programs use."""
    enter_network(bindv6only=bindv6only)
    async with Node(tmp_path, host=host, listen="[::]", settings=SIMULATED) as node:
        assert all(connects(at, port) for at in (IPV4, LOOPBACK) for port in node.ports)
        await completes(node)


async def test_ipv6_that_is_switched_off(enter_network: EnterNetwork, tmp_path: Path) -> None:
    """The kernel makes IPv6 sockets and has no IPv6 address, as in most containers."""
    enter_network(conf__all__disable_ipv6=1)
    assert not connects(LOOPBACK, 1)
    async with Node(tmp_path, host=IPV4, listen="[::]", settings=SIMULATED) as node:
        assert all(connects(IPV4, port) for port in node.ports)
        await completes(node)


async def test_a_kernel_without_ipv6(
    tmp_path: Path, enter_network: EnterNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No program can make an IPv6 socket, nats-server neither: all listen at IPv4 addresses."""
    enter_network(conf__all__disable_ipv6=1)
    monkeypatch.setattr("sandbox.child._DIES_WITH_PARENT", [*_DIES_WITH_PARENT, *WITHOUT_IPV6])
    async with Node(tmp_path, host=IPV4, listen="[::]", settings=SIMULATED) as node:
        listening = {line.split()[2] for line in ipv4_sockets(node.pids[0])}
        assert {f"00000000:{port:04X}" for port in node.ports} <= listening
        await completes(node)


async def test_every_address_that_cannot_be_had(
    enter_network: EnterNetwork, tmp_path: Path
) -> None:
    """nats-server would listen where nobody can reach it: said at the start, with the address."""
    enter_network("-4 address flush dev lo", "address add 2001:db8::1/128 dev lo")
    node = Node(tmp_path, host=LOOPBACK, listen="[::]", settings=SIMULATED)
    node.coordinator.start()
    async with asyncio.timeout(PATIENCE):
        await node.coordinator.exited()
    assert f"IPS_NATS_LISTEN: [::]:{node.ports[2]} would be IPv4 alone" in node.coordinator.log
