"""What the tests of the bus share."""

from __future__ import annotations

import pytest


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep the longest that each pause might have been; all are short instead."""
    drawn: list[float] = []

    def draw(_: float, longest: float) -> float:
        drawn.append(longest)
        return 0.01

    monkeypatch.setattr("common.backoff.random.uniform", draw)
    return drawn
