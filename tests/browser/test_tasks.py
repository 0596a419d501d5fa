"""The list of tasks, by a person's steps."""

from __future__ import annotations

import itertools
import re

import pytest
from playwright.async_api import Locator, Page, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_NUMBERS = itertools.count(1)


def fresh_image(name: str) -> str:
    """An image that no other test uses, so that its row is found by it."""
    return f"registry.example/{name}:{next(_NUMBERS)}"


def row_of(page: Page, image: str) -> Locator:
    """The row of a task in the list."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=image, exact=True))


async def test_a_task_is_seen_from_its_beginning_to_its_end(windows: Windows, held: Fleet) -> None:
    """A task made elsewhere appears, moves and ends without a reload."""
    page = await windows.open()
    await expect(page.get_by_text("Live")).to_be_visible()
    image = fresh_image("seen")
    await held.post([image], batchSize=2)
    row = row_of(page, image)
    await expect(row.get_by_text("Running")).to_be_visible()
    await expect(row.get_by_text(re.compile(r"of 4 nodes"))).to_be_visible()
    held.let_go()
    await expect(row.get_by_text("Completed")).to_be_visible()
    await expect(row.get_by_text("4 of 4 nodes")).to_be_visible()
    await expect(row.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")


async def test_what_failed_says_why_in_the_list(windows: Windows, site: Fleet) -> None:
    """The row of a failed task tells the reason in a sentence."""
    image = fresh_image("fails/image-not-found")
    await site.over(await site.post([image]))
    page = await windows.open("#/tasks?status=failed")
    row = row_of(page, image)
    await expect(row.get_by_text("ImageNotFound")).to_be_visible()
    await expect(row.get_by_text("4 failed").first).to_be_visible()


async def test_a_filter_shows_one_status_and_keeps_to_it(windows: Windows, held: Fleet) -> None:
    """A task that leaves the status leaves the list; the number beside each filter is live."""
    image = fresh_image("filtered")
    page = await windows.open()
    await page.get_by_role("link", name=re.compile("^Running")).click()
    await expect(page).to_have_url(re.compile("status=running"))
    await held.post([image])
    await expect(row_of(page, image)).to_be_visible()
    held.let_go()
    await expect(row_of(page, image)).to_have_count(0)
    await page.get_by_role("link", name=re.compile("^Completed")).click()
    await expect(row_of(page, image)).to_be_visible()
    await page.go_back()
    await expect(page).to_have_url(re.compile("status=running"))


async def test_cancel_asks_once(windows: Windows, held: Fleet) -> None:
    """No is no; yes cancels, and the row says so."""
    image = fresh_image("cancelled")
    task = await held.post([image], batchSize=1)
    page = await windows.open()
    row = row_of(page, image)
    await row.get_by_role("button", name=f"Cancel {image}").click()
    dialog = page.get_by_role("dialog", name="Cancel this task?")
    await dialog.get_by_role("button", name="Keep it running").click()
    await expect(dialog).to_have_count(0)
    await row.get_by_role("button", name=f"Cancel {image}").click()
    await dialog.get_by_role("button", name="Cancel the task").click()
    await expect(row.get_by_text("Cancelled", exact=True)).to_be_visible()
    assert (await held.over(task))["status"] == "cancelled"


async def test_run_again_makes_a_new_task(windows: Windows, site: Fleet) -> None:
    """The new task is shown, and names the one that it repeats."""
    image = fresh_image("again")
    first = await site.post([image])
    await site.over(first)
    page = await windows.open()
    await row_of(page, image).get_by_role("button", name=f"Run {image} again").click()
    await expect(page.get_by_role("heading", level=1, name=image)).to_be_visible()
    await expect(page.get_by_role("link", name=first)).to_be_visible()
    await expect(page.get_by_text("Completed").first).to_be_visible()


async def test_failed_nodes_are_retried_by_a_click(windows: Windows, site: Fleet) -> None:
    """Only the nodes that failed are in the new task."""
    image = fresh_image("fails/registry-error")
    await site.over(await site.post([image], nodeSelector={"zone": "b"}))
    page = await windows.open("#/tasks?status=failed")
    await row_of(page, image).get_by_role("button", name=f"Retry failed nodes of {image}").click()
    await expect(page.get_by_role("heading", level=1, name=image)).to_be_visible()
    await expect(page.get_by_text("of 1 node").first).to_be_visible()


async def test_the_newest_is_on_top(windows: Windows, site: Fleet) -> None:
    """Those that are there in the order of their making, and a new one above them at once."""
    older, newer, newest = (fresh_image("order") for _ in range(3))
    for image in (older, newer):
        await site.post([image], nodeSelector={"zone": "nowhere"})
    page = await windows.open("#/tasks?sort=newest")
    names = page.locator("tbody tr a.images")
    await expect(names.nth(0)).to_have_text(newer)
    await expect(names.nth(1)).to_have_text(older)
    await site.post([newest], nodeSelector={"zone": "nowhere"})
    await expect(names.nth(0)).to_have_text(newest)
    await expect(names.nth(1)).to_have_text(newer)
    created = page.get_by_role("columnheader", name="Created")
    await expect(created).to_have_attribute("aria-sort", "descending")


async def test_many_tasks_are_paged(windows: Windows, site: Fleet) -> None:
    """Pages follow one another, and the number of rows can be chosen."""
    for _ in range(23):
        await site.post([fresh_image("paged")], nodeSelector={"zone": "nowhere"})
    page = await windows.open("#/tasks")
    body = page.get_by_role("rowgroup").nth(1)
    await expect(body.get_by_role("row")).to_have_count(20)
    await page.get_by_role("button", name="Next page").click()
    await expect(page).to_have_url(re.compile("offset=20"))
    await expect(page.get_by_text(re.compile("^21\u2013"))).to_be_visible()
    await page.get_by_label("Rows per page").select_option("50")
    await expect(page.get_by_text(re.compile("^1\u2013"))).to_be_visible()
    await expect(page).to_have_url(re.compile("limit=50"))


async def test_a_search_stands_in_the_address(windows: Windows, site: Fleet) -> None:
    """What is typed finds tasks, keeps the focus, and is there after a reload."""
    image = fresh_image("sought")
    await site.over(await site.post([image]))
    page = await windows.open()
    field = page.get_by_role("searchbox", name="Find by image, id, label or creator")
    await field.press_sequentially("sought:")
    await expect(row_of(page, image)).to_be_visible()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page).to_have_url(re.compile("q=sought"))
    await expect(field).to_be_focused()
    await page.reload()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(field).to_have_value("sought:")
    await field.fill("nothing is called so")
    await expect(page.get_by_text("No task matches.")).to_be_visible()


async def test_what_runs_is_first_and_the_queue_has_places(windows: Windows, held: Fleet) -> None:
    """The strip counts nodes once, and what failed of late leads to the list behind it."""
    image = fresh_image("first")
    await held.post([image])
    await held.over(await held.post([fresh_image("fails/timeout")], nodeSelector={"zone": "none"}))
    page = await windows.open()
    await expect(page.locator("tbody tr a.images").first).to_have_text(image)
    overview = page.locator(".overview")
    await expect(overview).to_contain_text("4 ready")
    await expect(overview.get_by_role("link", name=re.compile("tasks?$"))).to_be_visible()
    await overview.get_by_role("link", name=re.compile("tasks?$")).click()
    await expect(page).to_have_url(re.compile("status=failed&since=24h"))
    await expect(page.get_by_role("link", name="Ended in the last 24h")).to_be_visible()


async def test_several_tasks_are_cancelled_at_once(windows: Windows, held: Fleet) -> None:
    """One question for all of them; the others go on."""
    names = [f"registry.example/bulk/{name}:1" for name in ("a", "b", "c")]
    tasks = [await held.post([name], batchSize=1) for name in names]
    page = await windows.open("#/tasks?q=example/bulk")
    for task in tasks[:2]:
        await page.get_by_role("checkbox", name=re.compile(task)).check()
    chosen = page.get_by_role("group", name="Chosen tasks")
    await expect(chosen.get_by_text("2 tasks chosen")).to_be_visible()
    await chosen.get_by_role("button", name="Cancel 2 tasks").click()
    question = page.get_by_role("dialog", name="Cancel 2 tasks?")
    await question.get_by_role("button", name="Cancel 2 tasks").click()
    await expect(page.get_by_text("Done for 2 of 2.")).to_be_visible()
    await expect(chosen).to_be_hidden()
    assert [(await held.get(f"/tasks/{task}"))["status"] for task in tasks] == [
        "cancelled",
        "cancelled",
        "running",
    ]


async def test_the_failures_of_several_tasks_are_retried_at_once(
    windows: Windows, site: Fleet
) -> None:
    """Each becomes a task of its own."""
    names = [f"registry.example/bulk-retry/{name}/fails/image-not-found:1" for name in ("a", "b")]
    tasks = [await site.post([name]) for name in names]
    for task in tasks:
        await site.over(task)
    page = await windows.open("#/tasks?q=example/bulk-retry")
    for task in tasks:
        await page.get_by_role("checkbox", name=re.compile(task)).check()
    await page.get_by_role("button", name="Retry failures of 2 tasks").click()
    question = page.get_by_role("dialog", name="Retry 8 failed nodes?")
    await question.get_by_role("button", name="Retry failures of 2 tasks").click()
    await expect(page.get_by_text("Done for 2 of 2.")).to_be_visible()
    for task in tasks:
        assert len((await site.get(f"/tasks/{task}"))["retries"]) == 1
