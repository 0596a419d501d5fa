"""Logging in and out in a real browser, by a token and at an issuer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, expect

from coordinator.access.token_file import line, new_token
from sandbox.ports import free_port
from tests.fixtures.browser import PHONE, Windows
from tests.fixtures.fleet import Fleet
from tests.fixtures.issuer import FakeIssuer, running_issuer

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TOKEN, ADMIN = new_token(), new_token()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def issuer() -> AsyncIterator[FakeIssuer]:
    """An issuer that logs everybody in as Ann."""
    async with running_issuer() as issuer:
        yield issuer


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    tmp_path_factory: pytest.TempPathFactory, issuer: FakeIssuer
) -> AsyncIterator[Fleet]:
    """A coordinator that asks who asks: a file of tokens, or the issuer."""
    folder: Path = tmp_path_factory.mktemp("guarded")
    lines = line(TOKEN, "bob", ("ips-view",)), line(ADMIN, "cem", ("ips-admin",))
    (folder / "tokens").write_text("\n".join(lines))
    port = free_port()
    fleet = Fleet(folder)
    try:
        await fleet.add_coordinator(
            {
                "IPS_AUTH": "tokens,oidc",
                "IPS_AUTH_TOKENS": str(folder / "tokens"),
                "IPS_OIDC_ISSUER": issuer.url,
                "IPS_OIDC_AUDIENCE": "ips",
                "IPS_PUBLIC_URL": f"http://127.0.0.1:{port}",
            },
            port=port,
        )
        yield fleet
    finally:
        await fleet.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def windows(browser: Browser, guarded: Fleet) -> AsyncIterator[Windows]:
    """Pages on it; a complaint in a browser's console fails the test."""
    opened = Windows(browser, guarded.url)
    yield opened
    await opened.close()
    assert opened.complaints == []


async def test_a_token_logs_in_and_out(windows: Windows) -> None:
    """Nothing is shown before, everything after, by a cookie that no script reads."""
    page = await windows.open("#/nodes")
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await page.get_by_label("Token").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").filter(has_text="not known")).to_be_visible()
    await page.get_by_label("Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Nodes")).to_be_visible()
    await expect(page.locator(".who .name")).to_have_text("bob")
    await expect(page.locator(".connection")).to_have_attribute("data-state", "live")
    assert await page.evaluate("document.cookie") == ""
    kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert TOKEN not in kept
    await page.reload()
    await expect(page.get_by_role("heading", name="Nodes")).to_be_visible()

    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await expect(page.locator(".who")).to_be_hidden()
    await page.reload()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_the_issuer_logs_in(windows: Windows) -> None:
    """There and back, to the place that was wanted."""
    page = await windows.open("#/new")
    await page.get_by_role("button", name="single sign-on").click()
    await expect(page.get_by_role("heading", name="New task")).to_be_visible()
    await expect(page.locator(".who .name")).to_have_text("ann")
    assert await page.evaluate("document.cookie") == ""
    assert "code=" not in page.url
    await page.locator("#images").fill("nginx")
    await page.get_by_role("button", name="Create task").click()
    await expect(page.get_by_text("Task created.")).to_be_visible()


async def test_who_may_only_look_is_told_so(windows: Windows) -> None:
    """In the words of the refusal."""
    page = await windows.open("#/new")
    await page.get_by_label("Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await page.locator("#images").fill("nginx")
    await page.get_by_role("button", name="Create task").click()
    await expect(page.get_by_text("bob may not create tasks.")).to_be_visible()


async def test_who_may_sees_who_was_refused(windows: Windows, guarded: Fleet) -> None:
    """The audit is a view of its own, for those who may; others are not shown the way."""
    viewer = await windows.open()
    await viewer.get_by_label("Token").fill(TOKEN)
    await viewer.keyboard.press("Enter")
    await expect(viewer.locator(".who .name")).to_have_text("bob")
    await expect(viewer.get_by_role("link", name="Audit")).to_be_hidden()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with guarded.http.post(
        f"{guarded.url}/api/v1/tasks", json={"images": ["nginx"]}, headers=headers
    ) as refused:
        assert refused.status == 403
    admin = await windows.open(bypass_csp=True)
    await admin.get_by_label("Token").fill(ADMIN)
    await admin.keyboard.press("Enter")
    await admin.get_by_role("link", name="Audit").click()
    await expect(admin.get_by_role("heading", name="Audit")).to_be_visible()
    refusal = admin.get_by_role("row").filter(has_text="create tasks").filter(has_text="bob")
    await expect(refusal.first).to_contain_text("403 access.forbidden")
    found = await Axe().run(admin)
    serious = [
        rule["id"]
        for rule in found.response["violations"]
        if rule["impact"] in {"serious", "critical"}
    ]
    assert serious == []


async def test_the_login_is_for_everybody(windows: Windows) -> None:
    """Axe finds nothing serious, in both languages, and a phone is wide enough."""
    page = await windows.open(size=PHONE, bypass_csp=True)
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    await page.get_by_role("button", name="切换到中文").click()
    await expect(page.get_by_role("heading", name="登录")).to_be_visible()
    found = await Axe().run(page)
    serious = [
        rule["id"]
        for rule in found.response["violations"]
        if rule["impact"] in {"serious", "critical"}
    ]
    assert serious == []
