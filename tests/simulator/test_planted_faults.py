"""The simulator finds what is planted."""

from __future__ import annotations

import pytest

from tests.simulator.found_in import FAULTS, FOUND_IN
from tests.simulator.planted import Fault

MORE = 25
"""Histories beyond those in which a fault was found last: what is drawn may change."""
KNOWN = [fault for fault in FAULTS if fault.plant.__name__ in FOUND_IN]

pytestmark = [pytest.mark.sim, pytest.mark.deep]


@pytest.mark.parametrize("fault", KNOWN, ids=lambda fault: fault.plant.__name__)
def test_it_is_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each planted fault breaks a law in one of the first histories, so the laws bite."""
    assert fault.find(FOUND_IN[fault.plant.__name__] + MORE, monkeypatch) is not None
