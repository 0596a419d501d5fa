"""What thoughtless clients cost a coordinator: memory as slope, and the loop's attention.

Memory is measured twice, before and after a number of things of a kind, and told for one of them.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from bench.figures import resident_mib, show
from coordinator.core.commands import StartTask
from coordinator.core.events import Event, NodeSeen, Settled, TaskCreated, Woken
from coordinator.core.scheduler import Core, Limits
from coordinator.core.task import Operator, Requirement, TaskHead, TaskSpec
from sandbox.programs import Coordinator, post_task

NAMES = [
    f"node-{number:05}.{'x' * 60}.{'y' * 60}.{'z' * 60}.{'w' * 45}" for number in range(10_000)
]
"""Nobody has them: the first three tasks wait for their agents, the rest for their turn."""
NAMED_TASKS = 40
LABELS = {f"key-{number:04}": "v" for number in range(3_600)}
"""59 kB of a head."""
EXPRESSIONS = 1000
SELECTED_NODES = 10_000
WAITING_TASKS = 100
FINISHED_TASKS = 150
RESTARTED_TASKS = 10_000
"""Ten times what may wait: an older version may have left them."""
HOSTILE_LABELS = {f"key-{number}": "v" for number in range(180_000)}
CLIENTS = 8
FILES = 1024
HALF_OPEN = 1100
STREAMS = 1000
EVENTS = 400
"""Beyond what the sockets of those who do not read take: they wait, and are cut in the end."""
_HEADERS = {"Content-Type": "application/json"}
_AT_ONCE = 50


async def run() -> None:
    """Measure and print."""
    print("what clients can cost a coordinator")
    _expressions()
    for measure in (_named, _waiting, _finished, _restarted, _bodies, _half_open, _streams):
        await _on_a_fresh_one(measure)


async def _on_a_fresh_one(
    measure: Callable[[Coordinator, aiohttp.ClientSession], Coroutine[Any, Any, None]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        settings = {"IPS_LOG_LEVEL": "warning", "IPS_MAX_PENDING_TASKS": str(RESTARTED_TASKS)}
        coordinator = Coordinator(Path(name), settings)
        coordinator.start()
        resource.prlimit(coordinator.pid or 0, resource.RLIMIT_NOFILE, (FILES, 2 * STREAMS))
        timeout = aiohttp.ClientTimeout(total=120)
        connector = aiohttp.TCPConnector(limit=0)
        try:
            await coordinator.ready(within=60)
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
                await measure(coordinator, http)
        finally:
            await coordinator.terminate(within=60)


def _expressions() -> None:
    """CPU time of one event of the core while it chooses nodes: so long the loop is held."""
    core, worst = Core(Limits(first_look=0.0), 0.0), 0.0
    for number in range(SELECTED_NODES):
        labels = {f"key-{key}": str(key) for key in range(9)} | {"name": f"n{number}"}
        core.handle(NodeSeen(f"n{number:05}", labels), 1.0)
    core.handle(Settled(), 1.0)
    absent = tuple(
        Requirement(key=f"absent-{number}", operator=Operator.DOES_NOT_EXIST)
        for number in range(EXPRESSIONS)
    )
    wanted = TaskSpec(images=("a",), work=(), match_expressions=absent)
    head = TaskHead(id="task-20260101-000000-00000001", spec=wanted, created_at=0)
    event: Event = TaskCreated(head, 1)
    is_chosen = False
    while not is_chosen:
        began = time.process_time()
        decision = core.handle(event, 1.0)
        worst = max(worst, time.process_time() - began)
        is_chosen = any(isinstance(command, StartTask) for command in decision.commands)
        event = Woken()
    what = f"{EXPRESSIONS} expressions, {SELECTED_NODES} nodes: longest event, CPU"
    show(what, f"{worst * 1e3:.0f} ms", "≤ 50")


def _resident(coordinator: Coordinator) -> float:
    return resident_mib(coordinator.pid or 0)


async def _named(coordinator: Coordinator, http: aiohttp.ClientSession) -> None:
    body = {"images": ["a"], "nodeNames": NAMES}
    for _ in range(8):
        await post_task(http, coordinator.url, body)
    before = _resident(coordinator)
    for _ in range(NAMED_TASKS):
        await post_task(http, coordinator.url, body)
    each = (_resident(coordinator) - before) / NAMED_TASKS
    show("a pending task of 10,000 long names, memory", f"{each:.2f} MiB", "not by its names")


async def _waiting(coordinator: Coordinator, http: aiohttp.ClientSession) -> None:
    for _ in range(3):  # they take all places, and wait for agents that do not come
        await post_task(http, coordinator.url, {"images": ["a"], "nodeNames": ["ghost"]})
    body = {"images": ["a"], "nodeSelector": LABELS}
    for _ in range(20):
        await post_task(http, coordinator.url, body)
    before = _resident(coordinator)
    for _ in range(WAITING_TASKS):
        await post_task(http, coordinator.url, body)
    each = (_resident(coordinator) - before) / WAITING_TASKS * 1024
    show("a waiting task of 59 kB, memory", f"{each:.0f} KiB", "443 kB decoded")


async def _finished(coordinator: Coordinator, http: aiohttp.ClientSession) -> None:
    async def make(tasks: int) -> None:
        for _ in range(tasks):
            body = {"images": ["a"], "nodeSelector": LABELS}
            task = await post_task(http, coordinator.url, body)
            async with http.delete(f"{coordinator.url}/api/v1/tasks/{task}") as answer:
                await answer.read()

    await make(20)
    before = _resident(coordinator)
    await make(FINISHED_TASKS)
    each = (_resident(coordinator) - before) / FINISHED_TASKS * 1024
    show("a finished task of 59 kB, memory", f"{each:.0f} KiB", "443 kB decoded")


async def _restarted(coordinator: Coordinator, http: aiohttp.ClientSession) -> None:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def post() -> None:
        async with slots:
            await post_task(http, coordinator.url, {"images": ["a"], "nodeNames": ["n1", "n2"]})

    await asyncio.gather(*(post() for _ in range(RESTARTED_TASKS)))
    await coordinator.terminate(within=60)
    coordinator.start()
    began = time.monotonic()
    while await _probed(coordinator) != "answered":
        await asyncio.sleep(0.02)
    listening = time.monotonic() - began
    async with _slowest_probe(coordinator) as waits:
        await coordinator.ready(within=120)
        seconds = time.monotonic() - began
        await asyncio.sleep(15)  # the first look, and what follows it
    show(f"restart with {RESTARTED_TASKS} pending tasks with names", f"{seconds:.1f} s")
    show("of which before it answers any probe", f"{listening:.1f} s")
    show("slowest probe from then on", f"{max(waits) * 1e3:.0f} ms")


_PROBE = """
import http.client, sys, time
link, worst = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1])), 0.0
while True:
    began = time.monotonic()
    link.request("GET", "/healthz")
    link.getresponse().read()
    worst = max(worst, time.monotonic() - began)
    print(worst, flush=True)
    time.sleep(0.005)
