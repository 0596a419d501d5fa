from __future__ import annotations

import pytest

from coordinator.access.rate_limit import RateLimit
from tests.access.hand_clock import HandClock

pytestmark = pytest.mark.pure


def test_a_bucket_fills_up_steadily() -> None:
    """Sixty at once, then one a second; whoever waits as told is let through."""
    clock = HandClock()
    limit = RateLimit(60, clock)
    assert [limit.take("a") for _ in range(60)] == [0.0] * 60
    assert limit.take("a") == pytest.approx(1.0)
    assert limit.take("b") == 0.0
    clock.now += 0.5
    wait = limit.take("a")
    assert wait == pytest.approx(0.5)
    clock.now += wait
    assert limit.take("a") == 0.0
    assert limit.take("a") > 0
    clock.now += 1e6
    assert [limit.take("a") for _ in range(61)].count(0.0) == 60


def test_looking_takes_nothing() -> None:
    """Only what is done counts."""
    limit = RateLimit(1, HandClock())
    assert limit.wait("a") == limit.wait("a") == 0.0
    assert limit.take("a") == 0.0
    assert limit.wait("a") == pytest.approx(60.0)


def test_what_is_given_back_was_never_taken() -> None:
    """And nobody has more than a full bucket by it."""
    limit = RateLimit(2, HandClock())
    limit.give_back("a")
    for _ in range(10):
        assert limit.take("a") == 0.0
        limit.give_back("a")
    limit.give_back("a")
    assert [limit.take("a") for _ in range(3)].count(0.0) == 2


def test_none_is_no_limit() -> None:
    """Zero is written for it."""
    limit = RateLimit(0, HandClock())
    assert {limit.take("a") for _ in range(1000)} == {0.0}
    assert len(limit) == 0


def test_memory_is_bounded() -> None:
    """However many there are."""
    clock = HandClock()
    limit = RateLimit(10, clock, most=100)
    for number in range(10_000):
        clock.now += 0.001
        limit.take(number)
    assert len(limit) == 100
