"""The page of one task: the map of its nodes, what went wrong, and what was when."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WARM = "rgb(25, 166, 127)"


async def colour_of_first_cell(page: Page) -> str:
    """The colour at the right edge of the first cell, away from its name."""
    return str(
        await page.evaluate(
            """() => {
              const canvas = document.querySelector("canvas");
              const cell = document.querySelector(".heat-map .cursor").getBoundingClientRect();
              const pixel = canvas.getContext("2d").getImageData(cell.width - 6, 8, 1, 1).data;
              return `rgb(${pixel[0]}, ${pixel[1]}, ${pixel[2]})`;
            }"""
        )
    )


async def test_the_map_recolours_live(windows: Windows, held: Fleet) -> None:
    """Cells go from waiting over pulling to warm, on the canvas and in the legend."""
    images = ["registry.example/map:1", "registry.example/map:2"]
    page = await windows.open_begun(lambda: held.post(images, batchSize=2))
    legend = page.get_by_role("group", name="Show only")
    await expect(legend).to_have_text(re.compile("2Pulling.*2Waiting"))
    held.let_go()
    await expect(legend.get_by_role("button", name=re.compile("4 Warm"))).to_be_visible()
    canvas = page.get_by_role("application", name=re.compile("Map of 4 nodes: Warm 4"))
    await canvas.focus()
    await page.keyboard.press("ArrowRight")
    assert await colour_of_first_cell(page) == WARM


async def test_a_cell_tells_everything_of_its_node(browser: Browser, fleet_apart: Fleet) -> None:
    """By pointer or by keys: node, batch, attempt, images with their bytes, reason."""
    await fleet_apart.add_coordinator()
    agents = await fleet_apart.add_agents(2, {"IPS_SIMULATED_SECONDS": "200"})
    await fleet_apart.known_nodes(2)
    windows = Windows(browser, fleet_apart.coordinator.url)
    images = ["registry.example/cell:1", "registry.example/fails/disk-full:1"]
    page = await windows.open_begun(lambda: fleet_apart.post(images))
    details, canvas = page.locator(".details"), page.locator("canvas")
    await expect(page.get_by_role("button", name="2 Pulling")).to_be_visible()
    await canvas.click(position={"x": 20, "y": 20})
    await expect(details.get_by_role("heading", name="node-1")).to_be_visible()
    await expect(details).to_contain_text("Batch 1 · Attempt 1")
    await expect(details).to_contain_text(re.compile(r"% · \d+ KiB of 977 KiB · [\d.]+ KiB/s"))
    for agent in agents:
        await agent.kill()
    await fleet_apart.add_agents(2)  # quick ones, which take the same attempts over
    await expect(details).to_contain_text("DiskFull")
    await expect(details).to_contain_text("The node's image disk is full")
    await expect(details).to_contain_text("Pulled")
    await details.get_by_role("button", name="Unpin").click()
    await canvas.focus()
    await page.keyboard.press("End")
    await expect(details.get_by_role("heading", name="node-2")).to_be_visible()
    await expect(page.get_by_text("node-2: Failed, DiskFull")).to_be_attached()
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Throughput").hover()
    await expect(details.get_by_role("heading", name="node-2")).to_be_visible()
    await canvas.focus()
    await page.keyboard.press("Escape")
    await expect(details).to_contain_text("Hover over or tap a cell")
    await windows.close()
    assert windows.complaints == []


async def test_failures_are_grouped_by_reason_with_the_raw_message(
    windows: Windows, site: Fleet
) -> None:
    """One line a reason says what it means; opened, it lists every node with its message."""
    images = ["registry.example/fails/image-not-found:1", "registry.example/fails/rate-limited:1"]
    task = await site.post(images, nodeSelector={"zone": "a"})
    page = await windows.open(f"#/tasks/{task}")
    wrong = page.get_by_role("region", name="Failures by reason")
    missing = wrong.locator("details").filter(has_text="ImageNotFound")
    await expect(missing).to_contain_text("The registry has no such image or tag")
    await expect(missing).to_contain_text("3 failed")
    await expect(wrong.locator("details")).to_have_count(2)
    await missing.locator("summary").click()
    await expect(missing).to_contain_text("A retry does not help")
    await expect(missing).to_contain_text("Check the name and the tag")
    row = missing.get_by_role("row").filter(has_text="a-2")
    await expect(row).to_contain_text("simulated: registry.example/fails/image-not-found:1")
    await expect(row.locator("time")).to_have_attribute("title", re.compile(r"UTC$"))


async def test_a_retry_is_seen_to_wait_and_to_come(windows: Windows, site: Fleet) -> None:
    """A node that waits for its retry says when it is tried again, and which attempt it is."""
    own = {"maxRetries": 1, "retryDelay": 10, "nodeSelector": {"zone": "b"}}
    image = "registry.example/fails/registry-unreachable:2"
    page = await windows.open_begun(lambda: site.post([image], **own))
    await expect(page.get_by_role("button", name="1 Retrying")).to_be_visible()
    await page.locator("canvas").click(position={"x": 20, "y": 20})
    await expect(page.locator(".details")).to_contain_text("next try")
    await expect(page.locator(".details")).to_contain_text("Attempt 2")
    await expect(page.get_by_text("1 of 1", exact=True).first).to_be_visible()


async def test_images_batches_and_throughput(windows: Windows, site: Fleet) -> None:
    """Per image its size, nodes and slowest node; a bar for each batch; speed over time."""
    task = await site.post(["registry.example/sums:1", "registry.example/sums:2"], batchSize=3)
    await site.over(task)
    page = await windows.open(f"#/tasks/{task}")
    row = page.get_by_role("row").filter(has_text="registry.example/sums:2")
    await expect(row).to_contain_text("977 KiB")
    await expect(row).to_contain_text("4 / 4")
    await expect(row).to_contain_text(re.compile(r"[ab]-\d · \d"))
    batches = page.get_by_role("region", name="Batches").get_by_role("listitem")
    await expect(batches).to_have_count(2)
    await expect(batches.first).to_have_attribute("title", re.compile(r"3 of 3 done, 0 failed"))
    chart = page.get_by_role("img", name=re.compile("Throughput over time"))
    await expect(chart).to_be_visible()
    await expect(chart).to_have_attribute("aria-label", re.compile("100% of nodes done"))


async def test_a_legend_lets_one_state_stand_out(windows: Windows, site: Fleet) -> None:
    """Pressed, it dims the others; pressed again, all are shown."""
    task = await site.post(["registry.example/legend:1"])
    await site.over(task)
    page = await windows.open(f"#/tasks/{task}")
    button = page.get_by_role("button", name=re.compile("4 Warm"))
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "false")


async def test_ten_thousand_nodes_have_a_cell_each(windows: Windows) -> None:
    """All on one screen; the last is reached by pointer and by key, and a change is seen in it."""
    page = await windows.open("#/new")
    seen = await page.evaluate(
        """async () => {
          const { HeatMap } = await import("/web/js/parts/heat_map.js");
          const chosen = [];
          const states = ["waiting", "succeeded"];
          const nature = { name: (one) => one.name, state: (one) => one.state, states };
          const map = new HeatMap(nature, (one) => chosen.push(one?.name));
          document.querySelector("main").replaceChildren(map.element);
          const nodes = Array.from({ length: 10000 }, (_, n) => ({ name: n, state: "waiting" }));
          map.start();
          map.show(nodes, null);
          const canvas = map.element.querySelector("canvas");
          const paper = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
          const key = (name) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
          key("End");
          const cell = map.element.querySelector(".cursor").getBoundingClientRect();
          const box = canvas.getBoundingClientRect();
          const [x, y] = [cell.left - box.left + 1, cell.top - box.top + 1];
          const colour = () => {
            paper.drawImage(canvas, x * devicePixelRatio, y * devicePixelRatio, 1, 1, 0, 0, 1, 1);
            return [...paper.getImageData(0, 0, 1, 1).data].join();
          };
          const painted = async (text) => {
            while (colour() === text) await new Promise(requestAnimationFrame);
            return colour();
          };
          const before = await painted("0,0,0,255");
          nodes[9999] = { name: 9999, state: "succeeded" };
          map.show(nodes, new Set([9999]));
          const after = await painted(before);
          key("Escape");
          const at = { clientX: cell.left + 1, clientY: cell.top + 1, pointerType: "mouse" };
          canvas.dispatchEvent(new PointerEvent("pointermove", at));
          map.stop();
          return { chosen: chosen.filter((name) => name !== undefined), after, height: box.height };
        }"""
    )
    assert set(seen["chosen"]) == {9999}
    assert len(seen["chosen"]) >= 2
    assert f"rgb({', '.join(seen['after'].split(',')[:3])})" == WARM
    assert seen["height"] <= 450


async def test_nothing_is_summed_up_before_the_nodes_are_there(
    windows: Windows, site: Fleet
) -> None:
    """While they are asked for, the page does not say that no batch has begun."""
    task = await site.post(["registry.example/later:1"])
    await site.over(task)
    page = await windows.open("#/new")
    asked, answered = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await answered.wait()
        await route.continue_()

    await page.route("**/nodes?*", hold)
    await page.goto(f"{windows.url}/web/#/tasks/{task}")
    await asked.wait()
    await expect(page.get_by_role("region", name="Settings")).to_contain_text("Batch size")
    batches = page.get_by_role("region", name="Batches")
    await expect(batches).to_be_visible()
    await expect(batches.get_by_text("No batch has begun.")).to_be_hidden()
    await expect(page.locator("table.images tbody tr")).to_have_count(0)
    answered.set()
    await expect(batches.get_by_role("listitem")).to_have_count(1)
    await expect(page.locator("table.images tbody tr")).to_have_count(1)


async def test_an_unknown_task_is_said_to_be_gone(windows: Windows) -> None:
    """A link to what is no longer kept leads to words and a way back."""
    page = await windows.open("#/tasks/task-20200101-000000-00000000")
    await expect(page.get_by_text("Task not found.")).to_be_visible()
    await page.get_by_role("link", name="To the list of tasks").click()
    await expect(page.get_by_role("heading", level=1, name="Tasks")).to_be_visible()


async def test_times_are_the_viewers_and_utc_on_hover(windows: Windows, site: Fleet) -> None:
    """In another zone the same moment reads differently; the exact UTC does not."""
    task = await site.post(["registry.example/times:1"])
    seen = await site.over(task)
    utc = seen["createdAt"].replace("T", " ").replace("Z", " UTC")
    shown = set()
    for zone in ("Asia/Shanghai", "America/New_York"):
        page = await windows.open(f"#/tasks/{task}", zone=zone)
        time = page.locator(f'time[title="{utc}"]').first
        await expect(time).to_have_attribute("datetime", seen["createdAt"])
        shown.add(await time.text_content())
    assert len(shown) == 2


async def test_a_task_is_paused_and_resumed(windows: Windows, held: Fleet) -> None:
    """The button says which; the page shows it without being loaded again."""
    task = await held.post(["registry.example/held-back:1"], batchSize=1)
    await held.until(task, lambda seen: seen["progress"]["pullingNodes"] == 1)
    page = await windows.open(f"#/tasks/{task}")
    await page.get_by_role("button", name="Pause", exact=True).click()
    await expect(
        page.get_by_text("Paused: no new node begins until it is resumed.")
    ).to_be_visible()
    held.let_go()
    await held.until(task, lambda seen: seen["progress"]["completedNodes"] == 1)
    await page.get_by_role("button", name="Resume", exact=True).click()
    await expect(page.get_by_text("Completed", exact=True)).to_be_visible()


async def test_a_second_retry_of_the_same_failures_asks(windows: Windows, site: Fleet) -> None:
    """And the first task leads to those that repeat it."""
    task = await site.post(["registry.example/fails/image-not-found:1"])
    await site.over(task)
    early = await windows.open(f"#/tasks/{task}")
    page = await windows.open(f"#/tasks/{task}")
    await early.get_by_role("button", name="Retry 4 failed nodes").click()
    await expect(early).not_to_have_url(re.compile(task))
    retry = early.url.rpartition("/")[2]
    await page.get_by_role("button", name="Retry 4 failed nodes").click()
    question = page.get_by_role("dialog", name="Retry the same failures again?")
    await expect(question.get_by_text(retry)).to_be_visible()
    await question.get_by_role("button", name="Do not retry").click()
    await page.reload()
    await page.get_by_role("link", name=retry).click()
    await expect(page).to_have_url(re.compile(retry))


async def test_a_node_is_found_within_a_task(windows: Windows, held: Fleet) -> None:
    """Its cell is chosen by a part of its name, and the keys walk from match to match."""
    task = await held.post(["registry.example/find/a-node:1"])
    page = await windows.open(f"#/tasks/{task}")
    await page.get_by_role("searchbox", name="Find a node").fill("A-")
    details = page.locator(".details.pinned")
    await expect(details.get_by_role("heading")).to_have_text("a-1")
    await page.locator("canvas").press("End")
    await expect(page.locator(".details").get_by_role("heading")).to_have_text("a-3")
    await page.get_by_role("searchbox", name="Find a node").fill("nobody")
    await expect(page.locator(".details")).to_contain_text("Hover over or tap a cell")


async def test_a_node_that_is_looked_for_before_it_has_come(windows: Windows, held: Fleet) -> None:
    """It is chosen when it comes; one that was let go of is not chosen again by coming back."""
    task = await held.post(["registry.example/find/early:1"])
    is_let = asyncio.Event()

    async def hold(route: Route) -> None:
        await is_let.wait()
        await route.continue_()

    page = await windows.open("#/new")
    await page.route(f"**/tasks/{task}/nodes?*", hold)
    await page.evaluate("hash => { location.hash = hash; }", f"#/tasks/{task}")
    await page.get_by_role("searchbox", name="Find a node").fill("A-")
    await expect(page).to_have_url(re.compile("q=A-"))
    is_let.set()
    details = page.locator(".details.pinned")
    await expect(details.get_by_role("heading")).to_have_text("a-1")
    await expect(page).to_have_url(re.compile("node=a-1"))
    await details.get_by_role("button", name="Unpin").click()
    await expect(page).not_to_have_url(re.compile("node="))
    await page.reload()
    await expect(page.get_by_role("application", name=re.compile("Map of 4 nodes"))).to_be_visible()
    await expect(page.get_by_role("searchbox", name="Find a node")).to_have_value("A-")
    await expect(page.locator(".details")).to_contain_text("Hover over or tap a cell")
