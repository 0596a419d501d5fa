"""What one client can cost the others: bodies, connections, streams, questions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from common import redaction
from coordinator import event_feed
from coordinator.api import faults
from coordinator.api.app import make_app
from coordinator.api.bodies import INLINE_BYTES, MOST_ENTRIES, BodyRoom, decode, entries
from coordinator.api.create_body import SPEC_BYTES, read_order
from coordinator.api.problems import LIMIT_BYTES, Refusal
from coordinator.api.server import make_runner, most_connections
from coordinator.event_feed import EventFeed
from coordinator.snapshots import KnownNode
from tests.api.conftest import PACE, Client
from tests.api.fake_engine import FakeEngine
from tests.api.fake_event_log import FakeEventLog, event, unexpected
from tests.fixtures.patience import PATIENCE

TASKS = "/api/v1/tasks"
TASK = "task-20260116-151234-0000000a"
HALF = b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Le"
SLOW = (
    b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)


# ── bodies ───────────────────────────────────────────────────────────────────────────────────


def test_too_many_entries_are_refused_before_any_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """180,000 labels are not even decoded."""
    labels = {f"key-{number}": "v" for number in range(180_000)}
    body = msgspec.json.encode({"images": ["a"], "nodeSelector": labels})
    assert len(body) < LIMIT_BYTES
    monkeypatch.setattr(msgspec.json, "decode", unexpected)
    with pytest.raises(Refusal) as refused:
        decode(body)
    assert refused.value.faults is not None
    assert [fault.message_code for fault in refused.value.faults] == ["body.tooManyEntries"]


def test_whatever_a_task_may_hold_has_fewer_entries_than_are_refused() -> None:
    """10,000 names beside a specification of as many entries as its bytes can hold."""
    values = [""] * 10_000
    expressions = [{"key": "a", "operator": "In", "values": values}]
    body = {"images": ["a"], "matchExpressions": expressions}
    names = [f"n{number}" for number in range(10_000)]
    encoded = msgspec.json.encode(body | {"nodeNames": names})
    assert len(msgspec.json.encode(expressions)) < SPEC_BYTES
    assert entries(encoded) < MOST_ENTRIES
    assert SPEC_BYTES // 3 + len(names) < MOST_ENTRIES
    assert read_order(decode(encoded)).names == tuple(sorted(names))


@pytest.mark.parametrize("field", ["nodeSelector", "matchExpressions", "values"])
def test_a_collection_that_is_too_long_is_one_fault(field: str) -> None:
    """Its entries are not walked."""
    exists = {"key": "a", "operator": "Exists"}
    is_in = {"key": "a", "operator": "In", "values": ["v"] * 10_001}
    collections: dict[str, Any] = {
        "nodeSelector": {f"-{number}": 1 for number in range(10_001)},
        "matchExpressions": [exists] * 1001,
        "values": [is_in],
    }
    name = "matchExpressions" if field == "values" else field
    collection = {name: collections[field]}
    with pytest.raises(Refusal) as refused:
        read_order({"images": ["a"]} | collection)
    assert refused.value.faults is not None
    assert len(refused.value.faults) == 1


async def test_a_large_body_is_not_checked_in_the_loops_thread(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it holds nobody up; a small one is, which is faster."""
    seen: list[tuple[bool, bool]] = []

    def read(body: Any) -> Any:
        large = len(msgspec.json.encode(body)) > INLINE_BYTES
        seen.append((large, threading.current_thread() is threading.main_thread()))
        return read_order(body)

    monkeypatch.setattr("coordinator.api.tasks.read_order", read)
    names = [f"node-{number}" for number in range(5_000)]
    for extra in ({}, {"nodeNames": names}):
        answer = await client.post(TASKS, json={"images": ["a"]} | extra)
        assert answer.status == 201
    assert seen == [(False, True), (True, False)]


async def test_a_refusal_of_a_large_body_is_answered_as_any(client: Client) -> None:
    """What the thread raises is the answer."""
    answer = await client.post(TASKS, json={"images": ["a"], "nodeSelector": {"k" * 9000: "v"}})
    assert answer.status == 400
    assert (await answer.json())["errors"][0]["messageCode"] == "value.notLabelKey"


