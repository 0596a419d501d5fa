"""English and Chinese: complete, chosen by the browser, switched by a click."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_both_languages_have_the_same_words(windows: Windows) -> None:
    """Every key is in both, with the same places to be filled in."""
    page = await windows.open("#/new")
    differences = await page.evaluate(
        """async () => {
          const { WORDS } = await import("/web/js/words/words.js");
          const texts = (entry) => (typeof entry === "string" ? entry : entry?.other);
          const found = (entry) => texts(entry)?.match(/[{]\\w+[}]/g) ?? [];
          const places = (entry) => [...new Set(found(entry))].sort().join();
          const differ = ([en, zh]) => !texts(en) || !texts(zh) || places(en) !== places(zh);
          return Object.keys(WORDS).filter((key) => differ(WORDS[key]));
        }"""
    )
    assert differences == []


async def test_the_browsers_language_decides(windows: Windows, site: Fleet) -> None:
    """Every view of a Chinese browser is Chinese, to the title of the window."""
    task = await site.post(["registry.example/fails/timeout:1"])
    await site.over(task)
    page = await windows.open(language="zh-CN")
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    for place, heading, words in [
        ("#/tasks", "任务", "全部"),
        ("#/new", "新建任务", "创建任务"),
        ("#/nodes", "节点", "就绪"),
        (f"#/tasks/{task}", "registry.example/fails/timeout:1", "拉取超时"),
    ]:
        await page.goto(f"{windows.url}/web/{place}")
        await expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
        await expect(page.get_by_text(words).first).to_be_visible()
        await expect(page).to_have_title(f"{await title_of(page)} · 镜像预热")


async def title_of(page: Page) -> str:
    """The title of the window without the name of the application."""
    return (await page.title()).removesuffix(" · 镜像预热")


@pytest.mark.usefixtures("held")
async def test_a_switch_of_language_loses_nothing(windows: Windows) -> None:
    """What was typed stays, the choice is remembered, and a task is created in Chinese."""
    page = await windows.open("#/new")
    await page.get_by_role("textbox", name="Images").fill("registry.example/switch:1")
    await page.get_by_role("button", name="Add a condition").click()
    await page.get_by_label("Key").fill("zone")
    await page.get_by_label("Value").fill("a")
    await page.get_by_role("button", name="切换到中文").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("新建任务")
    await expect(page.get_by_role("textbox", name="镜像")).to_have_value(
        "registry.example/switch:1"
    )
    await expect(page.get_by_label("值")).to_have_value("a")
    await page.get_by_role("button", name="创建任务").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("registry.example/switch:1")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    await page.get_by_role("button", name="取消 registry.example/switch:1").click()
    await page.get_by_role("dialog").get_by_role("button", name="取消任务").click()
    await expect(page.locator(".title-line .chip")).to_have_text("已取消")


async def test_light_and_dark_by_the_system_and_by_a_switch(windows: Windows) -> None:
    """The switch goes round: as the system, light, dark; and is remembered."""
    page = await windows.open("#/new", theme="dark")
    dark = await background(page)
    await page.get_by_role("button", name="Theme: system").click()
    light = await background(page)
    assert light != dark
    await page.reload()
    assert await background(page) == light
    await page.get_by_role("button", name="Theme: light").click()
    assert await background(page) == dark
    await page.get_by_role("button", name="Theme: dark").click()
    await expect(page.get_by_role("button", name="Theme: system")).to_be_visible()


async def background(page: Page) -> str:
    """The colour behind everything."""
    return str(await page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))


async def test_the_service_speaks_chinese_too(windows: Windows, site: Fleet) -> None:
    """Why a task failed, and what is refused, are worded from their codes."""
    task = await site.post(["registry.example/nowhere:1"], nodeSelector={"zone": "nowhere"})
    await site.over(task)
    page = await windows.open(f"#/tasks/{task}", language="zh-CN")
    await expect(page.locator("p.message:visible")).to_have_text("没有节点匹配 zone=nowhere。")
    await page.goto(f"{windows.url}/web/#/new")
    await page.get_by_role("textbox", name="镜像").fill("registry.example/refused:1")
    await page.get_by_role("button", name="添加条件").click()
    await page.get_by_label("键").fill("bad key!")
    await page.get_by_label("值", exact=True).fill("a")
    await page.get_by_role("button", name="创建任务").click()
    await expect(page.locator("#labels-fault-0")).to_contain_text(
        "标签键“bad key!”不合法，应为 [前缀/]名称"
    )
