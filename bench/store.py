"""A store that is full of tasks: many at once beside what is finished and waits, and a start.

The finished tasks of the start are written into the store as a coordinator would have left them,
by a server that does not sync each of a million records.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

import aiohttp
from msgspec.json import decode, encode

from bench.figures import cpu_of, resident_mib
from bench.fleet import LONGEST_SECONDS, fleet, join
from bench.nodes import connected
from bench.options import Options
from bench.quick_nodes import node_names, outcome_request
from bench.report import Report
from common import subjects
from common.bus import Bus
from common.messages import Assign, AssignedImage, OutcomeRequest
from coordinator.core.task import TaskCounts, TaskHead, TaskImage, TaskSpec, TaskStatus
from coordinator.store import Store
from sandbox.programs import post_task

NODES: Final = 200
FINISHED: Final = 200
PENDING: Final = 50
AT_ONCE: Final = 100
IMAGES: Final = 50
OLD_TASKS: Final = 100
OLD_NODES: Final = 10_000
PUBLISHED_AT_A_TIME: Final = 500
SETTLE_SECONDS: Final = 30.0
"""After a start: the janitor has looked at all that is stored."""
ABOUT = f"""{AT_ONCE} tasks, one of them of {IMAGES} images, are created at once on {NODES} nodes,
beside {FINISHED} that are finished and {PENDING} of a lower priority that wait. And a coordinator
starts on a store with {OLD_TASKS} finished tasks of {OLD_NODES:,} nodes each (aim: 10 s), and on an
empty one."""


async def run(options: Options) -> None:
    """Measure, print, and write where that is wished."""
    report = Report("store", "A store full of tasks", ABOUT)
    with tempfile.TemporaryDirectory() as name:
        report.table(["", ""], await _many(Path(name), options))
        report.table(["", "empty", "full"], await _starts(Path(name), options))
    if options.write:
        report.write(options.command)


# ── many at once ──


async def _many(folder: Path, options: Options) -> list[list[str]]:
    async with fleet(folder / "many", options.coordinators) as stack:
        await join(stack, NODES, NODES)
        url = stack.coordinators[0].url
        timeout = aiohttp.ClientTimeout(total=LONGEST_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            alone = await _all_done(http, url, [_body(2) for _ in range(FINISHED)])
            before = await stack.spent()
            waiting = [_body(1, priority=1) for _ in range(PENDING)]
            pending = asyncio.create_task(_all_done(http, url, waiting))
            bodies = [_body(IMAGES), *(_body(2) for _ in range(AT_ONCE - 1))]
            wall = await _all_done(http, url, bodies)
            spent = (await stack.spent()).since(before)
            await pending
        return [
            [f"the {FINISHED} before, one store with nothing else", f"{alone:.1f} s"],
            [f"{AT_ONCE} at once, from the first POST to the last end", f"{wall:.1f} s"],
            ["CPU of the leader, a node of a task", _each(spent.cpu["leader"])],
            ["CPU of the follower, a node of a task", _each(spent.cpu.get("follower", 0.0))],
            ["resident, leader", f"{resident_mib(stack.pid('leader')):.0f} MiB"],
        ]


def _each(seconds: float) -> str:
    return f"{seconds / AT_ONCE / NODES * 1e6:.0f} µs"


def _body(images: int, priority: int = 5) -> dict[str, Any]:
    names = [f"shop/{secrets.token_hex(4)}:{number}" for number in range(images)]
    return {"images": names, "batchSize": NODES, "priority": priority}


async def _all_done(http: aiohttp.ClientSession, url: str, bodies: list[dict[str, Any]]) -> float:
    """Create tasks at once; seconds until all are over."""
    began = monotonic()

    async def one(body: dict[str, Any]) -> None:
        task = await post_task(http, url, body)
        async with http.get(f"{url}/api/v1/tasks/{task}/events") as stream:
            said = await stream.read()
        assert b"event: task.completed" in said, said[-500:]

    await asyncio.gather(*(one(body) for body in bodies))
    return monotonic() - began


# ── a start ──


async def _starts(folder: Path, options: Options) -> list[list[str]]:
    columns = [await _start(folder / f"start-{tasks}", tasks, options) for tasks in (0, OLD_TASKS)]
    return [[name, *(column[name] for column in columns)] for name in columns[0]]


async def _start(folder: Path, tasks: int, options: Options) -> dict[str, str]:
    nodes = options.nodes[0] if options.nodes else OLD_NODES
    async with fleet(folder, 1) as stack:
        async with connected(stack.nats.access()) as bus:
            await _fill(bus, tasks, node_names(nodes))
        coordinator = stack.coordinators[0]
        await coordinator.terminate(within=LONGEST_SECONDS)
        began = monotonic()
        coordinator.start()
        await coordinator.ready(within=LONGEST_SECONDS)
        wall, pid = monotonic() - began, stack.pid("leader")
        ready_cpu, at_once = cpu_of(pid), resident_mib(pid)
        await asyncio.sleep(SETTLE_SECONDS)
        return {
            "until it takes requests": f"{wall:.1f} s",
            "CPU until then": f"{ready_cpu:.1f} s",
            f"CPU {SETTLE_SECONDS:.0f} s later": f"{cpu_of(pid):.1f} s",
            "resident when it takes requests": f"{at_once:.0f} MiB",
            f"resident {SETTLE_SECONDS:.0f} s later": f"{resident_mib(pid):.0f} MiB",
        }


async def _fill(bus: Bus, tasks: int, names: list[str]) -> None:
    """Finished tasks with their lists and outcomes, all nodes succeeded."""
    store = Store(bus)
    for number in range(tasks):
        task = f"task-20260101-{number:06}-{secrets.token_hex(4)}"
        await store.save_list(task, "nodes-1-1", names)
        payload = _outcome(task)
        for begin in range(0, len(names), PUBLISHED_AT_A_TIME):
            for name in names[begin : begin + PUBLISHED_AT_A_TIME]:
                bus.publish(subjects.result(task, name, 1), payload)
            await bus.ping(LONGEST_SECONDS)
        seq = (await bus.stream_state(subjects.RESULTS)).last_seq
        await store.create_head(_head(task, len(names), seq))


def _outcome(task: str) -> bytes:
    images = [AssignedImage(name=name, reference=f"docker.io/{name}") for name in ("a:1", "b:1")]
    assign = Assign(epoch=1, task=task, attempt=1, images=images)
    request = decode(outcome_request(assign, "0" * 16), type=OutcomeRequest)
    return encode(request.outcome)


def _head(task: str, nodes: int, seq: int) -> TaskHead:
    now = int(time() * 1000)
    work = tuple(TaskImage(name=n, reference=f"docker.io/library/{n}") for n in ("a:1", "b:1"))
    return TaskHead(
        id=task,
        spec=TaskSpec(images=("a:1", "b:1"), work=work, batch_size=nodes),
        status=TaskStatus.COMPLETED,
        created_at=now,
        started_at=now,
        finished_at=now,
        nodes=nodes,
        batches=1,
        counts=TaskCounts(total=nodes, completed=nodes),
        results_seq=seq,
        node_list="nodes-1-1",
    )
