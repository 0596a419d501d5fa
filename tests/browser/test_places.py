"""A node and an image as places of their own."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, expect

from tests.fixtures.browser import PHONE, Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def warmed(site: Fleet, image: str, **fields: object) -> str:
    """A task that is over."""
    task = await site.post([image], **fields)
    await site.over(task)
    return task


async def does_not_overflow(page: Page) -> bool:
    """Whether nothing makes the page wider than its window."""
    width: bool = await page.evaluate(
        "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    return width


async def test_what_is_on_a_node_and_what_was(windows: Windows, site: Fleet) -> None:
    """From the list of nodes to the node, to its image, and to the task that brought it."""
    image = "registry.example/places/on-a-node:1"
    task = await warmed(site, image)
    page = await windows.open("#/nodes")
    await page.get_by_role("link", name="b-1").click()
    await expect(page.get_by_role("heading", level=1, name="b-1")).to_be_visible()
    now = page.get_by_role("region", name="On this node now").get_by_role("row")
    row = now.filter(has_text=image)
    await expect(row).to_contain_text(re.compile(r"\d [KM]iB"))
    await expect(row).to_contain_text("sha256:")
    await expect(row.get_by_role("link", name=task)).to_be_visible()
    past = page.get_by_role("region", name="What tasks did here").get_by_role("row")
    await expect(past.filter(has_text=task)).to_contain_text("Warm")
    await row.get_by_role("link", name=image).click()
    await expect(page.get_by_role("heading", level=1, name=image)).to_be_visible()
    await page.go_back()
    await row.get_by_role("link", name=task).click()
    await expect(page).to_have_url(re.compile(f"#/tasks/{task}"))


async def test_a_node_shows_what_comes_while_it_is_looked_at(windows: Windows, site: Fleet) -> None:
    """Its images and its history are asked for again after a task was there."""
    page = await windows.open("#/nodes/b-1")
    await expect(page.get_by_role("region", name="On this node now")).to_be_visible()
    image = "registry.example/places/comes:1"
    await warmed(site, image)
    shown = page.get_by_role("region", name="On this node now")
    await expect(shown.get_by_role("link", name=image)).to_be_visible()


async def test_where_an_image_is(windows: Windows, site: Fleet) -> None:
    """Counted by state, filtered by it, and the filter stands in the address."""
    image = "registry.example/places/where:1"
    task = await warmed(site, image, nodeSelector={"zone": "b"})
    page = await windows.open("#/images")
    await page.get_by_role("searchbox").fill("places/WHERE")
    await page.get_by_role("link", name=image).click()
    await expect(page.get_by_role("button", name="Present 1")).to_be_visible()
    await expect(page.get_by_text("on 1 node")).to_be_visible()
    await page.get_by_role("button", name="Unknown 3").click()
    rows = page.get_by_role("group", name="Nodes").get_by_role("row")
    await expect(rows).to_have_count(4)
    await expect(rows.filter(has_text="b-1")).to_have_count(0)
    await page.reload()
    await expect(rows).to_have_count(4)
    past = page.get_by_role("region", name="What tasks did with it").get_by_role("row")
    await expect(past.filter(has_text=task)).to_contain_text("Completed")


async def test_what_does_not_exist(windows: Windows) -> None:
    """A node that nobody knows, an image that nobody has, and what is no image."""
    page = await windows.open("#/nodes/nope")
    await expect(page.get_by_text("Node not found.")).to_be_visible()
    page = await windows.open("#/images/nobody%2Fhas%3Ait")
    await expect(page.get_by_text("No task that is kept has it.")).to_be_visible()
    page = await windows.open("#/images/Not%20An%20Image")
    await expect(page.get_by_text("contains whitespace")).to_be_visible()


async def test_a_node_that_does_not_answer(browser: Browser, fleet_apart: Fleet) -> None:
    """A sentence stands where its images would; what tasks did is shown all the same."""
    await fleet_apart.add_coordinator()
    await fleet_apart.add_agents(1, {"IPS_HEARTBEAT_SECONDS": "0.5", "IPS_SIMULATED_SECONDS": "0"})
    await fleet_apart.known_nodes(1)
    task = await warmed(fleet_apart, "registry.example/places/silent:1")
    await fleet_apart.agents["node-1"].kill()
    windows = Windows(browser, fleet_apart.coordinator.url)
    page = await windows.open("#/nodes/node-1")
    shown = page.get_by_role("region", name="On this node now")
    await expect(shown.get_by_text("node-1 does not")).to_be_visible()
    await expect(shown.get_by_role("button", name="Ask again")).to_be_visible()
    await expect(page.get_by_role("link", name=task)).to_be_visible()
    await windows.close()
    assert windows.complaints == []


@pytest.mark.parametrize("place", ["#/nodes/b-1", "#/images", "#/images/{image}"])
async def test_long_names_break_no_layout(windows: Windows, site: Fleet, place: str) -> None:
    """On a phone, in Chinese, with a name of 250 characters."""
    image = f"registry.example/{'long-' * 45}name:1"
    await warmed(site, image, nodeSelector={"zone": "b"})
    page = await windows.open(
        place.format(image=quote(image, safe="")), size=PHONE, language="zh-CN"
    )
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await expect(page.get_by_role("table").first).to_be_visible()
    assert await does_not_overflow(page)


@pytest.mark.parametrize(
    ("form", "begins", "ends"),
    [
        ("CSV", "Node,State,Reason,", "\r\n"),
        ("JSON", '[\n  {\n    "name": "b-1"', "]\n"),
        ("Names", "b-1\n", "b-1\n"),
    ],
)
async def test_what_a_table_shows_can_be_taken_along(
    windows: Windows, form: str, begins: str, ends: str
) -> None:
    """What is searched for, and nothing else."""
    page = await windows.open("#/nodes?q=zone%3Db")
    await expect(page.get_by_text("1 node found")).to_be_visible()
    async with page.expect_download() as download:
        await page.get_by_role("button", name=f"Export as {form}").click()
    text = Path(await (await download.value).path()).read_bytes().decode()
    assert text.startswith(begins)
    assert text.endswith(ends)
    assert "b-1" in text
    assert "a-1" not in text


async def test_no_cell_is_a_formula(windows: Windows) -> None:
    """Messages come from anybody, and spreadsheets carry out what begins so."""
    page = await windows.open("#/nodes")
    made = await page.evaluate(
        """async () => {
          const { asCsv } = await import("/web/js/parts/export.js");
          return asCsv({ head: ["a", "b"], rows: [["=1+1", -5], ['say "x"', "+1,2"]], items: [] });
        }"""
    )
    assert made == 'a,b\r\n\'=1+1,-5\r\n"say ""x""","\'+1,2"\r\n'
