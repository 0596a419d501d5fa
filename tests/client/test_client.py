"""Both clients against a real coordinator with agents."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ips_client import (
    AsyncClient,
    BadRequest,
    Client,
    Closed,
    Conflict,
    Event,
    LiveAgents,
    LiveNodes,
    NotFound,
    Progress,
    Refused,
    ServerUnreachable,
    Task,
    TimeLimit,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from ips_client.watching import QUIET_SECONDS

from sandbox.certificates import self_signed
from sandbox.ports import free_port
from tests.client.between import Between
from tests.client.conftest import NODES, Service, kill, restart
from tests.client.faces import MakeFace
from tests.client.images import failing, unique
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.system

PutBetween = Callable[..., Between]
NO_TASK = "task-20200101-000000-00000000"


# ── tasks ────────────────────────────────────────────────────────────────────────────────────


def test_every_field(face: MakeFace, service: Service, image: str) -> None:
    """What is created comes back, typed."""
    task: Task = face(service.url).do(
        "create",
        [image],
        batch_size=2,
        priority=7,
        max_retries=1,
        retry_strategy="exponential",
        retry_delay=2,
        webhook_url="http://127.0.0.1:9/secret",
        node_selector={"workload": "compute"},
        match_expressions=[{"key": "zone", "operator": "In", "values": ["b"]}],
        node_names=["node-2"],
        max_failed_nodes="10%",
        rollout="rolling",
        image_pull_policy="Always",
        pull_timeout_seconds=60,
    )
    assert task.images == (image,)
    assert (task.batch_size, task.priority, task.max_retries) == (2, 7, 1)
    assert (task.retry_strategy, task.retry_delay) == ("exponential", 2)
    assert task.webhook_url == "http://127.0.0.1:9"
    assert task.node_selector == {"workload": "compute"}
    assert [each.values for each in task.match_expressions] == [("b",)]
    assert (task.max_failed_nodes, task.rollout) == ("10%", "rolling")
    assert (task.image_pull_policy, task.pull_timeout_seconds) == ("Always", 60)
    assert datetime.now(UTC) - task.created_at < timedelta(minutes=1)
    assert not task.is_over
    waited = face(service.url).do("wait", task.task_id)
    assert waited.task.progress.total_nodes == 1


def test_wait_for_a_good_end(face: MakeFace, service: Service, image: str) -> None:
    """Progress is told on the way, and never falls back."""
    told: list[Progress] = []
    task = face(service.url).do("create", [image], batch_size=1)
    waited = face(service.url).do("wait", task.task_id, on_progress=told.append)
    assert waited.completed
    assert waited.failures == ()
    assert waited.task.progress.completed_nodes == NODES
    done = [progress.task.progress.completed_nodes for progress in told]
    assert done == sorted(done)
    assert {name for progress in told for name in progress.nodes} <= {"node-1", "node-2", "node-3"}
    assert face(service.url).do("get", task.task_id) == waited.task


def test_wait_for_a_bad_end(face: MakeFace, service: Service, image: str) -> None:
    """Says which nodes failed, with which image, and why."""
    bad = failing()
    task = face(service.url).do("create", [image, bad])
    waited = face(service.url).do("wait", task.task_id)
    assert not waited.completed
    found = {(each.node_name, each.image, each.reason) for each in waited.failures}
    assert found == {(f"node-{n}", bad, "ImageNotFound") for n in range(1, NODES + 1)}
    assert all(bad in each.message for each in waited.failures)


def test_watch_ends_with_the_task(face: MakeFace, service: Service) -> None:
    """The iterator's last value is over, and a task that is over has only that."""
    held = service.hold()
    task = face(service.url).do("create", [held.image])
    seen = face(service.url).some("watch", task.task_id, on_value=lambda _: held.let_go())
    assert [progress.task.is_over for progress in seen[-2:]] == [False, True]
    again = face(service.url).some("watch", task.task_id)
    assert [progress.task.status for progress in again] == ["completed"]


