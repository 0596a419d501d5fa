"""What the coordinator owes the world: webhooks, metrics, events, retention, and thick skin."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import aiohttp
import msgspec
import pytest
from aiohttp import web

from common import subjects
from common.bus import Bus
from common.subjects import parse_event
from sandbox.programs import Coordinator
from tests.fixtures.disk import MakeDisk
from tests.fixtures.fleet import Fleet, Json
from tests.fixtures.nats import NatsServer, OpenBus, StartNats
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.system


class Receiver:
    """A webhook's receiver that answers as told and remembers what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[str, Json]] = []
        self.arrived = asyncio.Event()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """Remember one delivery."""
        self.got.append((request.headers["IPS-Delivery"], await request.json()))
        self.arrived.set()
        return web.Response(status=self.status, headers={"Location": "http://127.0.0.1:1/"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    made, app = Receiver(), web.Application()
    app.router.add_post("/hook", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?secret=1"
    yield made
    await runner.cleanup()


async def test_a_webhook_is_delivered_over_refusals_and_restarts(
    fleet: Fleet, receiver: Receiver
) -> None:
    """Refused and redirected deliveries are repeated with one id, also by the next run."""
    coordinator = await fleet.add_coordinator()
    await fleet.add_agents(1)
    await fleet.known_nodes(1)
    receiver.status = 302
    task = await fleet.post(["nginx"], webhookUrl=receiver.url)
    await asyncio.wait_for(receiver.arrived.wait(), PATIENCE)
    assert (await fleet.over(task))["status"] == "completed"
    await coordinator.kill()
    receiver.status, receiver.arrived = 200, asyncio.Event()
    before = len(receiver.got)
    coordinator.start()
    await asyncio.wait_for(receiver.arrived.wait(), PATIENCE)
    await coordinator.ready()
    assert {delivery for delivery, _ in receiver.got} == {f"{task}/task.completed"}
    body = receiver.got[before][1]
    assert body["event"] == "task.completed"
    assert body["task"] == await fleet.get(f"/tasks/{task}")
    assert body["task"]["webhookUrl"] == receiver.url.partition("/hook")[0]
    assert {"timestamp", "message"} <= body.keys()
    await coordinator.kill()
    coordinator.start()
    await coordinator.ready()
    receiver.arrived.clear()
    other = await fleet.post(["redis"], webhookUrl=receiver.url)
    await asyncio.wait_for(receiver.arrived.wait(), PATIENCE)
    told = [delivery.partition("/")[0] for delivery, _ in receiver.got[before:]]
    assert told == [task, other], "nothing of the first is told again"


async def metric(fleet: Fleet, name: str, *, missing: float | None = None) -> float:
    """One sample of the coordinator's metrics; it must be there, unless it may be ``missing``."""
    async with fleet.http.get(f"{fleet.coordinator.url}/metrics") as answer:
        for line in (await answer.text()).splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
    assert missing is not None, f"no sample {name}"
    return missing


async def test_metrics_count_what_happened_once(fleet: Fleet) -> None:
    """Each kind that dashboards use; a NATS that is killed in the middle changes no count."""
    await fleet.add_coordinator()
    await fleet.add_agents(2)
    await fleet.known_nodes(2)
    fleet.hold("node-2")
    good = await fleet.post(["nginx", "redis"], batchSize=1)
    await fleet.until(good, lambda seen: seen["progress"]["completedNodes"] == 1)
    for pid in fleet.nats_pids():
        os.kill(pid, signal.SIGKILL)
    fleet.let_go()
    await fleet.over(good)
    bad = await fleet.post(["x/fails/unauthorized"])
    await fleet.over(bad)
    expected = {
        'ips_tasks_total{status="completed"}': 1,
        'ips_tasks_total{status="failed"}': 1,
        'ips_task_duration_seconds_count{status="completed"}': 1,
        'ips_nodes_processed_total{status="succeeded"}': 2,
        'ips_nodes_processed_total{status="failed"}': 2,
        "ips_images_pulled_total": 4,
        "ips_batch_execution_duration_seconds_count": 3,
        "ips_active_tasks": 0,
        ('ips_api_request_total{endpoint="/api/v1/tasks",method="POST",status_code="201"}'): 2,
    }
    assert {name: await metric(fleet, name) for name in expected} == expected


async def test_a_new_process_counts_what_happens_in_its_life(fleet: Fleet) -> None:
    """What an earlier process counted is not counted again when the state is loaded."""
    coordinator = await fleet.add_coordinator()
    await fleet.add_agents(2)
    await fleet.known_nodes(2)
    fleet.hold("node-2")
    task = await fleet.post(["nginx"], batchSize=1)
    await fleet.until(task, lambda seen: seen["progress"]["completedNodes"] == 1)
    await coordinator.kill()
    coordinator.start()
    await coordinator.ready()
    fleet.let_go()
    await fleet.over(task)
    assert await metric(fleet, 'ips_nodes_processed_total{status="succeeded"}') == 1


async def test_a_task_is_removed_after_its_retention(fleet: Fleet) -> None:
    """It, its nodes and its place in the list are gone; so it stays after kill -9.

    Only a task that is over is removed.
    """
    coordinator = await fleet.add_coordinator({"IPS_TASK_RETENTION_HOURS": "0.001"})
    await fleet.add_agents(1)
    await fleet.known_nodes(1)
    task = await fleet.post(["nginx"])

    async def is_gone() -> bool:
        with suppress(aiohttp.ClientError):
            async with fleet.http.get(f"{fleet.api}/tasks/{task}") as answer:
                return answer.status == 404
        return False

    async with asyncio.timeout(PATIENCE):
        while not await is_gone():
            await asyncio.sleep(0.1)
    await coordinator.kill()
    coordinator.start()
    await coordinator.ready()
    assert await is_gone()
    assert (await fleet.get("/tasks"))["total"] == 0


POISON = [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"attempts": 7}', b"0" * 100_000]


async def test_poison_on_every_subject_is_survived(
    fleet: Fleet, nats_server: NatsServer, open_bus: OpenBus
) -> None:
    """Whatever arrives is counted and logged once a kind; tasks go on as if nothing had come."""
    fleet.nats_settings = {"IPS_NATS_URL": nats_server.url}
    coordinator = await fleet.add_coordinator()
    await fleet.add_agents(2)
    await fleet.known_nodes(2)
    fleet.hold("node-1", "node-2")
    bus = await open_bus(nats_server)
    task = await fleet.post(["nginx"], batchSize=1)
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == 1)
    await spray(bus, task)
    fleet.let_go()
    seen = await fleet.over(task)
    assert seen["status"] == "completed"
    assert coordinator.pid is not None
    assert all(agent.pid is not None for agent in fleet.agents.values())
    for kind in ("heartbeat", "event"):
        await counted(fleet, kind, len(POISON))
    said = [line for line in coordinator.log.splitlines() if "cannot be understood" in line]
    assert 1 <= len(said) <= 2
    await fleet.over(await fleet.post(["redis"]))


async def counted(fleet: Fleet, kind: str, least: int) -> None:
    """Wait until so many messages of a kind were counted as not to be understood."""
    name = f'ips_undecodable_messages_total{{kind="{kind}"}}'
    async with asyncio.timeout(PATIENCE):
        while await metric(fleet, name, missing=0.0) < least:
            await asyncio.sleep(0.1)


async def test_a_heartbeat_that_no_command_can_answer_is_poison(
    fleet: Fleet, nats_server: NatsServer, open_bus: OpenBus
) -> None:
    """What an agent says that it holds goes back to it; a name too long for that is no hold."""
    fleet.nats_settings = {"IPS_NATS_URL": nats_server.url}
    coordinator = await fleet.add_coordinator()
    bus = await open_bus(nats_server)
    holds = [
        [{"task": "x" * 200_000, "attempt": 1}],
        [{"task": "task-20260101-000000-00000000", "attempt": 10**12}],
        [{"task": "task-20260101-000000-00000000\n", "attempt": 1}],
    ]
    for hold in holds:
        said = {"agentVersion": "1", "driver": "cri", "labels": {}, "holds": hold}
        bus.publish(subjects.heartbeat("node-1", "0" * 16), msgspec.json.encode(said))
    await counted(fleet, "heartbeat", len(holds))
    assert coordinator.pid is not None


async def spray(bus: Bus, task: str) -> None:
    """Send poison everywhere: core subjects, streams and buckets."""
    instance = "0" * 16
    core = [
        subjects.heartbeat("node-1", instance),
        subjects.heartbeat("stranger.example", instance),
        f"{subjects.PREFIX}.heartbeat.A_B.zz",
        subjects.progress("node-1", instance),
        subjects.command("node-1", instance),
        subjects.REPORT,
    ]
    stored = [
        f"{subjects.PREFIX}.result.{task}.stranger.1",
        f"{subjects.PREFIX}.result.nothing.at.all",
        f"{subjects.PREFIX}.event.some.thing.{task}",
        f"$KV.{subjects.TASKS_BUCKET}.task-20260101-000000-0000000",
        f"$KV.{subjects.KEYS_BUCKET}.idem.x",
    ]
    for payload in POISON:
        for subject in core:
            bus.publish(subject, payload)
        for subject in stored:
            await bus.store(subject, payload, expect_last=None)


async def test_an_undecodable_outcome_is_an_unknown_failure(
    fleet: Fleet, nats_server: NatsServer, open_bus: OpenBus
) -> None:
    """It counts as that attempt's failure, and the retry heals it."""
    fleet.nats_settings = {"IPS_NATS_URL": nats_server.url}
    await fleet.add_coordinator()
    await fleet.add_agents(1)
    await fleet.known_nodes(1)
    fleet.hold("node-1")
    bus = await open_bus(nats_server)
    task = await fleet.post(["nginx"], maxRetries=1, retryDelay=1)
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == 1)
    await bus.store(subjects.result(task, "node-1", 1), b"poison", expect_last=0)
    fleet.let_go()
    seen = await fleet.over(task)
    assert (seen["status"], seen["retryCount"]) == ("completed", 1)
    (retry,) = [e for e in await fleet.events(task) if e["type"] == "node.retrying"]
    assert retry["data"]["reason"] == "Unknown"


MANY = 1_400
"""Their names alone are longer than a message may be."""


def _more_failed(than: int, seen: Json) -> bool:
    return bool(seen["progress"]["failedNodes"] > than)


async def test_the_end_of_a_task_with_thousands_of_failed_nodes_is_told(
    fleet: Fleet, nats_server: NatsServer, open_bus: OpenBus
) -> None:
    """No message grows with the number of nodes; the answer shows 100 of them and counts all."""
    fleet.nats_settings = {"IPS_NATS_URL": nats_server.url}
    await fleet.add_coordinator({"IPS_AGENT_WAIT_SECONDS": "0.5"})
    names = [f"node-{n}.{'.'.join(['x' * 60] * 3)}.example" for n in range(MANY)]
    assert sum(map(len, names)) > subjects.MAX_MESSAGE_BYTES
    task = await fleet.post(["nginx"], nodeNames=names, batchSize=MANY)
    done = 0
    while done < MANY:  # on a disk that others use it takes minutes: it is waited while it goes on
        failed = partial(_more_failed, done)
        done = (await fleet.until(task, failed))["progress"]["failedNodes"]
    seen = await fleet.over(task)
    assert seen["status"] == "failed"
    assert seen["progress"]["failedNodes"] == MANY
    assert (len(seen["failedNodeDetails"]), seen["failedNodeDetailsTotal"]) == (100, MANY)
    assert len(await fleet.nodes(task, state="failed")) == 1000
    bus = await open_bus(nats_server)
    last = None
    async with asyncio.timeout(PATIENCE):
        while last is None:
            last = await bus.last(subjects.EVENTS, subjects.event("task.failed", task))
            await asyncio.sleep(0.1)
    assert len(last.data) <= subjects.MAX_MESSAGE_BYTES
    kinds: dict[str, int] = {}
    async for records in bus.replay(subjects.EVENTS, subjects.events_of(task)):
        for record in records:
            key = parse_event(record.subject)
            assert key is not None
            kinds[key.type] = kinds.get(key.type, 0) + 1
            assert msgspec.json.decode(record.data)["specversion"] == "1.0"
    assert kinds["node.failed"] == MANY
    assert kinds["task.failed"] == 1


async def test_a_store_that_is_full_is_said_and_survived(
    fleet: Fleet, start_nats: StartNats
) -> None:
    """Not ready with the reason, POST 503 and reads go on; room heals it, and nothing is lost."""
    room = 5_000_000
    store = str(fleet.folder / "store")
    server = await start_nats(jetstream={"store_dir": store, "max_file_store": room})
    fleet.nats_settings = {"IPS_NATS_URL": server.url}
    small = {"IPS_EVENTS_MAX_BYTES": "1000000", "IPS_AUDIT_MAX_BYTES": "1000000"}
    coordinator = await fleet.add_coordinator(small)
    tasks = await fill(fleet)
    assert (await fleet.get(f"/tasks/{tasks[0]}"))["taskId"] == tasks[0]
    async with fleet.http.delete(f"{fleet.api}/tasks/{tasks[-1]}") as answer:
        assert answer.status == 503
    async with asyncio.timeout(PATIENCE):
        while True:
            async with fleet.http.get(f"{coordinator.url}/readyz") as answer:
                if not (await answer.json())["takesWrites"]:
                    break
            await asyncio.sleep(0.1)
    assert (await fleet.get(f"/tasks/{tasks[0]}"))["taskId"] == tasks[0]
    await server.stop()
    server.reconfigure(jetstream={"store_dir": store, "max_file_store": 2 * room})
    await server.start()
    await coordinator.ready()
    listed = await fleet.get("/tasks?limit=1")
    assert listed["total"] >= len(tasks)
    # What the probes of the store left behind harms no later start.
    await coordinator.kill()
    coordinator.start()
    await coordinator.ready()


async def fill(fleet: Fleet) -> list[str]:
    """Create tasks until the store is full; those that it took."""
    body = {"images": ["nginx"], "nodeSelector": {f"k{n}": "v" * 60 for n in range(400)}}
    tasks: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while True:
            async with fleet.http.post(f"{fleet.api}/tasks", json=body) as answer:
                if answer.status == 503:
                    assert (await answer.json())["detail"]
                    return tasks
                assert answer.status == 201
                tasks.append((await answer.json())["taskId"])


async def test_a_full_disk_is_noticed_and_healed_without_any_request(
    fleet: Fleet, make_disk: MakeDisk
) -> None:
    """Outcomes alone would be written; the node's work is kept and counts when there is room."""
    disk = make_disk("64m")
    settings = {"IPS_DATA_DIR": str(disk), "IPS_EVENTS_MAX_BYTES": "1000000"}
    coordinator = await fleet.add_coordinator(settings)
    await fleet.add_agents(1)
    await fleet.known_nodes(1)
    fleet.hold("node-1")
    task = await fleet.post(["nginx"])
    await fleet.until(task, lambda seen: seen["progress"]["pullingNodes"] == 1)
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    fleet.let_go()
    async with asyncio.timeout(PATIENCE):
        while await is_ready(fleet, coordinator):
            await asyncio.sleep(0.1)
    ballast.unlink()
    assert (await fleet.over(task))["status"] == "completed"
    await coordinator.ready()


async def is_ready(fleet: Fleet, coordinator: Coordinator) -> bool:
    """Whether it takes writes, by what it tells Kubernetes."""
    async with fleet.http.get(f"{coordinator.url}/readyz") as answer:
        return answer.status == 200 and bool((await answer.json())["takesWrites"])
