"""For everybody: axe finds nothing serious, and a phone's width is enough."""

from __future__ import annotations

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Page, expect

from tests.fixtures.browser import PHONE, Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SERIOUS = {"serious", "critical"}
PLACES = {
    "node": "#/nodes/b-1",
    "images": "#/images",
    "image": "#/images/registry.example%2Ffails%2Ftls-error%3A1",
}


async def open_view(windows: Windows, site: Fleet, view: str, **options: object) -> Page:
    """A view with something in it: a task that failed for two reasons, nodes, a form."""
    task = ""
    if view in {"tasks", "task", *PLACES}:
        images = ["registry.example/fails/tls-error:1", "registry.example/fails/disk-full:1"]
        task = await site.post(images, matchExpressions=[{"key": "zone", "operator": "Exists"}])
        await site.over(task)
    place = {"task": f"#/tasks/{task}", "dialog": "#/tasks", **PLACES}.get(view, f"#/{view}")
    return await windows.open(place, **options)  # type: ignore[arg-type]  # passed through


async def unfold(page: Page, view: str) -> None:
    """Have everything shown that a view has, faults of the form among it; in any language."""
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    if view == "tasks" or view in PLACES:
        await expect(page.locator("tbody tr").first).to_be_visible()
    if view == "task":
        await page.locator("summary").first.click()
        await expect(page.locator("table.images tbody tr").first).to_be_visible()
        await page.locator("canvas").click(position={"x": 20, "y": 20})
        await expect(page.locator(".details.pinned")).to_be_visible()
    if view == "new":
        await page.locator("[aria-labelledby=labels-label] button").last.click()
        await page.locator("#images").fill("Wrong Image\nnginx")
        await page.locator("#batchSize").fill("0")
        await page.locator("button[type=submit]").click()
        await expect(page.get_by_role("alert")).to_be_visible()
    if view == "nodes":
        await expect(page.get_by_text("a-1").first).to_be_visible()


async def serious(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds that is serious or worse: its rules, and where."""
    found = await Axe().run(page)
    return [
        (rule["id"], [node["html"] for node in rule["nodes"]])
        for rule in found.response["violations"]
        if rule["impact"] in SERIOUS
    ]


@pytest.mark.parametrize(("theme", "language"), [("light", "en-GB"), ("dark", "zh-CN")])
@pytest.mark.parametrize("view", ["tasks", "task", "new", "nodes", *PLACES])
async def test_axe_finds_nothing_serious(
    windows: Windows, site: Fleet, view: str, theme: str, language: str
) -> None:
    """Contrast, names, roles and order of every view, in each theme and each language."""
    page = await open_view(windows, site, view, theme=theme, language=language, bypass_csp=True)
    await expect(page.locator("html")).to_have_attribute("lang", language.removesuffix("-GB"))
    await unfold(page, view)
    assert await serious(page) == []


async def test_axe_finds_nothing_serious_in_a_question(windows: Windows, held: Fleet) -> None:
    """The dialog that asks before a cancel."""
    task = await held.post(["registry.example/question:1"], batchSize=1)
    page = await windows.open(f"#/tasks/{task}", bypass_csp=True)
    await page.get_by_role("button", name="Cancel registry.example/question:1").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await serious(page) == []


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("place", ["#/tasks", "#/new", "#/nodes", *PLACES.values(), "task"])
async def test_a_phone_is_wide_enough(
    windows: Windows, held: Fleet, place: str, language: str
) -> None:
    """Nothing sticks out to the side, and what can be pressed is large enough for a finger."""
    if place == "task":
        place = (
            f"#/tasks/{await held.post(['registry.example/a/rather/long/name/of/an/image:1.0'])}"
        )
    page = await windows.open(place, language=language, size=PHONE, has_touch=True)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    too_wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert too_wide <= 0
    heights = await page.evaluate(
        "[...document.querySelectorAll('main .button')].filter((one) => one.checkVisibility())"
        ".map((one) => one.getBoundingClientRect().height)"
    )
    assert all(height >= 24 for height in heights)  # WCAG 2.2, 2.5.8


async def test_the_first_key_leads_past_the_navigation(windows: Windows) -> None:
    """The skip link appears with the first Tab and leads to the content."""
    page = await windows.open()
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("main")).to_be_focused()
