"""A proxy that holds streams back, and a network that swallows everything: what the page says."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum, auto
from typing import Any

import pytest
from playwright.async_api import Browser, Error, Page, expect

from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SLOW = {"en-GB": "Updates are slow: a proxy holds them back.", "zh-CN": "更新较慢"}
ENDLESS: dict[str, Any] = {"nodeNames": ["ghost"], "maxRetries": 5, "retryDelay": 3_600}
"""A task that runs until it is cancelled."""
HEADERS_END = b"\r\n\r\n"


class Holds(Enum):
    """What of an event stream's answer a proxy keeps to itself."""

    NOTHING = auto()
    BODY = auto()
    ALL = auto()


class Proxy:
    """Between pages and a coordinator; ``let_go`` ends the holding for good."""

    def __init__(self, target: int, holds: Holds) -> None:
        self.url = ""
        self.holds = holds
        self.held = asyncio.Semaphore(0)
        """Released once for each stream that is held back."""
        self.swallows = asyncio.Event()
        """Set: not one byte passes, on no connection, and none is closed."""
        self._target = target
        self._connections: set[asyncio.Task[None] | None] = set()
        self._free = asyncio.Event()

    def let_go(self) -> None:
        """Let what was held back flow, and hold nothing more."""
        self.holds = Holds.NOTHING
        self._free.set()

    async def end(self) -> None:
        """End all connections."""
        running = [one for one in self._connections if one is not None and not one.done()]
        for connection in running:
            connection.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, closed after its request."""
        self._connections.add(asyncio.current_task())
        async with AsyncExitStack() as stack:
            stack.callback(writer.close)
            try:
                head = await reader.readuntil(HEADERS_END)
                await self._pass(writer, head, stack)
            except (ConnectionError, asyncio.IncompleteReadError):
                return

    async def _pass(self, writer: asyncio.StreamWriter, head: bytes, stack: AsyncExitStack) -> None:
        await self._swallow()
        answer, asked = await asyncio.open_connection("127.0.0.1", self._target)
        stack.callback(asked.close)
        asked.write(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)[:-2])
        asked.write(b"Connection: close\r\n\r\n")
        is_stream = b"/events" in head.partition(b"\r\n")[0]
        if is_stream and self.holds is Holds.BODY:
            writer.write(await answer.readuntil(HEADERS_END))
        if is_stream and self.holds is not Holds.NOTHING:
            self.held.release()
            await self._free.wait()
        while data := await answer.read(65_536):
            await self._swallow()
            writer.write(data)
            await writer.drain()

    async def _swallow(self) -> None:
        if self.swallows.is_set():
            await self._free.wait()


@asynccontextmanager
async def proxy_before(fleet: Fleet, holds: Holds) -> AsyncIterator[Proxy]:
    """A proxy on a port of its own."""
    proxy = Proxy(fleet.coordinator.port, holds)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
        await proxy.end()


async def stopped(windows: Windows, place: str, language: str = "en-GB") -> Page:
    """A page at a place, for which time passes only when a test says so."""
    page = await windows.open("#/new", language=language)
    await page.clock.install()
    await stop_clock(page)
    await page.evaluate("hash => { location.hash = hash; }", place)
    return page


async def stop_clock(page: Page) -> None:
    """Time stands still in a page from a moment on that is still to come when the page hears it."""
    for ahead in itertools.count(1):
        try:
            await page.clock.pause_at(await page.evaluate("Date.now()") / 1_000 + ahead)
        except Error as error:
            if "to the past" not in error.message:
                raise
        else:
            return


@pytest.mark.parametrize(("holds", "language"), [(Holds.BODY, "zh-CN"), (Holds.ALL, "en-GB")])
async def test_a_held_stream_is_said_and_asked_around(
    browser: Browser, site: Fleet, holds: Holds, language: str
) -> None:
    """Five seconds without a byte are enough; the task's end is seen although nothing flows."""
    task = await site.post(["registry.example/held:1"], **ENDLESS)
    async with proxy_before(site, holds) as proxy:
        windows = Windows(browser, proxy.url)
        for place in (f"#/tasks/{task}", "#/tasks", "#/nodes"):
            page = await stopped(windows, place, language)
            await proxy.held.acquire()
            await page.clock.run_for(5_000)
            await expect(page.get_by_role("alert").get_by_text(SLOW[language])).to_be_visible()
        one = await stopped(windows, f"#/tasks/{task}", language)
        await one.clock.resume()
        await expect(one.get_by_role("heading", level=1)).to_have_text("registry.example/held:1")
        await site.cancel(task)
        ended = {"en-GB": "Cancelled", "zh-CN": "已取消"}[language]
        await expect(one.get_by_text(ended).first).to_be_visible()
        await windows.close()
        assert windows.complaints == []


@pytest.mark.parametrize("holds", [Holds.BODY, Holds.ALL])
async def test_the_page_returns_to_a_stream_that_flows(
    browser: Browser, site: Fleet, holds: Holds
) -> None:
    """The banner goes, the light is green again, and what comes is pushed, not asked for."""
    async with proxy_before(site, holds) as proxy:
        windows = Windows(browser, proxy.url)
        page = await stopped(windows, "#/tasks")
        await proxy.held.acquire()
        await page.clock.run_for(5_000)
        await expect(page.get_by_text(SLOW["en-GB"])).to_be_visible()
        await page.clock.resume()
        proxy.let_go()
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await expect(page.get_by_text(SLOW["en-GB"])).to_be_hidden()
        asked = asked_for(page, "/api/v1/nodes?limit=1")
        await page.clock.fast_forward(4_000)
        task = await site.post(["registry.example/flows:1"])
        await expect(page.get_by_text(task)).to_be_visible()
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        assert asked() <= EVENTS_OF_A_TASK
        await windows.close()
        assert windows.complaints == []


EVENTS_OF_A_TASK = 3
"""Created, started, ended: each has the list asked for once at most."""


def asked_for(page: Page, path: str) -> Callable[[], int]:
    """How often the page asks for a path from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return lambda: sum(url.endswith(path) for url in asked)


async def test_a_network_that_swallows_everything_is_noticed(browser: Browser, site: Fleet) -> None:
    """Ten seconds of silence turn the light, and an action without an answer says so in ten."""
    task = await site.post(["registry.example/swallowed:1"], **ENDLESS)
    async with proxy_before(site, Holds.NOTHING) as proxy:
        windows = Windows(browser, proxy.url)
        page = await stopped(windows, f"#/tasks/{task}")
        await page.clock.resume()
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Cancel").click()
        await stop_clock(page)
        proxy.swallows.set()
        async with page.expect_request(lambda request: request.method == "DELETE"):
            await page.get_by_role("button", name="Cancel the task").click()
        await page.clock.run_for(9_000)
        await expect(page.get_by_text("Reconnecting", exact=True)).to_be_visible()
        failed = page.get_by_role("alert").get_by_text("Cannot reach the server.")
        await expect(failed).to_be_visible()
        proxy.swallows.clear()
        proxy.let_go()
        await page.clock.resume()
        await expect(page.get_by_text(re.compile("Live|Ended"))).to_be_visible()
        await windows.close()
        assert windows.complaints == []
    await site.cancel(task)