def test_time_limit(face: MakeFace, service: Service) -> None:
    """The task goes on and is handed over as it was last seen."""
    task = face(service.url).do("create", [service.hold().image])
    told: list[Progress] = []
    with pytest.raises(TimeLimit) as caught:
        face(service.url).do("wait", task.task_id, time_limit=2, on_progress=told.append)
    assert caught.value.task is (told[-1].task if told else None)
    assert all(not progress.task.is_over for progress in told)
    assert face(service.url).do("cancel", task.task_id).status == "cancelled"
    assert face(service.url).do("wait", task.task_id).task.status == "cancelled"


def test_list(face: MakeFace, service: Service, client: Client) -> None:
    """All pages, each task once, newest first, and by status."""
    made = [
        client.create([unique("many")], node_selector={"workload": "none"}).task_id
        for _ in range(105)
    ]
    for task_id in made:
        client.wait(task_id)
    listed = [task.task_id for task in face(service.url).some("list")]
    assert listed[: len(made)] == made[::-1]
    assert len(set(listed)) == len(listed)
    failed = {task.task_id for task in face(service.url).some("list", "failed")}
    assert failed >= set(made)
    assert not failed.intersection(t.task_id for t in face(service.url).some("list", "completed"))


def test_retry(face: MakeFace, service: Service, image: str) -> None:
    """A new task for what failed, or for all."""
    task = face(service.url).do("create", [failing()], node_names=["node-1"])
    face(service.url).do("wait", task.task_id)
    again = face(service.url).do("retry", task.task_id)
    assert again.retry_of == task.task_id
    assert face(service.url).do("wait", again.task_id).task.progress.failed_nodes == 1
    good = face(service.url).do("create", [image])
    face(service.url).do("wait", good.task_id)
    assert face(service.url).do("retry", good.task_id, nodes="all").retry_of == good.task_id
    with pytest.raises(Conflict):
        face(service.url).do("retry", good.task_id)


def test_nodes(face: MakeFace, service: Service, image: str) -> None:
    """All nodes, those that match, one, and those of a task."""
    names = [f"node-{n}" for n in range(1, NODES + 1)]
    assert [node.name for node in face(service.url).some("nodes")] == names
    assert [node.name for node in face(service.url).some("nodes", "zone in (b)")] == names[1:]
    node = face(service.url).do("node", "node-1")
    assert (node.labels["zone"], node.driver, node.connected) == ("a", "simulated", True)
    task = face(service.url).do("create", [image], batch_size=2)
    face(service.url).do("wait", task.task_id)
    nodes = face(service.url).some("task_nodes", task.task_id)
    assert [(each.node_name, each.batch) for each in nodes] == [
        ("node-1", 1),
        ("node-2", 1),
        ("node-3", 2),
    ]
    assert nodes[0].images[0].state == "pulled"
    assert face(service.url).some("task_nodes", task.task_id, ["failed", "cancelled"]) == []


# ── events ───────────────────────────────────────────────────────────────────────────────────


def test_events(face: MakeFace, service: Service, image: str) -> None:
    """One task's, from the first to the last; then from a position in the middle."""
    task = face(service.url).do("create", [image])
    seen = face(service.url).some("events", task.task_id)
    types = [event.type for event in seen]
    assert (types[0], types[-1]) == ("task.created", "task.completed")
    assert types.count("node.succeeded") == NODES
    assert all(event.task_id == task.task_id for event in seen)
    assert seen[-1].task.progress.completed_nodes == NODES
    assert {e.node.node_name for e in seen if e.node} == {"node-1", "node-2", "node-3"}
    rest = face(service.url).some("events", task.task_id, after=seen[2].position)
    assert [event.id for event in rest] == [event.id for event in seen[3:]]
    assert face(service.url).some("events", task.task_id, after=seen[-1].position) == []


