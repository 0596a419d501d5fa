"""Bytes that are no text, in subjects, reply addresses and headers: NATS takes any."""

from __future__ import annotations

import asyncio

import pytest

from common import subjects
from common.bus import Bus, Received, StoreUnavailable
from common.messages import Outcome
from common.subjects import AttemptKey
from coordinator.engine.node_records import NodeRecords
from coordinator.store import Store
from tests.fixtures.memory import AnyBus, soon
from tests.fixtures.nats import NatsServer, OpenBus, eventually


async def publish_raw(nats_server: NatsServer, *messages: bytes) -> None:
    """Speak the protocol as a client may that checks nothing; wait until it was taken."""
    address = nats_server.url.removeprefix("nats://").split(":")
    reader, writer = await asyncio.open_connection(*address)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n' + b"".join(messages))
    writer.write(b"PING\r\n")
    async with asyncio.timeout(soon(10)):
        while (line := await reader.readline()) != b"PONG\r\n":
            assert not line.startswith(b"-ERR"), line
    writer.close()


HEADERS = b"NATS/1.0\r\nx\xff: \xfe\r\n\r\n"
ODD = [
    b"PUB ips.v1.heartbeat.\xff.\xfe 2\r\n{}\r\n",
    b"PUB ips.v1.heartbeat.n1.0123456789abcdef \xff\xfe 2\r\n{}\r\n",
    b"PUB ips.v1.result.\xff.n1.1 2\r\n{}\r\n",
    b"PUB $KV.IPS_TASKS.\xff 2\r\n{}\r\n",
    b"PUB $KV.IPS_NODES.\xff 2\r\n{}\r\n",
    b"PUB ips.v1.event.task.created.\xff 2\r\n{}\r\n",
    b"HPUB ips.v1.heartbeat.n2.x %d %d\r\n%b{}\r\n" % (len(HEADERS), len(HEADERS) + 2, HEADERS),
    b"HPUB ips.v1.result.a.b.c %d %d\r\n%b{}\r\n" % (len(HEADERS), len(HEADERS) + 2, HEADERS),
]


async def test_a_byte_that_is_no_text_costs_no_connection(
    nats_server: NatsServer, bus: AnyBus, open_bus: OpenBus
) -> None:
    """In a subject, a reply's address or a header; heard, stored, followed, counted and loaded."""
    assert bus.connected  # it has made the streams
    states: list[bool] = []
    other = await open_bus(nats_server, on_state=lambda connected, _: states.append(connected))
    taken: list[Received] = []
    await other.subscribe(subjects.ALL_HEARTBEATS, taken.append)
    await other.ping(5.0)
    await publish_raw(nats_server, *ODD)
    await eventually(lambda: len(taken) == 3)
    assert all(subjects.parse_heartbeat(each.subject) is None for each in taken[:1])
    poison: list[str] = []
    store = Store(other, poison.append)
    assert [head async for head in store.load_heads()] == []
    assert await store.tasks_with_outcomes() == set()
    assert await store.tasks_with_lists() == set()
    assert await NodeRecords(other, {}, poison.append).load() == {}
    following = store.watch_outcomes(1)
    key = AttemptKey("task-20260101-000000-00000001", "n1", 1)
    await store.store_outcome(key, Outcome())
    async with asyncio.timeout(soon(10)):
        async for outcomes, _ in following:
            if outcomes:
                break
    assert [outcome.key for outcome in outcomes] == [key]
    assert poison
    assert False not in states


@pytest.mark.parametrize("answer", [b"", b"\xff", b"[]", b'{"x":' + b"[" * 10_000, b'{"error": 7}'])
async def test_an_answer_that_is_none_of_jetstreams_is_no_answer(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """Whoever shares the account can answer in the server's place: it is tried again later."""

    async def call(*_: object) -> bytes:
        return answer

    monkeypatch.setattr(bus, "call", call)
    with pytest.raises(StoreUnavailable):
        await bus.stream_state(subjects.RESULTS)
    with pytest.raises(StoreUnavailable):
        await bus.store(
            subjects.result("task-20260101-000000-00000001", "n", 1), b"{}", expect_last=0
        )
    await bus._greet()
