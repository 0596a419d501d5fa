"""Whatever comes from outside stays text, and nothing but the page's own files is loaded."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from playwright.async_api import Error, Page, Route, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

EVIL = "<img src=x onerror=\"window.hacked='yes'\"><script>window.hacked='yes'</script>"
TEXTS = {"images", "image", "message", "reason", "nodeName", "name", "detail", "pulling"}
TEXTS |= {"runtime", "driver", "agentVersion", "platform", "webhookUrl", "digest"}


def poisoned(value: Any, key: str = "") -> Any:
    """An answer with markup in every text that is somebody's free choice."""
    if isinstance(value, dict):
        if key in {"labels", "nodeSelector"}:
            return {**value, EVIL: EVIL}
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, key) for inner in value]
    return f"{value}{EVIL}" if isinstance(value, str) and key in TEXTS else value


def poisoned_stream(text: str) -> str:
    """The same with every event of a stream."""
    return "\n".join(
        f"data: {json.dumps(poisoned(json.loads(line[5:])))}" if line.startswith("data:") else line
        for line in text.split("\n")
    )


async def poison(page: Page) -> None:
    """Have every answer of the API poisoned on its way."""

    async def change(route: Route) -> None:
        with suppress(Error):  # the page has gone on, and wants no answer
            answer = await route.fetch()
            await route.fulfill(response=answer, body=json.dumps(poisoned(await answer.json())))

    async def leave(route: Route) -> None:
        await route.continue_()

    async def change_stream(route: Route) -> None:
        with suppress(Error):
            answer = await route.fetch()
            await route.fulfill(response=answer, body=poisoned_stream(await answer.text()))

    await page.route("**/api/v1/**", change)
    await page.route("**/api/v1/events?*", leave)  # has no end to be waited for
    await page.route("**/tasks/*/events?*", change_stream)


@pytest.mark.parametrize(
    "place", ["#/tasks", "#/tasks/{task}", "#/nodes", "#/new", "#/new?from={task}"]
)
async def test_markup_from_the_api_is_shown_as_text(
    windows: Windows, site: Fleet, place: str
) -> None:
    """It is there to be read, and has made neither an element nor a script."""
    task = await site.post(["registry.example/fails/unauthorized:1"])
    await site.over(task)
    page = await windows.open("#/elsewhere")
    await poison(page)
    await page.goto(f"{site.coordinator.url}/web/{place.format(task=task)}")
    await page.reload()
    if "from" in place:
        await expect(page.get_by_role("textbox", name="Images")).to_have_value(
            f"{'registry.example/fails/unauthorized:1'}{EVIL}"
        )
    else:
        shown = page.get_by_text("<img src=x").filter(visible=True)
        await expect(shown.first).to_be_visible()
    assert await page.evaluate("window.hacked") is None
    assert await page.locator("main img, main script").count() == 0


async def test_markup_that_is_typed_stays_text(windows: Windows) -> None:
    """In the verdict on a line, in the preview's words, in the command, and in the server's."""
    page = await windows.open("#/new")
    await page.locator("#images").fill(f"a/{EVIL.replace(' ', '')}\nnginx")
    await expect(page.locator(".verdicts")).to_contain_text("<imgsrc")
    await page.locator("#images").fill("nginx")
    await page.locator("#names").fill(EVIL.replace(" ", ""))
    await expect(page.locator(".preview")).to_contain_text("<imgsrc")
    await expect(page.locator(".command pre")).to_contain_text("<imgsrc")
    await page.get_by_role("button", name="Create task").click()
    await expect(page.locator("#names-fault")).to_contain_text("<imgsrc")
    assert await page.evaluate("window.hacked") is None
    assert await page.locator("main img, main script").count() == 0


async def test_the_policy_refuses_what_is_not_the_pages_own(windows: Windows) -> None:
    """Inline scripts do not run, text does not become HTML, and other hosts are not asked."""
    page = await windows.open("#/new")
    await expect(page.locator("h1")).to_have_count(1)
    refused = await page.evaluate(
        """async () => {
          const refused = [];
          const seen = new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => {
              refused.push(effectiveDirective);
              if (effectiveDirective === "img-src") resolve();
            });
          });
          const attempt = async (what) => {
            try {
              await what();
              refused.push("ran");
            } catch (error) {
              refused.push(error.name);
            }
          };
          await attempt(() => (document.body.innerHTML = "<b>no</b>"));
          await attempt(() => fetch("http://127.0.0.1:9/"));
          await attempt(() => document.body.setAttribute("onclick", "1"));
          const image = new Image();
          image.src = "http://127.0.0.1:9/x.png";
          await seen;
          return refused;
        }"""
    )
    windows.complaints.clear()  # Chromium reports each refusal, which is what was wanted
    assert {"require-trusted-types-for", "connect-src", "img-src"} <= set(refused)
    assert "ran" not in refused
    await expect(page.locator("h1")).to_have_count(1)


async def test_only_the_server_is_asked(windows: Windows) -> None:
    """Over all views, not one request goes anywhere else."""
    page = await windows.open("#/new")
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    for place in ("#/tasks", "#/nodes", "#/new"):
        await page.goto(f"{windows.url}/web/{place}")
        await page.reload()
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert hosts == {windows.url.split("/")[2]}
