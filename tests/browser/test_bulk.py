"""What is done with several tasks of the list at once."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def pick(page: Page, task: str) -> Locator:
    """The field by which a task is chosen."""
    return page.get_by_role("checkbox", name=re.compile(task))


async def test_nothing_is_begun_while_tasks_are_being_cancelled(
    windows: Windows, held: Fleet
) -> None:
    """The buttons are drawn anew meanwhile, and stay off; what is chosen meanwhile stays chosen."""
    tasks = [await held.post([f"registry.example/bulk-busy/{name}:1"]) for name in ("a", "b")]
    page = await windows.open("#/tasks?q=example/bulk-busy")
    asked, answered = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.method == "DELETE":
            asked.set()
            await answered.wait()
        await route.continue_()

    await page.route("**/api/v1/tasks/*", hold)
    await pick(page, tasks[0]).check()
    chosen = page.get_by_role("group", name="Chosen tasks")
    await chosen.get_by_role("button", name="Cancel 1 task").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel 1 task").click()
    await asked.wait()
    await pick(page, tasks[1]).check()
    await expect(chosen.get_by_role("button", name="Cancel 2 tasks")).to_be_disabled()
    await expect(chosen.get_by_role("button", name="Choose none")).to_be_disabled()
    answered.set()
    await expect(page.get_by_text("Done for 1 of 1.")).to_be_visible()
    await expect(chosen.get_by_role("button", name="Cancel 1 task")).to_be_enabled()


async def test_what_is_pressed_stays_when_the_list_is_drawn(windows: Windows, held: Fleet) -> None:
    """Buttons and the count are the same elements, and the focus is where it was."""
    task = await held.post(["registry.example/bulk-stays/a:1"])
    page = await windows.open("#/tasks?q=example/bulk-stays")
    await pick(page, task).check()
    chosen = page.get_by_role("group", name="Chosen tasks")
    parts = [
        await chosen.get_by_role("button", name="Cancel 1 task").element_handle(),
        await chosen.get_by_role("button", name="Choose none").element_handle(),
        await chosen.get_by_role("status").element_handle(),
    ]
    await chosen.get_by_role("button", name="Choose none").focus()
    other = await held.post(["registry.example/bulk-stays/b:1"])
    await expect(pick(page, other)).to_be_visible()
    assert [await part.evaluate("part => part.isConnected") for part in parts] == [True] * 3
    await expect(chosen.get_by_role("button", name="Choose none")).to_be_focused()


async def test_who_says_no_is_where_they_were(windows: Windows, held: Fleet) -> None:
    """The focus returns to the button that asked."""
    task = await held.post(["registry.example/bulk-no/a:1"])
    page = await windows.open("#/tasks?q=example/bulk-no")
    await pick(page, task).check()
    cancel = page.get_by_role("group", name="Chosen tasks").get_by_role(
        "button", name="Cancel 1 task"
    )
    await cancel.click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(cancel).to_be_enabled()
    await expect(cancel).to_be_focused()


async def test_a_retry_that_the_list_does_not_know_is_asked_for(
    windows: Windows, site: Fleet
) -> None:
    """Another viewer was first, and this one's list has not heard of it."""
    task = await site.post(["registry.example/bulk-again/fails/image-not-found:1"])
    await site.over(task)
    page = await windows.open("#/new")
    await page.route("**/api/v1/events?*", lambda route: route.abort())
    await page.evaluate("() => { location.hash = '#/tasks?q=example/bulk-again'; }")
    await pick(page, task).check()
    url = f"{site.api}/tasks/{task}/retry"
    async with site.http.post(url, json={"nodes": "failed"}) as answer:
        assert answer.status == 201
    await page.get_by_role("button", name="Retry failures of 1 task").click()
    question = page.get_by_role("dialog", name="Retry 4 failed nodes?")
    await expect(question.get_by_text("Somebody has retried them already.")).to_be_visible()
