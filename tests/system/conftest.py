"""What the whole programs run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sandbox.containerd import Containerd


@pytest.fixture
async def containerd() -> AsyncIterator[Containerd]:
    """This machine's own containerd; that all release lines do the same is the drivers' suite's."""
    async with Containerd() as started:
        yield started
