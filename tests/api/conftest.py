"""The application over fakes, with a real client."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry

from coordinator.api.app import make_app
from coordinator.api.guard import Entrance
from coordinator.api.streams import Pace
from coordinator.api.web_files import WebFile
from coordinator.event_feed import EventFeed
from tests.api.fake_engine import FakeEngine
from tests.api.fake_event_log import FakeEventLog, unexpected

Client = TestClient[web.Request, web.Application]
Guarded = Callable[[Entrance], Awaitable[Client]]
PACE = Pace(comment=0.2, live=0.05, patience=5.0)


@pytest.fixture(scope="session", autouse=True)
def _files_are_compressed_once() -> Iterator[None]:
    """Each application reads and compresses the whole page, and most tests never look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WebFile, "read", functools.cache(WebFile.read))
        yield


@pytest.fixture
def engine() -> FakeEngine:
    """What the API asks; a test makes it say what it wants."""
    return FakeEngine()


@pytest.fixture
def event_log() -> FakeEventLog:
    """The stream of events; a test publishes to it."""
    return FakeEventLog()


@pytest.fixture
async def feed(event_log: FakeEventLog) -> AsyncIterator[EventFeed]:
    """A feed that runs."""
    feed = EventFeed(unexpected)
    running = asyncio.create_task(feed.run(event_log))
    await feed.running.wait()
    yield feed
    running.cancel()
    await asyncio.wait([running])


@pytest.fixture
def registry() -> CollectorRegistry:
    """Where the application's metrics are."""
    return CollectorRegistry()


@pytest.fixture
async def client(
    engine: FakeEngine,
    feed: EventFeed,
    registry: CollectorRegistry,
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> Client:
    """A client of the whole application."""
    app = make_app(engine, feed, registry, pace=PACE)
    return await aiohttp_client(app)


@pytest.fixture
def create(client: Client) -> Callable[..., Awaitable[Any]]:
    """Create a task with these fields; its document."""

    async def create(**fields: Any) -> Any:
        answer = await client.post("/api/v1/tasks", json={"images": ["nginx"]} | fields)
        assert answer.status == 201, await answer.text()
        return await answer.json()

    return create


@pytest.fixture
def guarded(
    engine: FakeEngine, feed: EventFeed, aiohttp_client: Callable[..., Awaitable[Client]]
) -> Guarded:
    """The application behind an entrance."""

    async def make(behind: Entrance) -> Client:
        app = make_app(engine, feed, CollectorRegistry(), pace=PACE, entrance=behind)
        return await aiohttp_client(app)

    return make
