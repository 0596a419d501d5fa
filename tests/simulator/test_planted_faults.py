"""The simulator finds what is planted."""

from __future__ import annotations

import pytest

from tests.simulator.found_in import FAULTS, FOUND_AT
from tests.simulator.planted import Fault
from tests.simulator.test_histories import LONGEST

MOST = 25
"""Histories from the one in which a fault was found last: what is drawn, or done, may change."""
KNOWN = [fault for fault in FAULTS if fault.plant.__name__ in FOUND_AT]


@pytest.mark.sim
@pytest.mark.deep
@pytest.mark.timeout(LONGEST)
@pytest.mark.parametrize("fault", KNOWN, ids=lambda fault: fault.plant.__name__)
def test_it_is_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each planted fault breaks a law where it did so before, or soon after: the laws bite."""
    assert fault.find(MOST, monkeypatch, first=FOUND_AT[fault.plant.__name__]) is not None


def test_what_is_known_to_be_found_is_planted() -> None:
    """None is left out because it has got another name."""
    assert len(KNOWN) == len(FOUND_AT)
