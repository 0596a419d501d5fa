"""The web page in Chromium: 200 tasks in the list, one of them running on 10,000 nodes.

``python -m bench.web [nodes] [minutes]``. Tasks are those of the page's main thread in Chromium's
trace, by the time on the clock and by the thread's own CPU time, which is what remains where other
programs share the machine. Memory is the page's JavaScript heap after a garbage collection.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
from playwright.async_api import Browser, CDPSession, Page, async_playwright

from bench.crowd import Crowd, Node, Plan, Pull
from bench.figures import show
from bench.nodes import all_known, connected
from sandbox.programs import Coordinator, post_task

TASKS = 200
IMAGES = ["shop/web:1", "shop/api:1"]
SIZE = 400_000_000
WATCH_SECONDS = 30.0
HEAP_EVERY_SECONDS = 20.0
LONG_MS = 100.0

_NOTE_SHOWN = """
window.shown = new Promise((resolve) => {{
  new MutationObserver((_, observer) => {{
    if (!document.querySelector({selector})) return;
    requestAnimationFrame(() => resolve(performance.now()));
    observer.disconnect();
  }}).observe(document, {{ childList: true, subtree: true, attributes: true }});
}});
"""
"""When that is there which was asked for, by the page's own clock: since it was asked for."""
_CATEGORIES = ["toplevel", "disabled-by-default-cpu_profiler.debug", "__metadata"]


async def run(nodes: int = 10_000, minutes: float = 10.0) -> None:
    """Measure and print."""
    print(f"the page: {TASKS} tasks, one running on {nodes} simulated nodes x {len(IMAGES)} images")
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(Path(folder), {"IPS_AGENT_WAIT_SECONDS": "600"})
        coordinator.start()
        await coordinator.ready()
        try:
            async with connected(coordinator.administrator_settings()) as bus:
                crowd = asyncio.create_task(Crowd(bus, _nodes(nodes), _plan(minutes)).run())
                await all_known(coordinator, nodes)
                task = await _fill(coordinator, nodes)
                async with _chromium() as browser:
                    await _measure(browser, coordinator.url, task, minutes)
                crowd.cancel()
        finally:
            await coordinator.terminate()


def _nodes(count: int) -> list[Node]:
    return [Node(f"node-{number:05}", {"zone": "abc"[number % 3]}) for number in range(count)]


def _plan(minutes: float) -> Plan:
    """Half of the nodes are done within the measurement, one by one; all others pull all along."""
    longest = 60 * minutes + 300

    def plan(node: str, image: str, attempt: int) -> Pull:  # noqa: ARG001  # a Plan
        number = int(node.removeprefix("node-"))
        return Pull(seconds=20 + longest * (number % 1000) / 500, size=SIZE)

    return plan


async def _fill(coordinator: Coordinator, nodes: int) -> str:
    """Make all tasks; the id of the one that runs."""
    async with aiohttp.ClientSession() as http:
        for number in range(TASKS - 1):
            body = {"images": [f"shop/old:{number}"], "nodeSelector": {"zone": "nowhere"}}
            await post_task(http, coordinator.url, body)
        running = {"images": IMAGES, "batchSize": min(nodes, 10_000)}
        return await post_task(http, coordinator.url, running)


@asynccontextmanager
async def _chromium() -> AsyncIterator[Browser]:
    program = os.environ.get("IPS_TEST_CHROMIUM") or shutil.which("chromium-headless-shell")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        await browser.close()


async def _measure(browser: Browser, url: str, task: str, minutes: float) -> None:
    await asyncio.sleep(15)  # until every agent pulls: that is the state to be measured
    for name, place, ready in [
        ("list", "#/tasks?limit=100", ".tasks tbody tr"),
        ("task", f"#/tasks/{task}", ".task-view:not(.loading) h1"),
        ("nodes", "#/nodes", ".nodes-table tbody tr[aria-rowindex]"),
    ]:
        page = await _open(browser, f"{url}/web/{place}", ready, name)
        await browser.start_tracing(page=page, categories=_CATEGORIES)
        await asyncio.sleep(WATCH_SECONDS)
        _show_tasks(json.loads(await browser.stop_tracing()), name)
        await page.context.close()
    page = await _open(browser, f"{url}/web/#/tasks/{task}", ".task-view:not(.loading) h1", "task")
    await _watch_memory(page, minutes)


async def _open(browser: Browser, url: str, ready: str, name: str) -> Page:
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    await page.add_init_script(_NOTE_SHOWN.format(selector=json.dumps(ready)))
    await page.goto(url, wait_until="commit")
    shown = await page.evaluate("window.shown")
    painted = await page.evaluate(
        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    )
    show(f"{name}: first contentful paint", f"{painted:.0f} ms", "at most 1,000 ms")
    show(f"{name}: what was asked for is there", f"{shown:.0f} ms", "at most 1,000 ms")
    return page


def _show_tasks(trace: dict[str, list[dict[str, Any]]], name: str) -> None:
    events = trace["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        (event["dur"] / 1000, event.get("tdur", event["dur"]) / 1000)
        for event in events
        if "RunTask" in event["name"] and "dur" in event and (event["pid"], event["tid"]) in mains
    ]
    for words, index in (("on the clock", 0), ("of CPU", 1)):
        times = sorted((task[index] for task in tasks), reverse=True)
        over = sum(time > LONG_MS for time in times)
        show(f"{name}: longest of {len(times)} tasks, {words}", f"{times[0]:.0f} ms")
        show(f"{name}: tasks over {LONG_MS:.0f} ms, {words}", str(over), "none")


async def _watch_memory(page: Page, minutes: float) -> None:
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")
    heaps = []
    deadline = monotonic() + 60 * minutes
    while monotonic() < deadline:
        await asyncio.sleep(HEAP_EVERY_SECONDS)
        heaps.append(await _heap_mib(session))
    third = max(1, len(heaps) // 3)
    first, last = sum(heaps[:third]) / third, sum(heaps[-third:]) / third
    show(f"task: heap, mean of the first third of {minutes:g} min", f"{first:.1f} MiB")
    show("task: heap, mean of the last third", f"{last:.1f} MiB", "flat")


async def _heap_mib(session: CDPSession) -> float:
    await session.send("HeapProfiler.collectGarbage")
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    used = next(entry["value"] for entry in metrics if entry["name"] == "JSHeapUsedSize")
    return float(used) / 1024**2


if __name__ == "__main__":
    asyncio.run(run(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False))))