def test_live_frames(face: MakeFace, service: Service) -> None:
    """Nodes of a task as they pull, and the fleet as it is."""
    held = service.hold()
    task = face(service.url).do("create", [held.image])

    def look(each: object) -> None:
        if isinstance(each, LiveNodes) and any((node.images[0].bytes or 0) for node in each.nodes):
            held.let_go()

    seen = face(service.url).some("events", task.task_id, live=True, on_value=look)
    live = [node for each in seen if isinstance(each, LiveNodes) for node in each.nodes]
    assert {node.node_name for node in live if node.state == "pulling"}
    assert any((node.images[0].bytes or 0) > 0 for node in live)

    with busy(service):
        (fleet,) = face(service.url).some("events", live=True, most=1)
    assert isinstance(fleet, LiveAgents | Event)


@contextmanager
def busy(service: Service) -> Iterator[None]:
    """A fleet on which something happens as long as the block lasts: a quiet one says nothing."""
    enough = threading.Event()

    def create() -> None:
        with Client(service.url) as client:
            while not enough.is_set():
                client.wait(client.create([unique("busy")]).task_id)

    thread = threading.Thread(target=create)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize("killed", [False, True])
def test_a_lost_connection_is_resumed(
    face: MakeFace, frail_service: Service, between: PutBetween, killed: bool
) -> None:
    """Neither a gap nor a double, whether the line was cut or the server killed."""
    proxy = between(frail_service.url)
    held = frail_service.hold()
    held.let_go("node-1")
    task = face(frail_service.url).do("create", [held.image], batch_size=1)
    disturbed: list[str] = []

    def disturb(event: Event) -> None:
        if event.type == "node.succeeded" and not disturbed:
            disturbed.append(event.position)
            if killed:
                restart(frail_service)
            else:
                proxy.cut()
            held.let_go()

    seen = face(proxy.url).some("events", task.task_id, on_value=disturb)
    assert disturbed
    kept = face(frail_service.url).some("events", task.task_id)
    assert [event.id for event in seen] == [event.id for event in kept]
    assert sum("/events" in line for line in proxy.requests) >= 2


# ── bad days ─────────────────────────────────────────────────────────────────────────────────


def test_waiting_over_a_restart(face: MakeFace, frail_service: Service) -> None:
    """The server is killed and started again in the middle: trouble is told, the end is right."""
    held = frail_service.hold()
    task = face(frail_service.url).do("create", [held.image], batch_size=2)
    told: list[Progress] = []
    killed: list[str] = []

    def note(progress: Progress) -> None:
        told.append(progress)
        if progress.nodes and not killed:
            killed.append(task.task_id)
            kill(frail_service)
        elif progress.trouble and frail_service.coordinator.pid is None:
            frail_service.coordinator.start()
        elif killed and not progress.trouble:
            held.let_go()

    waited = face(frail_service.url).do("wait", task.task_id, on_progress=note)
    assert waited.completed
    assert any(isinstance(progress.trouble, ServerUnreachable) for progress in told)
    assert told[-1].trouble is None


@pytest.mark.parametrize("buffers", [10**9, 4096])
def test_a_proxy_that_holds_events_back(
    face: MakeFace, service: Service, between: PutBetween, buffers: int
) -> None:
    """Asking now and then takes the stream's place."""
    proxy = between(service.url, buffers=buffers)
    held = service.hold()
    task = face(service.url).do("create", [held.image], batch_size=1)
    told: list[Progress] = []

    def note(progress: Progress) -> None:
        told.append(progress)
        held.let_go(f"node-{progress.task.progress.completed_nodes + 1}")

    begin = time.monotonic()
    waited = face(proxy.url).do("wait", task.task_id, on_progress=note)
    assert waited.completed
    done = [progress.task.progress.completed_nodes for progress in told]
    assert done == sorted(done)
    assert len(set(done)) > 2, "nothing was told on the way"
    asked = proxy.requests.count(f"GET /api/v1/tasks/{task.task_id} HTTP/1.1")
    least = 1 if buffers == 4096 else 3  # more of the stream comes through, as the buffer fills
    assert least <= asked <= 3 + (time.monotonic() - begin) / QUIET_SECONDS


def test_a_create_whose_answer_is_lost(
    face: MakeFace, service: Service, client: Client, between: PutBetween, image: str
) -> None:
    """Is sent again, and is one task all the same."""
    proxy = between(service.url, drops=2)
    task = face(proxy.url).do("create", [image])
    assert [line for line in proxy.requests if line.startswith("POST")] == [
        "POST /api/v1/tasks HTTP/1.1"
    ] * 3
    assert [each.task_id for each in client.list() if image in each.images] == [task.task_id]


