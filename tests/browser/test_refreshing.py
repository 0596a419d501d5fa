"""What a view does about news: when it asks again, and what it does with answers."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet, Json

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def opened(windows: Windows) -> Page:
    """A page whose code can be asked for."""
    page = await windows.open("#/new")
    await page.get_by_role("heading", level=1).wait_for()
    return page


async def test_news_without_end_put_no_refresh_off(windows: Windows) -> None:
    """An event a second for ten seconds: asked again every two, and once after the last."""
    page = await opened(windows)
    await page.clock.install()
    await page.evaluate(
        """async () => {
          const { Refresher } = await import("/web/js/state/refresher.js");
          window.asked = 0;
          const refresher = new Refresher(() => true, async () => { window.asked += 1; }, () => {});
          for (let at = 0; at < 10; at++) setTimeout(() => refresher.soon(), at * 1_000);
        }"""
    )
    await page.clock.run_for(9_500)
    assert await page.evaluate("window.asked") >= 4
    await page.clock.run_for(20_000)
    assert await page.evaluate("window.asked") <= 6


async def test_what_comes_while_an_answer_is_due_is_asked_for(windows: Windows) -> None:
    """One question at a time, and one more for the news since."""
    page = await opened(windows)
    await page.clock.install()
    await page.evaluate(
        """async () => {
          const { Refresher } = await import("/web/js/state/refresher.js");
          window.answers = [];
          const asked = () => new Promise((resolve) => window.answers.push(resolve));
          window.refresher = new Refresher(() => true, asked, () => {});
          window.refresher.soon();
        }"""
    )
    await page.clock.run_for(1_500)
    await page.evaluate("window.refresher.soon()")
    await page.clock.run_for(5_000)
    assert await page.evaluate("window.answers.length") == 1
    await page.evaluate("window.answers[0]('slow')")
    await page.clock.run_for(5_000)
    assert await page.evaluate("window.answers.length") == 2


async def test_an_image_of_another_spelling_is_the_same(windows: Windows, site: Fleet) -> None:
    """Nodes name images in full, tasks as they were asked for."""
    page = await windows.open("#/images/docker.io%2Flibrary%2Fspelled%3A1")
    await expect(page.get_by_text("No task that is kept has it.")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    task = await site.post(["spelled:1"], nodeSelector={"zone": "b"})
    await expect(page.get_by_role("button", name="Present 1")).to_be_visible()
    await expect(page.get_by_role("link", name=task).first).to_be_visible()


# ── answers ──


class Held:
    """A request whose answer waits until ``let_go``."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._free = asyncio.Event()

    async def __call__(self, route: Route) -> None:
        """Let one request through when its time has come."""
        self.asked.set()
        await self._free.wait()
        await route.continue_()

    async def let_go(self, page: Page, url: re.Pattern[str]) -> None:
        """Until the page has had the answer, and one to a later question of its own."""
        async with page.expect_response(url) as late:
            self._free.set()
        await (await late.value).finished()
        await page.evaluate("fetch('/api/v1/nodes?limit=1').then((answer) => answer.text())")


async def test_a_late_answer_of_another_filter_is_not_shown(windows: Windows, site: Fleet) -> None:
    """What was chosen last is what is shown."""
    await site.over(await site.post(["late-filter:1"], nodeSelector={"zone": "b"}))
    page = await windows.open("#/images/late-filter%3A1")
    rows = page.get_by_role("group", name="Nodes").get_by_role("row")
    await expect(rows).to_have_count(5)
    unknown = re.compile("/images/nodes.*state=unknown")
    held = Held()
    await page.route(unknown, held)
    await page.get_by_role("button", name="Unknown 3").click()
    await held.asked.wait()
    await page.get_by_role("button", name="Present 1").click()
    await expect(rows).to_have_count(2)
    await held.let_go(page, unknown)
    await expect(rows).to_have_count(2)
    await expect(page.get_by_role("button", name="Present 1")).to_have_attribute(
        "aria-pressed", "true"
    )


def told(task: str) -> Json:
    """One of fifty tasks of a node, as the server tells it."""
    at = "2026-01-01T00:00:00Z"
    one = {"taskId": task, "status": "completed", "createdAt": at, "state": "succeeded"}
    return {"tasks": [{**one, "images": []}], "total": 50, "limit": 20, "offset": 0}