def test_only_the_beginning_of_a_long_text_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are looked for before a text is cut, but not in 3 MiB."""
    searched: list[int] = []

    def redact(text: str) -> str:
        searched.append(len(text))
        return redaction.redact(text)

    monkeypatch.setattr(faults, "redact", redact)
    assert "secret" not in faults.clipped("http://me:secret@host/" + "x" * LIMIT_BYTES)
    assert searched == [faults.LOOKED_AT]


@asynccontextmanager
async def serving(**bounds: Any) -> AsyncIterator[int]:
    """The application on a port of its own."""
    room = BodyRoom(**bounds.pop("room", {}))
    app = make_app(FakeEngine(), EventFeed(unexpected), CollectorRegistry(), body_room=room)
    runner = make_runner(app, shutdown_timeout=1.0, **bounds)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def dial(port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect and send some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    """The status of the answer; nothing where the connection was cut."""
    try:
        return (await reader.readline()).partition(b" ")[2][:3]
    except ConnectionError:
        return b""


async def test_a_body_that_does_not_come_is_given_up() -> None:
    """408, and the connection ends."""
    async with serving(room={"within": 0.05}) as port:
        reader, writer = await dial(port, SLOW)
        assert await answer_of(reader) == b"408"
        writer.close()


async def test_bodies_have_a_bound_together(client: Client) -> None:
    """What is too much at once is refused for now, and takes nothing with it."""
    async with serving(room={"most": 50}) as port:
        for size, status in ((60, b"503"), (45, b"415"), (60, b"503"), (45, b"415")):
            head = f"POST {TASKS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
            reader, writer = await dial(port, head.encode() + b"x" * size)
            assert await answer_of(reader) == status
            writer.close()
    assert (await client.post(TASKS, json={"images": ["a"]})).status == 201


# ── connections ──────────────────────────────────────────────────────────────────────────────


async def test_headers_that_do_not_come_are_given_up() -> None:
    """A connection that has made its request is not concerned."""
    async with serving(headers_seconds=0.05) as port:
        silent, half = await dial(port, b""), await dial(port, HALF)
        for reader, writer in (silent, half):
            assert await answer_of(reader) == b""
            writer.close()


async def test_who_is_quiet_for_longest_makes_room() -> None:
    """However many half requests there are, a whole one is answered."""
    async with serving(most=3) as port:
        opened = [await dial(port, HALF) for _ in range(10)]
        reader, writer = await dial(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await answer_of(reader) == b"200"
        cut = [await answer_of(reader) for reader, _ in opened[:8]]
        assert cut == [b""] * 8
        for _, other in [*opened, (reader, writer)]:
            other.close()


async def test_who_has_a_request_under_way_is_not_cut() -> None:
    """Where nobody is quiet, a new connection is not taken."""
    async with serving(most=2, room={"within": 1.0}) as port:
        busy = [await dial(port, SLOW) for _ in range(2)]
        for _ in range(3):
            reader, writer = await dial(port, HALF)
            assert await answer_of(reader) == b""
            writer.close()
        for reader, writer in busy:
            assert await answer_of(reader) == b"408"
            writer.close()


def test_connections_leave_files_for_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """However low the limit is."""
    for limit in (1, 16, 1024, 4096, 2**20):
        monkeypatch.setattr("resource.getrlimit", lambda _, limit=limit: (limit, limit))
        assert 1 <= most_connections() <= max(1, limit * 3 // 4)


# ── questions ────────────────────────────────────────────────────────────────────────────────


async def rounds_during(request: Awaitable[Any]) -> int:
    """How often others got their turn while a request was answered."""
    count = 0

    async def tick() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(0)
            count += 1

    ticking = asyncio.create_task(tick())
    answer = await request
    ticking.cancel()
    assert answer.status == 200
    return count


async def test_a_selector_of_many_requirements_lets_others_go_on(
    client: Client, engine: FakeEngine
) -> None:
    """2,000 requirements on 200 nodes are looked at a few thousand at a time."""
    for number in range(200):
        engine.known[f"node-{number}"] = KnownNode(f"node-{number}", labels={"a": "b"})
    selector = ",".join(["!b"] * 2_000)
    alone = await rounds_during(client.get("/api/v1/nodes?limit=1"))
    assert (
        await rounds_during(client.get(f"/api/v1/nodes?limit=1&selector={selector}")) > alone + 60
    )


async def test_faults_of_a_question_are_bounded(client: Client) -> None:
    """The answer to 8 KiB of nonsense is not a hundred times as long."""
    states = ",".join(f"s{number}" for number in range(1500))
    answer = await client.get(f"{TASKS}/task-1/nodes?state={states}")
    assert answer.status == 404
    engine_answer = await client.post(TASKS, json={"images": ["a"]})
    task = (await engine_answer.json())["taskId"]
    answer = await client.get(f"{TASKS}/{task}/nodes?state={states}")
    assert answer.status == 400
    assert len((await answer.json())["errors"]) == 100


# ── streams ──────────────────────────────────────────────────────────────────────────────────


async def test_what_waits_for_slow_readers_has_a_bound_together(
    feed: EventFeed, event_log: FakeEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payload counts once however many wait for it; the slowest are cut, others go on."""
    monkeypatch.setattr(event_feed, "WAITING_BYTES", 2_000)
    slow = [await feed.open(None, None, asyncio.Event().set) for _ in range(5)]
    wake = asyncio.Event()
    quick = await feed.open(None, None, wake.set)
    taken = 0
    for number in range(100):
        await event_log.publish("task.progress", TASK, event("task.progress", number))
        await wake.wait()
        wake.clear()
        taken += len(quick.take())
        assert feed._waiting <= 2_000
    assert taken == 100
    assert not quick.ended
    assert all(reading.ended for reading in slow)
    for reading in [*slow, quick]:
        reading.close()
    assert feed._waiting == 0


async def test_of_what_was_kept_a_reader_has_one_part_in_memory(
    feed: EventFeed, event_log: FakeEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is not being read while its client takes that; nothing is missed or told twice."""
    monkeypatch.setattr(event_feed, "REPLAY_BYTES", 300)
    sizes = []
    for number in range(30):
        data = event("task.progress", number)
        sizes.append(len(data))
        await event_log.publish("task.progress", TASK, data)
    found: list[int] = []
    async for events in feed.stored(None, 1, 30):
        assert sum(len(each.data) for each in events) < 300 + max(sizes)
        assert not feed._replays.locked()
        found += [each.position for each in events]
    assert found == list(range(1, 31))


async def test_a_stream_that_is_one_too_many_is_refused(
    engine: FakeEngine,
    feed: EventFeed,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> None:
    """503 with a code; a place that comes free is given."""
    app = make_app(engine, feed, CollectorRegistry(), pace=PACE, most_streams=1)
    client = await aiohttp_client(app)
    async with client.get("/api/v1/events") as first:
        assert first.status == 200
        refused = await client.get("/api/v1/events")
        assert refused.status == 503
        assert (await refused.json())["messageCode"] == "streams.tooMany"
    async with asyncio.timeout(PATIENCE):
        while feed._readings:
            await asyncio.sleep(0)
    async with client.get("/api/v1/events") as again:
        assert again.status == 200
