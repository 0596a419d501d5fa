"""What a view does about news: when it asks again, and what it does with answers."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

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