async def test_a_late_answer_of_another_page_is_not_shown(windows: Windows, site: Fleet) -> None:
    """A node's history, gone through faster than it is answered."""
    held = Held()
    second = re.compile("/history.*limit=20&offset=20")
    await site.known_nodes(4)
    page = await windows.open("#/new")
    await page.route("**/history?limit=20&offset=0", lambda route: route.fulfill(json=told("one")))
    await page.route("**/history?limit=50&offset=0", lambda route: route.fulfill(json=told("all")))
    await page.route(second, held)
    await page.evaluate("() => { location.hash = '#/nodes/b-1'; }")
    past = page.get_by_role("region", name="What tasks did here")
    await expect(past.get_by_role("link", name="one")).to_be_visible()
    await past.get_by_role("button", name="Next").click()
    await held.asked.wait()
    await past.get_by_label("Rows per page").select_option("50")
    await expect(past.get_by_role("link", name="all")).to_be_visible()
    await held.let_go(page, second)
    await expect(past.get_by_role("link", name="all")).to_be_visible()
    await expect(past.get_by_label("Rows per page")).to_have_value("50")


async def test_what_is_pressed_or_focused_stays_over_a_refresh(
    windows: Windows, site: Fleet
) -> None:
    """Rows and filters are kept; only what differs is put in its place."""
    await site.over(await site.post(["stays:1"], nodeSelector={"zone": "b"}))
    page = await windows.open("#/images/stays%3A1")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    node = page.get_by_role("group", name="Nodes").get_by_role("link", name="b-1")
    every = await page.get_by_role("button", name="All 4").element_handle()
    await node.focus()
    task = await site.post(["stays:1"], nodeSelector={"zone": "a"})
    await expect(page.get_by_role("button", name="Present 4")).to_be_visible()
    past = page.get_by_role("region", name="What tasks did with it").get_by_role("row")
    await expect(past.filter(has_text=task)).to_contain_text("Completed")
    await expect(node).to_be_focused()
    assert await every.evaluate("button => button.isConnected")


async def test_an_export_that_fails_is_told(windows: Windows, site: Fleet) -> None:
    """Nothing comes, and a sentence says so."""
    await site.known_nodes(4)
    page = await windows.open("#/images/exported%3A1")
    await expect(page.get_by_role("button", name="Unknown 4")).to_be_visible()
    await page.route(re.compile("/images/nodes.*limit=1000"), lambda route: route.abort())
    await page.get_by_role("button", name="Export as CSV").click()
    await expect(page.get_by_role("alert").get_by_text("Cannot reach the server.")).to_be_visible()


async def test_a_node_that_comes_back_is_shown(windows: Windows, site: Fleet) -> None:
    """That it is not found is said as long as it is so."""
    page = await windows.open("#/new")
    gone = "**/api/v1/nodes/b-1"
    await page.route(gone, lambda route: route.fulfill(status=404, json={"detail": "no"}))
    await page.evaluate("() => { location.hash = '#/nodes/b-1'; }")
    await expect(page.get_by_text("Node not found.")).to_be_visible()
    shown = page.get_by_role("region", name="On this node now")
    await expect(shown).to_be_hidden()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await page.unroute(gone)
    await site.post(["comes-back:1"], nodeSelector={"zone": "b"})
    await expect(shown).to_be_visible()
    await expect(page.get_by_text("Node not found.")).to_be_hidden()


def stored(*names: str) -> Json:
    """One page of the images on a node that has 1,234."""
    images = [{"id": name, "tags": [], "digests": [], "sets": []} for name in names]
    return {"nodeName": "b-1", "images": images, "total": 1_234, "limit": 1_000, "offset": 0}


async def test_more_images_than_are_shown_are_counted_and_exported(
    windows: Windows, site: Fleet
) -> None:
    """A node of 1,234 images: a thousand are shown, and an export has them all."""
    await site.known_nodes(4)
    page = await windows.open("#/new")
    names = [f"sha256:{number:064d}" for number in range(1_234)]

    async def answer(route: Route) -> None:
        first = 1_000 if "offset=1000" in route.request.url else 0
        await route.fulfill(json=stored(*names[first : first + 1_000]))

    await page.route("**/nodes/b-1/images?*", answer)
    await page.evaluate("() => { location.hash = '#/nodes/b-1'; }")
    shown = page.get_by_role("region", name="On this node now")
    await expect(shown.get_by_text("the first 1,000 of 1,234 images")).to_be_visible()
    async with page.expect_download() as download:
        await shown.get_by_role("button", name="Export as Names").click()
    text = Path(await (await download.value).path()).read_text()
    assert text.split() == names
