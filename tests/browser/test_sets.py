"""Warm sets: the list, one set, and the form that makes and changes one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import expect

from tests.fixtures.browser import PHONE, Windows, add_label
from tests.fixtures.fleet import Fleet
from tests.fixtures.user import Json

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

IMAGE = "registry.example/sets/web:1"
BROKEN = "registry.example/fails/tls-error:7"


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def _no_sets_left(site: Fleet) -> AsyncIterator[None]:
    """A set goes on for ever: none is left to the next test."""
    yield
    async with site.http.get(f"{site.url}/api/v1/sets?limit=100") as answer:
        found = (await answer.json())["sets"]
    for each in found:
        await site.http.delete(f"{site.url}/api/v1/sets/{each['name']}")


async def put(site: Fleet, name: str, *images: str, **fields: object) -> Json:
    """Put a set for the nodes of zone a, unless told otherwise."""
    body = {"images": images, "nodeSelector": {"zone": "a"}, **fields}
    async with site.http.put(f"{site.url}/api/v1/sets/{name}", json=body) as answer:
        assert answer.status < 300, await answer.text()
        return await answer.json()  # type: ignore[no-any-return]


@pytest.mark.usefixtures("site")
async def test_a_set_gets_warm_before_ones_eyes(windows: Windows) -> None:
    """From the empty list by the form to the set, and each node turns warm in it."""
    page = await windows.open("#/sets")
    await expect(page.get_by_text("No set yet.")).to_be_visible()
    await page.get_by_role("link", name="New set").click()
    await page.get_by_label("Name", exact=True).fill("web")
    await page.get_by_role("textbox", name="Images").fill(
        "registry.example/sets/before-ones-eyes:1"
    )
    await add_label(page, "zone", "is", "a")
    await expect(page.get_by_text("3 nodes match now")).to_be_visible()
    await page.get_by_role("button", name="Create set").click()
    await expect(page.get_by_role("heading", level=1, name="web", exact=True)).to_be_visible()
    await expect(page.get_by_text("100% · 3 / 3")).to_be_visible()
    await expect(page.get_by_role("button", name="3 Warm")).to_be_visible()
    repairs = page.get_by_role("group", name="Repairs").get_by_role("row")
    await expect(repairs.filter(has_text="Completed")).to_be_visible()
    await page.get_by_role("link", name="Sets", exact=True).first.click()
    row = page.get_by_role("row").filter(has_text="web")
    await expect(row).to_contain_text("Ready")
    await expect(row).to_contain_text("100% · 3 / 3")


async def test_why_a_set_is_not_warm(windows: Windows, site: Fleet) -> None:
    """Grouped by reason, with a sentence and the names; the list says the same in short."""
    await put(site, "broken", BROKEN)
    page = await windows.open("#/sets/broken")
    why = page.get_by_role("region", name="Why not").get_by_role("row")
    await expect(why.filter(has_text="TLSError")).to_contain_text("a-1")
    await expect(page.get_by_text("Some nodes cannot be warmed")).to_be_visible()
    page = await windows.open("#/sets", language="zh-CN")
    row = page.get_by_role("row").filter(has_text="broken")
    await expect(row).to_contain_text("3 TLSError")
    await expect(row).to_contain_text("异常")


async def test_a_change_is_made_over_what_was_read(windows: Windows, site: Fleet) -> None:
    """The form begins as the set is; who was overtaken is told, and nothing of theirs is lost."""
    await put(site, "web", IMAGE, priority=8, paused=True)
    page = await windows.open("#/sets/web")
    await page.get_by_role("link", name="Change").click()
    await expect(page.get_by_label("Priority")).to_have_value("8")
    await expect(page.get_by_label("Pulling")).to_have_value("true")
    await page.get_by_label("Batch size").fill("2")
    await put(site, "web", IMAGE, priority=9, paused=True)
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("alert").filter(has_text="not as it was")).to_be_visible()
    await expect(page.get_by_label("Batch size")).to_have_value("2")
    await page.reload()
    await expect(page.get_by_label("Priority")).to_have_value("9")
    await page.get_by_label("Batch size").fill("2")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("heading", level=1, name="web", exact=True)).to_be_visible()
    async with site.http.get(f"{site.url}/api/v1/sets/web") as answer:
        found = await answer.json()
    assert (found["priority"], found["batchSize"], found["paused"]) == (9, 2, True)


async def test_a_webhook_is_to_be_given_again(windows: Windows, site: Fleet) -> None:
    """Its path is told to nobody: the form says so, after a reload of what was typed too."""
    await put(site, "web", IMAGE, paused=True, webhookUrl="http://127.0.0.1:9/hook")
    page = await windows.open("#/sets/web")
    await page.get_by_role("link", name="Change").click()
    said = page.get_by_text("must be given again")
    await expect(said).to_be_visible()
    await page.get_by_label("Batch size").fill("2")
    await page.reload()
    await expect(page.get_by_label("Batch size")).to_have_value("2")
    await expect(said).to_be_visible()


async def test_a_name_that_is_none_and_one_that_is_taken(windows: Windows, site: Fleet) -> None:
    """Said at the field; a set that is there is never written over by a new one."""
    await put(site, "web", IMAGE, paused=True)
    page = await windows.open("#/put")
    await page.get_by_label("Name", exact=True).fill("Not A Name")
    await page.get_by_role("textbox", name="Images").fill(IMAGE)
    await page.get_by_role("button", name="Create set").click()
    await expect(page.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Name", exact=True).fill("web")
    await page.get_by_role("button", name="Create set").click()
    await expect(page.get_by_text("There is a set of this name.")).to_be_visible()


async def test_a_set_is_deleted_after_a_question(windows: Windows, site: Fleet) -> None:
    """And is gone from the list, and for whoever still looks at it."""
    await put(site, "web", IMAGE, paused=True)
    other = await windows.open("#/sets/web")
    await expect(other.get_by_role("heading", level=1, name="web", exact=True)).to_be_visible()
    page = await windows.open("#/sets/web")
    await page.get_by_role("button", name="Delete set").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete set").click()
    await expect(page.get_by_text("No set yet.")).to_be_visible()
    await expect(other.get_by_text("Set not found.")).to_be_visible()


@pytest.mark.parametrize(("theme", "language"), [("light", "en-GB"), ("dark", "zh-CN")])
@pytest.mark.parametrize("place", ["#/sets", "#/sets/broken", "#/put", "#/put?set=broken"])
async def test_sets_are_for_everybody(
    windows: Windows, site: Fleet, place: str, theme: str, language: str
) -> None:
    """Axe finds nothing serious, and a phone is wide enough."""
    await put(site, "broken", BROKEN, IMAGE)
    page = await windows.open(
        place, theme=theme, language=language, size=PHONE, bypass_csp=True, has_touch=True
    )
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    if place.startswith("#/sets"):
        await expect(page.get_by_role("table").first).to_be_visible()
    too_wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert too_wide <= 0
    found = await Axe().run(page)
    serious = [
        (rule["id"], [node["html"] for node in rule["nodes"]])
        for rule in found.response["violations"]
        if rule["impact"] in {"serious", "critical"}
    ]
    assert serious == []


async def test_what_a_set_demands_beside_a_task(windows: Windows, site: Fleet) -> None:
    """Schedule, tags and pins are typed, kept over a change, and faults stand at their fields."""
    page = await windows.open("#/put")
    await page.get_by_label("Name", exact=True).fill("nightly")
    await page.get_by_role("textbox", name="Images").fill(IMAGE)
    await page.get_by_label("Begins").fill("0 25 * * *")
    await page.get_by_label("Time zone").fill("Asia/Shanghai")
    await page.get_by_label("Lasts").fill("2h")
    await page.get_by_label("Nodes that join").select_option("always")
    await page.get_by_label("Look at tags every").fill("10m")
    await page.get_by_label("Pin the images").select_option("true")
    await page.get_by_role("button", name="Create set").click()
    await expect(page.get_by_label("Begins")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Begins").fill("0 2 * * 1-5")
    await page.get_by_role("button", name="Create set").click()
    await expect(page.get_by_role("heading", level=1, name="nightly", exact=True)).to_be_visible()
    await expect(page.get_by_text("0 2 * * 1-5 (Asia/Shanghai) · 2h")).to_be_visible()
    await page.get_by_role("link", name="Change").click()
    await expect(page.get_by_label("Begins")).to_have_value("0 2 * * 1-5")
    await page.get_by_label("Batch size").fill("3")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("heading", level=1, name="nightly", exact=True)).to_be_visible()
    found = await site.get("/sets/nightly")
    assert found["batchSize"] == 3
    assert found["schedule"] == {
        "cron": "0 2 * * 1-5",
        "timeZone": "Asia/Shanghai",
        "window": "2h",
        "joins": "always",
    }
    assert found["refresh"] == {"tags": "10m"}
    assert found["pin"] == {}