"""
"""A process of its own, so that what is measured is the coordinator and not this program."""


@asynccontextmanager
async def _slowest_probe(coordinator: Coordinator) -> AsyncIterator[list[float]]:
    """How long a probe waits at most while something goes on, in seconds; filled at the end."""
    waits: list[float] = []
    probe = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROBE, str(coordinator.port), stdout=asyncio.subprocess.PIPE
    )
    assert probe.stdout is not None
    await probe.stdout.readline()
    yield waits
    probe.terminate()
    waits += map(float, (await probe.stdout.read()).split())
    await probe.wait()


async def _bodies(coordinator: Coordinator, http: aiohttp.ClientSession) -> None:
    hostile = msgspec.json.encode({"images": ["a"], "nodeSelector": HOSTILE_LABELS})
    honest = msgspec.json.encode({"images": ["a"], "nodeNames": NAMES})
    async with _slowest_probe(coordinator) as waits:
        await asyncio.sleep(2)
    show("slowest probe while nobody sends anything", f"{max(waits) * 1e3:.0f} ms")
    for what, data in (("180,000 labels", hostile), ("10,000 names", honest)):

        async def post(data: bytes = data) -> None:
            url = f"{coordinator.url}/api/v1/tasks"
            async with http.post(url, data=data, headers=_HEADERS) as answer:
                await answer.read()

        async with _slowest_probe(coordinator) as waits:
            await asyncio.sleep(0.5)
            await asyncio.gather(*(post() for _ in range(CLIENTS)))
            await asyncio.sleep(0.5)
        show(f"slowest probe while {CLIENTS} clients send {what}", f"{max(waits) * 1e3:.0f} ms")


async def _half_open(coordinator: Coordinator, _: aiohttp.ClientSession) -> None:
    resource.prlimit(coordinator.pid or 0, resource.RLIMIT_NOFILE, (FILES, FILES))
    await coordinator.terminate(within=60)
    coordinator.start()
    resource.prlimit(coordinator.pid or 0, resource.RLIMIT_NOFILE, (FILES, FILES))
    await coordinator.ready(within=60)
    opened = []
    for _number in range(HALF_OPEN):
        half = socket.create_connection(("127.0.0.1", coordinator.port))
        half.send(b"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Le")
        opened.append(half)
    await asyncio.sleep(12)  # the embedded NATS is looked after every five
    lives = coordinator.pid is not None
    said = "died" if not lives else await _probed(coordinator)
    show(f"{HALF_OPEN} half-open requests, {FILES} files: a probe", said, "answered")
    for half in opened:
        half.close()


async def _probed(coordinator: Coordinator) -> str:
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(f"{coordinator.url}/healthz") as answer,
        ):
            return "answered" if answer.ok else f"status {answer.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__


class _Crowd:
    """Clients of event streams; every second one never reads, in one of three ways."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []
        self._readers: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Open all streams: from now on, live, or everything from the beginning."""
        ways = ("", "?live=true", "?lastEventId=1")
        for number in range(STREAMS):
            client = socket.socket()
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", self._port))
            path = f"/api/v1/events{ways[number // 2 % 3] if number % 2 else ''}"
            client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            client.settimeout(0)
            self._sockets.append(client)
            if number % 2 == 0:
                self._readers.append(asyncio.create_task(_drain(client)))

    async def close(self) -> None:
        """Close all."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for client in self._sockets:
            client.close()


