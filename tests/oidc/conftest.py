"""The provider that a test asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.oidc.provider import Provider, new_keys

REDIRECT = "http://127.0.0.1:1/api/v1/session/callback"


@asynccontextmanager
async def running_provider(folder: Path, redirect: str = REDIRECT) -> AsyncIterator[Provider]:
    """A provider that signs with keys of its own, for as long as the block lasts."""
    provider = Provider(folder, redirect)
    try:
        await provider.sign_with(new_keys("first"))
        yield provider
    finally:
        await provider.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Provider]:
    """One for all tests that leave it as it is."""
    async with running_provider(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Provider]:
    """One of a test's own, to be started anew with other keys."""
    async with running_provider(tmp_path) as provider:
        yield provider
