"""What the tests of the bus share.

A module that says ``BOTH = True`` is a suite that runs twice: on a real nats-server, and on the bus
in memory in virtual time. Where the two differ, the real one is right.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from coordinator.streams import definitions
from sandbox.virtual.time import VirtualLoop
from tests.fixtures import nats
from tests.fixtures.memory import (
    AnyBus,
    AnyServer,
    MemoryConnections,
    MemoryServer,
    in_memory,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.fixtures.nats import OpenBus, StartNats


def pytest_asyncio_loop_factories(
    config: pytest.Config,  # noqa: ARG001 -- the hook's signature
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run a suite on both loops."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"nats": asyncio.new_event_loop}
    if getattr(getattr(item, "module", None), "BOTH", False):
        factories["memory"] = VirtualLoop
    return factories


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what of a suite needs a real nats-server."""
    for item in items:
        if getattr(getattr(item, "module", None), "BOTH", False):
            callspec = getattr(item, "callspec", None)
            params = callspec.params.values() if callspec is not None else ()
            if asyncio.new_event_loop in params:
                item.add_marker(pytest.mark.nats)


@pytest.fixture
async def start_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Start any number of servers."""
    if in_memory():

        async def start(**settings: Any) -> MemoryServer:
            return MemoryServer(**settings)

        yield start
    else:
        async with nats.starting(tmp_path_factory) as start_real:
            yield start_real


@pytest.fixture
async def nats_server(start_nats: StartNats) -> AnyServer:
    """One server that runs, with JetStream and nothing else."""
    return await start_nats()


@pytest.fixture
async def open_bus(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Open any number of connections."""
    if in_memory():
        connections = MemoryConnections(getattr(request.module, "DELAY", (0.0, 0.0)))
        yield connections.open
        await connections.close()
    else:
        async with nats.opening() as open_real:
            yield open_real


@pytest.fixture
async def bus(nats_server: AnyServer, open_bus: OpenBus) -> AnyBus:
    """Connect to ``nats_server`` and make all streams and buckets there."""
    bus = await open_bus(nats_server)
    for definition in definitions(replicas=1):
        await bus.ensure_stream(definition)
    return bus


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep the longest that each pause might have been; all are short instead."""
    drawn: list[float] = []

    def draw(_: float, longest: float) -> float:
        drawn.append(longest)
        return 0.01

    monkeypatch.setattr("common.backoff.random.uniform", draw)
    return drawn