def test_a_retry_whose_answer_is_lost(
    face: MakeFace, service: Service, client: Client, between: PutBetween
) -> None:
    """As a create."""
    first = client.create([failing()])
    client.wait(first.task_id)
    again = face(between(service.url, drops=1).url).do("retry", first.task_id)
    made = [each.task_id for each in client.list() if each.retry_of == first.task_id]
    assert made == [again.task_id]


def test_a_cancel_whose_answer_is_lost(
    face: MakeFace, service: Service, client: Client, between: PutBetween
) -> None:
    """The second try's conflict is the first one's success; a real conflict is told."""
    task = client.create([unique("x")], node_names=["absent"])
    proxy = between(service.url, drops=1)
    assert face(proxy.url).do("cancel", task.task_id).status == "cancelled"
    with pytest.raises(Conflict):
        face(service.url).do("cancel", task.task_id)


def test_a_key_used_twice(face: MakeFace, service: Service, image: str) -> None:
    """One task for one body; a conflict for another."""
    create = face(service.url).do
    first = create("create", [image], idempotency_key=image)
    assert create("create", [image], idempotency_key=image).task_id == first.task_id
    with pytest.raises(Conflict):
        create("create", [unique("other")], idempotency_key=image)


def test_a_connection_that_was_closed_while_idle(service: Service, between: PutBetween) -> None:
    """Is replaced without a pause and without a word."""
    proxy = between(service.url)
    with Client(proxy.url, patience=0) as client:
        assert len(list(client.nodes())) == NODES
        proxy.cut()
        assert len(list(client.nodes())) == NODES
    assert len(proxy.requests) == 2


def test_connections_are_kept(service: Service, between: PutBetween) -> None:
    """Several calls go over one connection."""
    proxy = between(service.url)
    with Client(proxy.url) as client:
        for _ in range(5):
            client.node("node-1")
    assert len(proxy.requests) == 5
    assert proxy.connections == 1


