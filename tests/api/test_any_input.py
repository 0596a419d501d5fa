from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from coordinator.api.app import make_app
from coordinator.api.create_body import CreateTask
from coordinator.event_feed import EventFeed
from tests.api.fake_engine import FakeEngine
from tests.api.fake_event_log import unexpected

TASK = "task-20260116-151234-00000000"
FIELDS = [field.encode_name for field in msgspec.structs.fields(CreateTask)]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["nginx", "a/b:c@d", "10%", "In", "Gt", "batch", "http://h", "", "\x00", "5"])
    | st.sampled_from([0, 1, 10**30, -1, 2**63])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.fixed_dictionaries(
            {}, optional={"key": inner, "operator": inner, "values": inner, "nodes": inner}
        )
    ),
    max_leaves=12,
)
bodies = values | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, values))
broken = st.binary() | bodies.map(lambda body: json.dumps(body).encode()[:-1])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
paths = texts.map(lambda text: quote(text, safe="/:@!$&'()*+,;=~")) | st.sampled_from(
    ["%ff", "%00", "%2f..%2f", "%C0%AE", "..", "./..//", "%", "%zz"]
)


class Loop:
    """An application and its client on a loop of their own, for a test that is not async."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self._runner = asyncio.Runner()
        self._client: TestClient[web.Request, web.Application] = self._runner.run(self._start())

    async def _start(self) -> TestClient[web.Request, web.Application]:
        app = make_app(self.engine, EventFeed(unexpected), CollectorRegistry())
        client = TestClient(TestServer(app, skip_url_asserts=True))
        await client.start_server()
        return client

    def send(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and document of an answer."""

        async def send() -> tuple[int, Any]:
            async with self._client.request(method, path, **more) as answer:
                body = await answer.read()
                if body and answer.content_type.endswith("json"):
                    return answer.status, json.loads(body)
                return answer.status, body

        return self._runner.run(send())

    def close(self) -> None:
        """End both."""
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    """One application for all examples."""
    loop = Loop()
    yield loop
    loop.close()


def check(status: int, document: Any, *expected: int) -> None:
    """An answer is one of these, and a bad request names its faults."""
    assert status in expected, document
    if status == 400:
        assert document["errors"]
        for fault in document["errors"]:
            assert fault["message"]
            assert fault["messageCode"], fault
            assert fault["field"] == "" or fault["field"][0] in "/?", fault


@given(body=bodies)
def test_any_json_is_a_task_or_a_bad_request(loop: Loop, body: Any) -> None:
    """No JSON value whatever makes the service fail."""
    headers = {"Content-Type": "application/json"}
    data = json.dumps(body).encode()
    check(*loop.send("POST", "/api/v1/tasks", data=data, headers=headers), 201, 400)
    check(
        *loop.send("POST", f"/api/v1/tasks/{TASK}/retry", data=data, headers=headers), 400, 404, 409
    )


@given(data=broken)
def test_any_bytes_are_a_task_or_a_bad_request(loop: Loop, data: bytes) -> None:
    """Nor do any bytes."""
    headers = {"Content-Type": "application/json"}
    check(*loop.send("POST", "/api/v1/tasks", data=data, headers=headers), 201, 400)


@given(
    query=st.dictionaries(
        st.sampled_from(["limit", "offset", "status", "state", "selector", "live", "lastEventId"]),
        texts | st.integers().map(str) | st.sampled_from(["true", "a in (b)", "running,failed"]),
    )
)
def test_any_query_is_answered(loop: Loop, query: dict[str, str]) -> None:
    """Nor does any query; the feed does not run here, so that no stream begins."""
    for path in ("/api/v1/tasks", "/api/v1/nodes", f"/api/v1/tasks/{TASK}/nodes"):
        check(*loop.send("GET", path, params=query), 200, 400, 404)
    check(*loop.send("GET", "/api/v1/events", params=query), 400, 503)


@given(path=paths, method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]))
def test_any_path_is_answered(loop: Loop, path: str, method: str) -> None:
    """Nor does any path."""
    for before in ("/", "/web/", "/api/v1/tasks/", "/api/v1/nodes/"):
        status, document = loop.send(method, before + path)
        assert status < 500 or status == 503, document
