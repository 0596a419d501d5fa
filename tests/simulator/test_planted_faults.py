"""The simulator finds what is planted."""

from __future__ import annotations

import pytest

from tests.simulator.planted import PLANTS, Plant, find

FEW = 120
"""Histories in which each is to be found; docs/simulator.md says in how many it was."""

pytestmark = [pytest.mark.sim, pytest.mark.deep]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_it_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each planted fault breaks a law in one of the first histories, so the laws bite."""
    plant(monkeypatch)
    assert find(FEW) is not None
