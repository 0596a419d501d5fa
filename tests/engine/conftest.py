"""What registries are shown in the simulated clusters."""

from __future__ import annotations

from typing import Any

import pytest

from agent.runtime.protocol import Credentials, PresentImage
from agent.runtime.simulated import SimulatedRuntime


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Credentials | None]:
    """What registries were shown."""
    seen: list[Credentials | None] = []
    pull = SimulatedRuntime.pull

    async def watched(
        self: SimulatedRuntime, reference: str, credentials: Credentials | None, **more: Any
    ) -> PresentImage:
        seen.append(credentials)
        return await pull(self, reference, credentials, **more)

    monkeypatch.setattr(SimulatedRuntime, "pull", watched)
    return seen
