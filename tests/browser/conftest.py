"""The site under test: one coordinator and a few agents for all tests, and pages on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

ZONE_A, ZONE_B = 3, 1
"""How many agents each zone has."""
SECONDS = "1"
"""How long an image takes, unless its node is held."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """A coordinator with agents ``a-1`` to ``a-3`` in zone a and ``b-1`` in zone b."""
    fleet = Fleet(tmp_path_factory.mktemp("site"))
    try:
        await fleet.add_coordinator({"IPS_MAX_CONCURRENT_TASKS": "20"})
        own = {"IPS_SIMULATED_SECONDS": SECONDS, "IPS_HEARTBEAT_SECONDS": "1"}
        for zone, count in (("a", ZONE_A), ("b", ZONE_B)):
            labels = {"IPS_NODE_LABELS": f"zone={zone},workload=compute"}
            await fleet.add_agents(count, {**own, **labels}, prefix=zone)
        await fleet.known_nodes(ZONE_A + ZONE_B)
        yield fleet
    finally:
        await fleet.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def held(site: Fleet) -> AsyncIterator[Fleet]:
    """The site, whose pulls stand still until ``let_go``: what is running can be looked at."""
    site.hold(*site.agents)
    yield site
    site.let_go()


@pytest_asyncio.fixture(loop_scope="session")
async def windows(browser: Browser, site: Fleet) -> AsyncIterator[Windows]:
    """Pages on the site; a complaint in a browser's console fails the test."""
    opened = Windows(browser, site.coordinator.url)
    yield opened
    await opened.close()
    assert opened.complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def fleet_apart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Programs of a test's own, to be killed and restarted."""
    fleet = Fleet(tmp_path_factory.mktemp("apart"))
    yield fleet
    await fleet.stop()
