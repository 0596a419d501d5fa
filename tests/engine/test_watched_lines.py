"""The watch of Kubernetes' Nodes on an API server that says anything; no cluster is needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coordinator.core.fleet import Node
from coordinator.nodes import api_server
from coordinator.nodes.watched import WatchedNodes

NODES = "/api/v1/nodes"


class Sink:
    """Who is told of nodes."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lists = 0
        self.changed = asyncio.Event()

    def seen(self, name: str, _: Node) -> None:
        """A node exists."""
        self.names.add(name)
        self.changed.set()

    def vanished(self, name: str) -> None:
        """A node is gone."""
        self.names.discard(name)
        self.changed.set()

    def listed(self) -> None:
        """All have been named."""
        self.lists += 1

    async def until(self, *names: str) -> None:
        """Wait until these are all there is."""
        async with asyncio.timeout(20.0):
            while self.names != set(names):
                self.changed.clear()
                await self.changed.wait()


def node(name: str, version: int) -> dict[str, Any]:
    """A Node that is ready."""
    return {
        "metadata": {"name": name, "uid": name, "resourceVersion": str(version)},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def event(name: str, version: int, kind: str = "ADDED") -> bytes:
    """A line of a watch."""
    return json.dumps({"type": kind, "object": node(name, version)}).encode()


class Server:
    """Lists one node, and says in the one watch what it is given."""

    def __init__(self) -> None:
        self.watches = 0
        self.lists = 0
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A list, or a watch without end."""
        if "watch" not in request.query:
            self.lists += 1
            page = {"metadata": {"resourceVersion": "1"}, "items": [{"metadata": 7}, node("a", 1)]}
            return web.json_response(page)
        self.watches += 1
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(await self.lines.get())


@asynccontextmanager
async def watching(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Server, Sink, list[str]]]:
    """A watch of a server, what it has told, and what of it was poison."""
    server, sink, poison = Server(), Sink(), list[str]()
    app = web.Application()
    app.router.add_get(NODES, server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    # What the client took from the environment when it was imported.
    name = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    monkeypatch.setattr(name, str(kubeconfig(folder, runner.addresses[0][1])))
    job = asyncio.create_task(WatchedNodes(sink, on_poison=poison.append).run())
    try:
        yield server, sink, poison
    finally:
        job.cancel()
        await asyncio.wait([job])
        await runner.cleanup()


def kubeconfig(folder: Path, port: int) -> Path:
    """A file that leads to a server on this machine."""
    config: Mapping[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path = folder / "config"
    path.write_text(json.dumps(config))
    return path


NO_EVENTS = [
    b"",
    b"\xff",
    b"[]",
    b"{" * 100_000,
    b'{"type": "ADDED", "object": ',
    b'{"type": "ADDED"}',
    b'{"type": 7, "object": {}}',
    b'{"type": "MODIFIED", "object": {"metadata": {"name": "A_B"}}}',
    b'{"type": "DELETED", "object": [' + b"[" * 5000,
    b'{"type": "ADDED", "object": {"metadata": {"name": "b\xff"}}}',
    b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": 1e400}}}',
]


async def test_what_is_no_event_is_passed_over_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted; the watch goes on with the next line, and nothing is listed anew."""
    async with watching(tmp_path, monkeypatch) as (server, sink, poison):
        await sink.until("a")
        assert poison == ["node"]  # of the list
        for line in NO_EVENTS:
            await server.lines.put(line + b"\n")
        await server.lines.put(event("b", 2) + b"\n" + event("a", 3, "DELETED") + b"\n")
        await sink.until("b")
        assert poison == ["node"] * (1 + len(NO_EVENTS))
        assert (server.lists, server.watches, sink.lists) == (1, 1, 1)


async def test_a_line_without_end_takes_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes of it after the bound is let go; the next line is read."""
    monkeypatch.setattr(api_server, "LINE_BYTES", 1000)
    async with watching(tmp_path, monkeypatch) as (server, sink, poison):
        await sink.until("a")
        for _ in range(100):
            await server.lines.put(b"x" * 10_000)
        await server.lines.put(b"\n" + event("b", 2) + b"\n")
        await sink.until("a", "b")
        assert poison == ["node"] * 2
        assert server.watches == 1
