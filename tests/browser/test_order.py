"""Never an older state after a newer one: the page's own rules, in the browser that runs them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def page(windows: Windows) -> AsyncIterator[Page]:
    """A page whose modules are called."""
    yield await windows.open("#/new")


async def call(page: Page, module: str, name: str, *arguments: Any) -> Any:
    """What a function of one of the page's modules returns."""
    return await page.evaluate(
        """async ([module, name, values]) => {
          const found = await import(`/web/js/${module}`);
          return found[name](...values);
        }""",
        [module, name, list(arguments)],
    )


def task(
    status: str = "running", done: int = 0, failed: int = 0, **progress: int
) -> dict[str, Any]:
    """As much of a task as its order depends on."""
    counts = {"completedNodes": done, "failedNodes": failed, "currentBatch": 1, "retryingNodes": 0}
    return {"status": status, "retryCount": 0, "progress": {**counts, **progress}}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (task("pending"), task()),
        (task(done=9), task("completed", done=9)),
        (task(done=3), task("cancelled", done=3)),
        (task(done=3), task(done=4)),
        (task(done=3), task(done=3, failed=1)),
        (task(done=3, currentBatch=1), task(done=3, currentBatch=2)),
        (task(done=3, bytes=100), task(done=3, bytes=200)),
    ],
)
async def test_of_two_states_of_a_task_the_newer_is_known(
    page: Page, older: dict[str, Any], newer: dict[str, Any]
) -> None:
    """Whichever comes first, the newer stays."""
    assert await call(page, "state/task_order.js", "newer", newer, older) == newer
    assert await call(page, "state/task_order.js", "newer", older, newer) == newer


async def test_bytes_may_fall_when_a_pull_is_thrown_away(page: Page) -> None:
    """A node that goes to its retry takes its bytes along; that is news all the same."""
    known, seen = task(bytes=200), task(bytes=100, retryingNodes=1)
    assert await call(page, "state/task_order.js", "newer", known, seen) == seen


def node(state: str, attempt: int = 1) -> dict[str, Any]:
    """A node of a task."""
    return {"nodeName": "n", "batch": 1, "state": state, "attempt": attempt, "images": []}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (node("pulling"), node("succeeded")),
        (node("pulling"), node("retrying")),
        (node("retrying"), node("assigned", 2)),
        (node("retrying"), node("pulling", 2)),
        (node("pulling", 2), node("failed", 2)),
        (node("retrying", 1), node("cancelled", 1)),
        (node("pulling", 2), node("cancelled", 2)),
    ],
)
async def test_of_two_states_of_a_node_the_newer_is_known(
    page: Page, older: dict[str, Any], newer: dict[str, Any]
) -> None:
    """By the list or by an event, in either order."""
    assert await call(page, "state/node_order.js", "withRecord", older, newer) == newer
    assert await call(page, "state/node_order.js", "withRecord", newer, older) == newer
    framed = await call(
        page, "state/node_order.js", "withFrame", newer, older, "2026-01-01T00:00:00Z"
    )
    assert framed == newer


async def test_a_page_tells_one_number_of_a_thing(page: Page) -> None:
    """A running task's bar counts the nodes of its map; the task's own numbers come later."""
    told = task(done=1, failed=0, pullingNodes=2, waitingNodes=1, totalNodes=4, percentage=25)
    nodes = [node("succeeded"), node("succeeded"), node("failed"), node("assigned")]
    watch = {"nodes": nodes, "loading": None}
    seen = await call(page, "state/node_counts.js", "progressSeen", told, watch)
    assert (seen["completedNodes"], seen["failedNodes"], seen["assignedNodes"]) == (2, 1, 1)
    assert (seen["pullingNodes"], seen["waitingNodes"], seen["percentage"]) == (0, 0, 50)
    for status, known in (("completed", watch), ("running", {"nodes": nodes, "loading": 9})):
        same = {**told, "status": status}
        assert (
            await call(page, "state/node_counts.js", "progressSeen", same, known)
            == told["progress"]
        )


async def test_an_event_overtaken_by_an_answer_is_not_shown(windows: Windows, site: Fleet) -> None:
    """Events of the past, replayed after the list has been read, leave a finished task alone."""
    made = await site.post(["registry.example/order:1"])
    await site.over(made)
    page = await windows.open(f"#/tasks/{made}")
    seen = await page.evaluate(
        """async (id) => {
          const { TaskWatch } = await import("/web/js/state/task_watch.js");
          const seen = [];
          await new Promise((resolve) => {
            const watch = new TaskWatch(id, {
              onChange: () => watch.task !== null && seen.push(watch.task.status),
              onState: (state) => state === "over" && setTimeout(resolve, 500),
              onProblem: (problem) => seen.push(String(problem)),
            });
            watch.start();
          });
          return [...new Set(seen)];
        }""",
        made,
    )
    assert seen == ["completed"]


async def test_events_are_cut_wherever_the_network_cuts_them(page: Page) -> None:
    """Pieces of any size make the same events; comments make none."""
    text = ":\n\nevent: a\nid: 1\ndata: {}\n\n:\n\nevent: b\ndata: 1\ndata: 2\n\nevent: c\n"
    events = await page.evaluate(
        """async (text) => {
          const { Parser } = await import("/web/js/event_stream.js");
          const all = [];
          for (let size = 1; size <= text.length; size += 1) {
            const parser = new Parser();
            const found = [];
            for (let at = 0; at < text.length; at += size) {
              found.push(...parser.push(text.slice(at, at + size)));
            }
            all.push(JSON.stringify(found));
          }
          return [...new Set(all)];
        }""",
        text,
    )
    assert events == ['[{"type":"a","data":"{}","id":"1"},{"type":"b","data":"1\\n2"}]']


async def test_measurements_are_few_however_long_a_task_runs(page: Page) -> None:
    """A day of progress events is a few hundred points, the first and the last among them."""
    points = await page.evaluate(
        """async () => {
          const { History } = await import("/web/js/state/history.js");
          const history = new History();
          for (let second = 0; second < 86400; second += 1) {
            const progress = { bytesPerSecond: second, completedNodes: second, totalNodes: 86400 };
            const time = new Date(1e12 + 1000 * second).toISOString();
            history.add({ time, data: { status: "running", progress } });
          }
          return [history.points.length, history.points.at(-1).done];
        }"""
    )
    assert 100 < points[0] <= 480
    assert points[1] == 86399
