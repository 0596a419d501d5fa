"""A browser logs in at a real provider, at whichever of two coordinators answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from sandbox.programs import Coordinator
from tests.fixtures.browser import Windows
from tests.fixtures.fleet import Fleet
from tests.oidc.conftest import running_provider
from tests.oidc.provider import CONFIDENTIAL, OURS, SECRET, Provider

pytestmark = [pytest.mark.oidc, pytest.mark.asyncio(loop_scope="session")]


class Front:
    """What stands before the coordinators at the address that browsers know."""

    def __init__(self) -> None:
        self.url = ""
        self._target: Coordinator | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def lead_to(self, target: Coordinator) -> None:
        """Lead all who come from now on there; nobody stays where they were."""
        self._target = target
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection."""
        running = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(running)
        running.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._target is not None
        answer, asked = await asyncio.open_connection(self._target.host, self._target.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass(reader, asked))
                both.create_task(_pass(answer, writer))
        finally:
            asked.close()
            writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def front() -> AsyncIterator[Front]:
    """It listens, and leads nowhere yet."""
    made = Front()
    async with await asyncio.start_server(made.accept, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made
        server.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def provider(
    tmp_path_factory: pytest.TempPathFactory, front: Front
) -> AsyncIterator[Provider]:
    """It sends browsers back to the front."""
    redirect = f"{front.url}/api/v1/session/callback"
    async with running_provider(tmp_path_factory.mktemp("provider"), redirect) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory, front: Front, provider: Provider
) -> AsyncIterator[Fleet]:
    """Two coordinators on one NATS, who know people by the provider, and one by its secret."""
    folder: Path = tmp_path_factory.mktemp("oidc")
    (folder / "secret").write_text(SECRET)
    settings = {
        "IPS_AUTH": "oidc",
        "IPS_OIDC_ISSUER": provider.url,
        "IPS_OIDC_AUDIENCE": OURS,
        "IPS_OIDC_CLIENT_ID": CONFIDENTIAL,
        "IPS_OIDC_CLIENT_SECRET_FILE": str(folder / "secret"),
        "IPS_PUBLIC_URL": front.url,
        "IPS_ROLES": "viewers=view,ops=edit",
    }
    made = Fleet(folder)
    try:
        first = await made.add_coordinator(settings)
        await made.add_coordinator({**settings, **first.administrator_settings()}, name="second")
        await front.lead_to(first)
        yield made
    finally:
        await made.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def windows(browser: Browser, front: Front, fleet: Fleet) -> AsyncIterator[Windows]:
    """Pages at the front; a complaint in a browser's console fails the test."""
    await front.lead_to(fleet.coordinator)
    opened = Windows(browser, front.url)
    yield opened
    await opened.close()
    assert opened.complaints == []


async def go_to_the_provider(page: Page) -> None:
    """Until it asks who is there."""
    await page.get_by_role("button", name="single sign-on").click()
    await page.get_by_label("Name").wait_for()


async def log_in(page: Page, name: str) -> None:
    """Say a name there; the page is back where it was."""
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("button", name="Go on").click()
    await expect(page.locator(".who .name")).to_have_text(name)


async def create(page: Page) -> None:
    """Ask for a task."""
    await page.locator("#images").fill("nginx")
    await page.get_by_role("button", name="Create task").click()


def logins(coordinator: Coordinator) -> int:
    """How many a coordinator has audited as done."""
    return sum(
        '"action": "log in"' in line and '"status": 303' in line and '"user": ' in line
        for line in coordinator.log.splitlines()
    )


async def test_a_login_begun_at_one_coordinator_ends_at_the_other(
    windows: Windows, front: Front, fleet: Fleet
) -> None:
    """And the session that comes of it is good at both; the groups are the user's role."""
    first, second = fleet.coordinators
    page = await windows.open("#/new")
    await go_to_the_provider(page)
    await front.lead_to(second)
    await log_in(page, "ann")
    await expect(page.get_by_role("heading", name="New task")).to_be_visible()
    assert await page.evaluate("document.cookie") == ""
    assert "code=" not in page.url
    assert (logins(first), logins(second)) == (0, 1)
    await front.lead_to(first)
    await create(page)
    await expect(page.get_by_text("Task created.")).to_be_visible()


async def test_another_groups_role_is_another(windows: Windows) -> None:
    """Who may look may not create."""
    page = await windows.open("#/new")
    await go_to_the_provider(page)
    await log_in(page, "bob")
    await create(page)
    await expect(page.get_by_text("bob may not create tasks.")).to_be_visible()


async def test_who_has_no_group_is_told_that_they_may_do_nothing(windows: Windows) -> None:
    """Once: the page does not ask again and again for what it is not to see."""
    page = await windows.open("#/nodes")
    await go_to_the_provider(page)
    await log_in(page, "eve")
    await expect(page.get_by_role("alert").filter(has_text="eve may not")).to_be_visible()
    await expect(page.locator(".connection")).to_have_attribute("data-state", "refused")


async def test_a_refusal_at_the_provider_logs_nobody_in(windows: Windows) -> None:
    """It is told why."""
    page = await windows.open("#/new")
    await go_to_the_provider(page)
    await page.get_by_role("button", name="Refuse").click()
    await expect(page.get_by_text("access_denied").first).to_be_visible()
    await page.goto(f"{windows.url}/web/#/new")
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
