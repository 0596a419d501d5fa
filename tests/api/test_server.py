from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from coordinator.api.app import make_app
from coordinator.api.server import make_runner
from coordinator.event_feed import EventFeed
from tests.api.fake_engine import FakeEngine
from tests.api.fake_event_log import unexpected

HEAD = b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CUT_SHORT = HEAD + b"Content-Length: 100\r\n\r\n{"


@pytest.fixture
async def send() -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """Send bytes to a server, as somebody might who does not speak HTTP; its answer."""
    app = make_app(FakeEngine(), EventFeed(unexpected), CollectorRegistry())
    runner = make_runner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    async def send(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        if data == CUT_SHORT:
            writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    yield send
    await runner.cleanup()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
        HEAD + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nabcde",
        CUT_SHORT,
        b"GET /api/v1/tasks?status=\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_nonsense_is_the_clients_fault(
    send: Callable[[bytes], Awaitable[bytes]], data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """400, or nothing where nobody waits for it, and no error in our log."""
    with caplog.at_level(logging.DEBUG):
        answer = await send(data)
    assert answer.split(b" ")[1:2] == ([] if data == CUT_SHORT else [b"400"])
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("path", [b"/health", b"/no-such", b"/ nonsense \xff"])
async def test_no_answer_names_a_version(
    send: Callable[[bytes], Awaitable[bytes]], path: bytes
) -> None:
    """Neither ours nor the library's, whether the application is reached or not."""
    answer = await send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    named = [line for line in answer.split(b"\r\n") if line.lower().startswith(b"server:")]
    assert named == [b"Server: ips"]
    assert b"aiohttp" not in answer.lower()


async def test_each_request_has_a_line(
    send: Callable[[bytes], Awaitable[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    """With fields, when its answer has ended; looks only for who debugs, and once."""
    with caplog.at_level(logging.DEBUG):
        for request in (b"POST /api/v1/tasks", b"GET /api/v1/tasks?limit=1", b"GET /health"):
            await send(request + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    lines: list[Any] = [record for record in caplog.records if record.message == "request"]
    assert [line.levelno for line in lines] == [
        logging.INFO,
        logging.DEBUG,
        logging.DEBUG,
    ]
    fields = lines[1].fields
    assert fields["seconds"] >= 0
    assert fields["client"] == "127.0.0.1"
    assert (fields["method"], fields["path"], fields["status"]) == (
        "GET",
        "/api/v1/tasks?limit=1",
        200,
    )
    assert fields["bytes"] > 0
