"""The page of all nodes."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_nodes_show_what_they_are_and_what_they_do(windows: Windows, held: Fleet) -> None:
    """Labels, runtime and agent of each; a node that pulls says what."""
    page = await windows.open("#/nodes")
    row = page.get_by_role("row").filter(has_text="b-1")
    await expect(row).to_contain_text("Ready")
    await expect(row).to_contain_text("zone=b")
    await expect(row).to_contain_text("simulated")
    await expect(row).to_contain_text("1.0.0")
    await expect(row).to_contain_text("just now")
    await held.post(["registry.example/busy:1"], nodeSelector={"zone": "b"})
    await expect(row).to_contain_text("registry.example/busy:1")
    await expect(row.get_by_text("Pulling")).to_be_visible()
    held.let_go()
    await expect(row.get_by_text("Ready")).to_be_visible()


async def test_a_frame_before_the_list_is_not_taken_for_the_fleet(windows: Windows) -> None:
    """A node that moved while all are being asked for is not shown as the only one there is.

    Then the one whose disk is nearly full comes first.
    """
    page = await windows.open("#/new")
    shown = await page.evaluate(
        """async () => {
          const { NodesView } = await import("/web/js/views/nodes_view.js");
          const node = { name: "n-1", labels: {}, schedulable: true, connected: true, pulling: [] };
          const frame = `event: agents\ndata: ${JSON.stringify({ nodes: [node], gone: [] })}\n\n`;
          let answer;
          const list = new Promise((resolve) => { answer = resolve; });
          const bytes = new TextEncoder().encode(frame);
          const stream = new ReadableStream({ start: (to) => to.enqueue(bytes) });
          window.fetch = async (url) => (url.includes("/events") ? new Response(stream) : list);
          let heard = () => {};
          const nothing = () => {};
          const shell = { title: nothing, connection: nothing, heard: () => heard() };
          const view = new NodesView({ query: new URLSearchParams() }, shell);
          document.querySelector("main").replaceChildren(view.element);
          const first = new Promise((resolve) => { heard = resolve; });
          view.start();
          await first;
          const until = async (isDone) => {
            while (!isDone()) await new Promise(requestAnimationFrame);
          };
          const text = () => view.element.querySelector("h1").textContent;
          await new Promise((resolve) => setTimeout(resolve, 600)); // longer than between paintings
          const before = [text(), view.element.querySelectorAll("[aria-rowindex]").length];
          const imageDisk = { freeBytes: 9e9, totalBytes: 1e11 };
          answer(Response.json({ nodes: [node, { ...node, name: "n-2", imageDisk }], total: 2 }));
          await until(() => /2$/.test(text()));
          view.stop();
          const row = view.element.querySelector("[aria-rowindex]");
          const [, state, , , disk] = [...row.cells].map((cell) => cell.textContent);
          return [before, text(), state, disk];
        }"""
    )
    assert shown == [["Nodes Loading…", 0], "Nodes 2", "Disk nearly full", "8.4 GiB"]


async def test_nodes_are_found_by_name_or_label(windows: Windows) -> None:
    """The table narrows while it is typed."""
    page = await windows.open("#/nodes")
    find = page.get_by_role("searchbox", name="Find by name or label")
    await expect(page.get_by_role("row").filter(has_text="a-2")).to_be_visible()
    await find.fill("zone=b")
    await expect(page.get_by_role("row").filter(has_text="b-1")).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text="a-2")).to_have_count(0)
    await find.fill("nothing like it")
    await expect(page.get_by_text("No node matches.")).to_be_visible()


async def test_an_agent_that_dies_stands_out(browser: Browser, fleet_apart: Fleet) -> None:
    """It moves to the top, is said to be away, and since when."""
    await fleet_apart.add_coordinator()
    await fleet_apart.add_agents(3, {"IPS_HEARTBEAT_SECONDS": "0.5"})
    await fleet_apart.known_nodes(3)
    windows = Windows(browser, fleet_apart.coordinator.url)
    page = await windows.open("#/nodes")
    first = page.get_by_role("row").nth(1)
    await expect(first).to_contain_text("node-1")
    await fleet_apart.agents["node-2"].kill()
    await expect(first).to_contain_text("node-2")
    await expect(first).to_contain_text("Offline")
    await expect(first.locator("time")).to_have_attribute("title", re.compile("UTC$"))
    await expect(page.get_by_role("button", name=re.compile("1 Offline"))).to_be_visible()
    await windows.close()
    assert windows.complaints == []


async def test_with_a_filter_arrows_go_from_match_to_match(windows: Windows) -> None:
    """114 failures among 2,000 nodes can be visited by keyboard."""
    page = await windows.open("#/new")
    visited = await page.evaluate(
        """async () => {
          const { HeatMap } = await import("/web/js/parts/heat_map.js");
          const made = (_, at) => ({ at, state: at % 70 ? "ok" : "bad" });
          const items = Array.from({ length: 200 }, made);
          const nature = {
            name: ({ at }) => `n-${at}`, state: ({ state }) => state, note: () => "",
            share: () => 1, states: ["ok", "bad"],
          };
          const seen = [];
          const map = new HeatMap(nature, (item) => item && seen.push(item.at));
          document.querySelector("main").replaceChildren(map.element);
          map.start();
          map.show(items, null);
          map.only("bad");
          const canvas = map.element.querySelector("canvas");
          const right = ["ArrowRight", "ArrowRight", "ArrowRight"];
          for (const key of [...right, "ArrowLeft", "Home", "End"]) {
            canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
          }
          map.stop();
          return seen.filter((at, place) => at !== seen[place - 1]);
        }"""
    )
    assert visited == [0, 70, 140, 70, 0, 140]


async def test_trouble_is_told_by_more_than_a_colour(windows: Windows) -> None:
    """A cross or a stroke stands in a cell: its middle is not of its colour."""
    page = await windows.open("#/new")
    marked = await page.evaluate(
        """async () => {
          const { paintMark } = await import("/web/js/parts/cell_marks.js");
          const paper = document.createElement("canvas")
            .getContext("2d", { willReadFrequently: true });
          const marked = (state, size) => {
            paper.fillStyle = "#ff0000";
            paper.fillRect(0, 0, size, size);
            paintMark(paper, { x: 0, y: 0, width: size, height: size }, state, "#0000ff");
            return paper.getImageData(size / 2, size / 2, 1, 1).data[2] > 0;
          };
          const states = ["succeeded", "waiting", "failed", "away", "retrying", "blocked"];
          return [...states.map((state) => marked(state, 12)), marked("failed", 4)];
        }"""
    )
    assert marked == [False, False, True, True, True, True, False]


async def test_a_completed_task_with_failures_says_so(windows: Windows) -> None:
    """It is not all green; one that is held back is paused."""
    page = await windows.open("#/new")
    words = await page.evaluate(
        """async () => {
          const { standing } = await import("/web/js/state/task_order.js");
          const progress = (failedNodes) => ({ failedNodes });
          const task = (status, n, paused) => ({ status, paused, progress: progress(n) });
          return [
            standing(task("completed", 0)), standing(task("completed", 3)),
            standing(task("failed", 3)), standing(task("running", 3, true)),
            standing(task("cancelled", 0, true)),
          ];
        }"""
    )
    assert words == ["completed", "partly", "failed", "paused", "cancelled"]


ARE_INSIDE_THEIR_CELLS = """(selectors) => selectors.every((selector) => {
  const right = (one) => one.getBoundingClientRect().right;
  const shown = [...document.querySelectorAll(selector)].filter((one) => one.offsetWidth > 0);
  return shown.length > 0 && shown.every((one) => right(one) <= right(one.closest("td")));
})"""


async def test_nodes_are_sorted_by_any_column_and_by_a_label(windows: Windows) -> None:
    """Down, up and as it was; a label has a column of its own, and all is in the address."""
    page = await windows.open("#/nodes")
    names = page.locator("tbody tr:visible .cell-node")
    await expect(names).to_have_text(["a-1", "a-2", "a-3", "b-1"])
    by_name = page.get_by_role("button", name="Node", exact=True)
    await by_name.click()
    await by_name.click()
    await expect(names).to_have_text(["b-1", "a-3", "a-2", "a-1"])
    head = page.get_by_role("columnheader", name="Node", exact=True)
    await expect(head).to_have_attribute("aria-sort", "descending")
    await page.get_by_label("Column of a label").select_option("zone")
    await page.get_by_role("button", name="zone", exact=True).click()
    await expect(names).to_have_text(["a-1", "a-2", "a-3", "b-1"])
    await page.get_by_role("button", name="zone", exact=True).click()
    await expect(names.first).to_have_text("b-1")
    await expect(page.locator("tbody tr:visible").first.get_by_role("cell").last).to_have_text("b")
    other = await windows.open(page.url.partition("/web/")[2], language="zh-CN")
    await expect(other.locator("tbody tr:visible .cell-node").first).to_have_text("b-1")
    await page.get_by_role("button", name="Remove the column zone").click()
    await expect(page.get_by_role("columnheader", name="zone")).to_have_count(0)


async def test_a_name_of_a_node_keeps_its_end(windows: Windows) -> None:
    """What is cut is the middle, and with names of 253 characters a table stays one."""
    long = f"ip-10-0-0-9.{'cn-shanghai.' * 19}compute-17"
    page = await windows.open("#/tasks")
    node = {"name": long, "labels": {f"key-{n}": "v" * 30 for n in range(5)}, "schedulable": True}
    node |= {"connected": True, "pulling": [], "lastSeen": "2026-01-16T15:12:34Z"}
    states = {"ready": 1, "offline": 0, "unschedulable": 0}
    answer = {"nodes": [node], "total": 1, "limit": 1000, "offset": 0, "states": states}
    await page.route("**/api/v1/nodes?*", lambda route: route.fulfill(json=answer))
    quiet = {"content_type": "text/event-stream", "body": ": nothing moves\n\n"}
    await page.route("**/api/v1/events?*", lambda route: route.fulfill(**quiet))
    await page.goto(f"{windows.url}/web/#/nodes")
    await expect(page.locator(".cell-node .tail").first).to_have_text(long[-12:])
    await expect(page.locator(".cell-labels .label:visible").last).to_have_text("+2")
    # In one step: a row is written anew whenever its node is read again.
    assert await page.evaluate(ARE_INSIDE_THEIR_CELLS, [".cell-node .tail", ".cell-labels .label"])
