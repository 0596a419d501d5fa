"""What a viewer looks for is there again: over a reload, on a way back, for somebody else."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.fixtures.browser import PHONE, Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def failed_task(site: Fleet, name: str) -> str:
    """A task that failed on all nodes for one reason."""
    task = await site.post([f"registry.example/{name}/fails/disk-full:1"])
    await site.over(task)
    return task


async def test_a_failure_leads_to_its_cell(windows: Windows, site: Fleet) -> None:
    """From the list of messages to the node in the map; both stand in the address, for others."""
    task = await failed_task(site, "leads")
    page = await windows.open(f"#/tasks/{task}")
    await page.locator("summary", has_text="DiskFull").click()
    await expect(page).to_have_url(re.compile("reason=DiskFull"))
    await page.get_by_role("button", name="Show a-3 in the map").click()
    await expect(page.locator(".details.pinned")).to_contain_text("a-3")
    await expect(page.get_by_role("application", name=re.compile("Map of"))).to_be_focused()
    await expect(page).to_have_url(re.compile("node=a-3"))
    other = await windows.open(page.url.partition("/web/")[2])
    await expect(other.locator(".details.pinned")).to_contain_text("a-3")
    await expect(other.locator("details[open]")).to_contain_text("fails by its name")


async def test_what_is_sought_in_a_map_is_there_again(windows: Windows, site: Fleet) -> None:
    """A part of a name and the state that stands out, after a reload and in another language."""
    task = await failed_task(site, "sought")
    page = await windows.open(f"#/tasks/{task}")
    await page.get_by_role("searchbox", name="Find a node").fill("b-")
    await expect(page).to_have_url(re.compile("q=b-"))
    failed = page.get_by_role("button", name="4 Failed", exact=True)
    await failed.click()
    await expect(page).to_have_url(re.compile("state=failed"))
    await page.reload()
    await expect(failed).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("searchbox", name="Find a node")).to_have_value("b-")
    await page.get_by_role("button", name="切换到中文").click()
    await expect(page.get_by_role("searchbox", name="查找节点")).to_have_value("b-")


async def test_the_names_of_one_reason_are_copied(windows: Windows, site: Fleet) -> None:
    """To go on with them elsewhere; and a file has those of this reason alone."""
    images = [f"registry.example/copied/fails/{why}:1" for why in ("disk-full", "tls-error")]
    task = await site.post(images, nodeSelector={"zone": "a"})
    await site.over(task)
    page = await windows.open(f"#/tasks/{task}", permissions=["clipboard-read", "clipboard-write"])
    group = page.locator("details", has_text="TLSError")
    await group.locator("summary").click()
    await group.get_by_role("button", name="Copy names").click()
    await expect(group.get_by_role("button", name="Copied.")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == "a-1\na-2\na-3\n"
    async with page.expect_download() as caught:
        await group.get_by_role("button", name="Export as CSV").click()
    text = (await (await caught.value).path()).read_text()
    assert text.count("TLSError") == 3
    assert "DiskFull" not in text


async def scrolled(page: Page) -> float:
    """How far the page is scrolled."""
    return float(await page.evaluate("scrollY"))


async def test_back_leads_to_where_the_list_was_left(windows: Windows, site: Fleet) -> None:
    """Rows come after the view, and the place is found all the same; a link begins at the top."""
    for number in range(20):
        await site.post([f"registry.example/far/{number}:1"], nodeSelector={"zone": "nowhere"})
    page = await windows.open(size=PHONE)
    await expect(page.locator("tbody tr a.images").nth(15)).to_be_visible()
    wanted = page.locator("tbody tr a.images").nth(12)
    await wanted.scroll_into_view_if_needed()
    before = await scrolled(page)
    assert before > 500
    await wanted.click()
    await expect(page.locator(".crumbs")).to_be_visible()
    assert await scrolled(page) == 0
    await page.go_back()
    await page.wait_for_function("y => Math.abs(scrollY - y) < 2", arg=before)
    await page.reload()
    await page.wait_for_function("y => Math.abs(scrollY - y) < 2", arg=before)


async def test_a_draft_outlives_a_reload(windows: Windows) -> None:
    """But for what may be secret; what was created leaves nothing behind."""
    page = await windows.open("#/new")
    images = page.get_by_role("textbox", name="Images")
    await images.fill("registry.example/reloaded:1")
    await page.get_by_label("Batch size").fill("7")
    await page.get_by_label("Webhook").fill("https://example.com/secret")
    await page.reload()
    await expect(images).to_have_value("registry.example/reloaded:1")
    await expect(page.get_by_label("Batch size")).to_have_value("7")
    await expect(page.get_by_label("Webhook")).to_have_value("")
    assert "secret" not in await page.evaluate("JSON.stringify({...sessionStorage})")
    await page.get_by_role("button", name="Create task").click()
    await expect(page.get_by_text("Task created.")).to_be_visible()
    await page.goto(f"{windows.url}/web/#/new")
    await page.reload()
    await expect(images).to_have_value("")


async def test_failures_are_read_on_a_phone(windows: Windows, site: Fleet) -> None:
    """The message is in view, and a name takes one line."""
    task = await failed_task(site, "phone")
    page = await windows.open(f"#/tasks/{task}", size=PHONE, language="zh-CN", theme="dark")
    await page.locator("summary").first.click()
    message = page.locator(".raw-table .raw").first
    await message.scroll_into_view_if_needed()
    box = await message.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE[0]
    name = await page.locator(".raw-table th .name").first.bounding_box()
    assert name is not None
    assert name["height"] < 30