def test_closing_ends_a_stream_in_another_thread(service: Service) -> None:
    """And a wait, and a pause; afterwards nothing can be asked."""
    held = service.hold()
    with Client(service.url) as other:
        task = other.create([held.image]).task_id
        away = Client(f"http://127.0.0.1:{free_port()}", patience=600)
        client = Client(service.url)
        begun = [threading.Event() for _ in range(2)]
        ended: list[str] = []

        def follow() -> None:
            for _ in client.events(task):
                begun[0].set()

        def wait() -> None:
            client.wait(task, on_progress=lambda _: begun[1].set())

        def until_closed(work: Callable[[], object]) -> None:
            with pytest.raises(Closed):
                work()
            ended.append(work.__name__)

        works = (follow, wait, lambda: away.get(task))
        threads = [threading.Thread(target=until_closed, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        assert all(event.wait(PATIENCE) for event in begun)
        client.close()
        away.close()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(ended) == len(works)
        with pytest.raises(Closed):
            client.get(task)
        other.cancel(task)


async def test_closing_ends_a_stream_in_another_task(service: Service) -> None:
    """The same for the asynchronous face."""
    client = AsyncClient(service.url)
    task = await client.create([service.hold().image])
    begun = asyncio.Event()

    async def follow() -> None:
        async for _ in client.events(task.task_id):
            begun.set()

    following = asyncio.ensure_future(follow())
    await begun.wait()
    await client.close()
    with pytest.raises(Closed):
        await following
    with pytest.raises(Closed):
        await client.get(task.task_id)
    async with AsyncClient(service.url) as other:
        await other.cancel(task.task_id)


def test_server_away(face: MakeFace) -> None:
    """Patience ends."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ServerUnreachable, match=f"{url} does not answer: connection refused"):
        face(url, patience=0.3).do("get", NO_TASK)
    with pytest.raises(ServerUnreachable):
        face(url, patience=0.3).do("wait", NO_TASK)
    with pytest.raises(ServerUnreachable):
        face(url, follow_patience=0.3).some("events")


def test_a_stream_may_be_silent(
    face: MakeFace, service: Service, between: PutBetween, client: Client
) -> None:
    """For longer than a server may be within a request: the connection is kept."""
    proxy = between(service.url)
    task = face(service.url).do("create", [unique("x")], node_names=["absent"])
    timer = threading.Timer(6, client.cancel, [task.task_id])

    def start(event: Event) -> None:
        if event.type == "task.started":
            timer.start()

    seen = face(proxy.url, timeout=4).some("events", task.task_id, on_value=start)
    assert seen[-1].type == "task.cancelled"
    timer.join()
    assert sum("/events" in line for line in proxy.requests) == 1


def test_an_unknown_host(face: MakeFace) -> None:
    """Is not asked for twice."""
    with pytest.raises(ServerUnreachable, match="no such host"):
        face("http://nowhere.invalid", patience=600).do("get", NO_TASK)


def test_a_silent_server(face: MakeFace, between: PutBetween) -> None:
    """Does not hold anybody for ever."""
    with pytest.raises(ServerUnreachable, match=r"no answer within 0\.2 s"):
        face(between(says=b"").url, patience=0, timeout=0.2).do("get", NO_TASK)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", Unauthorized),
        (b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", Unavailable),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", UnexpectedAnswer),
        (b"HTTP/1.1 302 Found\r\nLocation: /l\r\nContent-Length: 0\r\n\r\n", UnexpectedAnswer),
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", UnexpectedAnswer),
        (b"SSH-2.0-OpenSSH_9.2\r\n", UnexpectedAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{", ServerUnreachable),
    ],
)
def test_something_else_answers(
    face: MakeFace, between: PutBetween, says: bytes, error: type[Exception]
) -> None:
    """Each has its error, for a question as for a stream."""
    options = {"patience": 0, "follow_patience": 0}
    with pytest.raises(error):
        face(between(says=says).url, **options).do("get", NO_TASK)
    with pytest.raises(error):
        face(between(says=says).url, **options).some("events")


def test_refusals(face: MakeFace, service: Service) -> None:
    """Carry the service's own document."""
    with pytest.raises(NotFound, match=f'Task "{NO_TASK}" not found') as missing:
        face(service.url).do("get", NO_TASK)
    assert missing.value.problem.status == 404
    with pytest.raises(BadRequest) as bad:
        face(service.url).do("create", [], batch_size=0)
    assert [fault.field for fault in bad.value.problem.errors] == ["/images", "/batchSize"]
    with pytest.raises(NotFound):
        face(service.url).do("wait", NO_TASK)
    with pytest.raises(NotFound):
        face(service.url).some("events", NO_TASK)
    assert issubclass(NotFound, Refused)


def test_a_key_that_cannot_be_sent(face: MakeFace, service: Service) -> None:
    """Is the caller's fault, not the network's."""
    with pytest.raises(ValueError, match="cannot be sent"):
        face(service.url).do("create", ["x"], idempotency_key="a\nb")


def test_a_path_before_the_api(face: MakeFace, service: Service, between: PutBetween) -> None:
    """An ingress may serve the service below a path; here nothing does, and that is said."""
    proxy = between(service.url)
    with pytest.raises(NotFound):
        face(f"{proxy.url}/ips/").do("get", NO_TASK)
    assert proxy.requests == [f"GET /ips/api/v1/tasks/{NO_TASK} HTTP/1.1"]


def test_tls(face: MakeFace, service: Service, between: PutBetween, tmp_path: Path) -> None:
    """Https works with a certificate that is trusted, and says so where it is not."""
    certificate = self_signed(tmp_path)
    proxy = between(service.url, tls=certificate.server_context())
    trusting = face(proxy.url, ssl_context=certificate.client_context())
    assert len(trusting.some("nodes")) == NODES
    with pytest.raises(ServerUnreachable, match="certificate is not trusted"):
        face(proxy.url, patience=600).some("nodes")
