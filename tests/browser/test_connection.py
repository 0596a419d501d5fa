"""A lost connection: it is said, it heals, and nothing is missed."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

OLD = re.compile("Showing data from .+ Reconnecting")
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_restart_of_the_coordinator_is_told_and_healed(
    browser: Browser, fleet_apart: Fleet
) -> None:
    """While it is away the page says so and what it shows is marked old; then it goes on."""
    coordinator = await fleet_apart.add_coordinator()
    await fleet_apart.add_agents(2, {"IPS_HEARTBEAT_SECONDS": "0.5"})
    await fleet_apart.known_nodes(2)
    fleet_apart.hold("node-1", "node-2")
    task = await fleet_apart.post(["registry.example/restart:1"], batchSize=1)
    windows = Windows(browser, coordinator.url)
    one = await windows.open(f"#/tasks/{task}")
    everything = await windows.open("#/tasks")
    for page in (one, everything):
        await expect(page.get_by_text("1 pulling")).to_be_visible()
    await coordinator.kill()
    resumed = set()
    for page in (one, everything):
        page.on("request", lambda asked: resumed.update(re.findall(r"lastEventId=\w+", asked.url)))
        lost = page.get_by_role("alert").get_by_text(OLD)
        await expect(lost).to_be_visible()
        await expect(page.get_by_text("Reconnecting", exact=True)).to_be_visible()
        await expect(page.get_by_text("1 pulling")).to_be_visible()
    coordinator.start()
    await coordinator.ready()
    for page in (one, everything):
        await expect(page.get_by_text("Connected again.")).to_be_attached()
    fleet_apart.let_go()
    for page in (one, everything):
        await expect(page.get_by_text(OLD)).to_be_hidden()
        await expect(page.get_by_text("2 of 2 nodes")).to_be_visible()
        await expect(page.get_by_text("Completed").last).to_be_visible()
    await expect(one.get_by_role("img", name=re.compile("100% of nodes done"))).to_be_visible()
    assert resumed
    await windows.close()
    assert windows.complaints == []


async def test_a_page_that_was_opened_while_the_server_is_not_ready_fills_by_itself(
    browser: Browser, fleet_apart: Fleet
) -> None:
    """The API answers 503 at first; nobody has to reload."""
    coordinator = await fleet_apart.add_coordinator()
    await fleet_apart.add_agents(1)
    await fleet_apart.known_nodes(1)
    task = await fleet_apart.post(["registry.example/early:1"])
    await fleet_apart.over(task)
    windows = Windows(browser, coordinator.url)
    page = await windows.open("#/new")
    await page.route("**/api/v1/**", lambda route: route.fulfill(status=503, json={"detail": "no"}))
    await page.goto(f"{coordinator.url}/web/#/tasks/{task}")
    await expect(page.get_by_text("Reconnecting", exact=True)).to_be_visible()
    await page.unroute("**/api/v1/**")
    await expect(page.get_by_role("heading", level=1)).to_have_text("registry.example/early:1")
    await windows.close()


async def test_a_view_without_a_server_says_so(browser: Browser, fleet_apart: Fleet) -> None:
    """Nothing has come yet: no time is told that it would be of; the logo is no broken picture."""
    await fleet_apart.add_coordinator()
    windows = Windows(browser, fleet_apart.coordinator.url)
    page = await windows.open("#/tasks")
    await expect(page.get_by_text("Live")).to_be_visible()
    await page.get_by_role("link", name="Nodes", exact=True).first.click()
    await expect(page.get_by_role("heading", level=1, name="Nodes")).to_be_visible()
    await fleet_apart.coordinator.kill()
    await page.get_by_role("link", name="Tasks", exact=True).first.click()
    banner = page.get_by_role("alert").filter(has_text="Cannot reach the server.")
    await expect(banner.first).to_be_visible()
    assert await page.locator(".brand img").evaluate("one => one.complete && one.naturalWidth > 0")
    await windows.close()
