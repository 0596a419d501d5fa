"""The simulator finds what is planted."""

from __future__ import annotations

import pytest

from tests.simulator.planted import FOUND_IN, PLANTS, Plant, find

MORE = 25
"""Histories beyond those in which a fault was found last: what is drawn may change."""
KNOWN = [plant for plant in PLANTS if plant.__name__ in FOUND_IN]

pytestmark = [pytest.mark.sim, pytest.mark.deep]


@pytest.mark.parametrize("plant", KNOWN, ids=lambda plant: plant.__name__)
def test_it_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each planted fault breaks a law in one of the first histories, so the laws bite."""
    plant(monkeypatch)
    assert find(FOUND_IN[plant.__name__] + MORE) is not None