async def _drain(client: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(client, 65536):
        pass


def _unsent_mib(port: int) -> float:
    """What the system keeps for the clients of a port that do not read, in MiB."""
    local = f":{port:04X}"
    unsent = 0
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(local):
                unsent += int(fields[4].partition(":")[0], 16)
    return unsent / 1024**2


async def _streams(coordinator: Coordinator, http: aiohttp.ClientSession) -> None:
    """Half of the clients never read; meanwhile events of 20 kB each are stored.

    What the system keeps for their sockets is counted too: a container is charged for it.
    """
    body = {"images": [f"registry.example.com/{'x' * 220}/{n}:1" for n in range(50)]}
    slots, costs, unsent = asyncio.Semaphore(4), [0.0], [0.0]
    before = _resident(coordinator)

    async def post() -> None:
        async with slots:
            task = await post_task(http, coordinator.url, body)
            async with http.delete(f"{coordinator.url}/api/v1/tasks/{task}") as answer:
                await answer.read()
            unsent.append(_unsent_mib(coordinator.port))
            costs.append(_resident(coordinator) - before + unsent[-1])

    await asyncio.gather(*(post() for _ in range(EVENTS // 8)))
    alone = max(costs)
    crowd = _Crowd(coordinator.port)
    crowd.open()
    await asyncio.sleep(2)
    opened = _resident(coordinator) - before
    show(f"{STREAMS} streams, open", f"{opened:.0f} MiB", f"{alone:.0f} MiB of it the events")
    costs.clear()
    await asyncio.gather(*(post() for _ in range(EVENTS // 2)))
    text = f"{STREAMS} streams of which half never read, {EVENTS} events sent"
    show(text, f"{max(costs):.0f} MiB", "≤ 100")
    show("of which in sockets", f"{max(unsent):.0f} MiB")
    await crowd.close()


if __name__ == "__main__":
    asyncio.run(run())
