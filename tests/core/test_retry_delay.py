from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.run import LONGEST_DELAY_SECONDS, retry_delay
from coordinator.core.task import RetryStrategy
from tests.core.stage import spec

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("strategy", "base", "delays"),
    [
        (RetryStrategy.LINEAR, 1, [1, 1, 1, 1, 1]),
        (RetryStrategy.LINEAR, 30, [30, 30, 30, 30, 30]),
        (RetryStrategy.LINEAR, 3600, [3600, 3600, 3600, 3600, 3600]),
        (RetryStrategy.EXPONENTIAL, 1, [1, 2, 4, 8, 16]),
        (RetryStrategy.EXPONENTIAL, 30, [30, 60, 120, 240, 480]),
        (RetryStrategy.EXPONENTIAL, 100, [100, 200, 400, 600, 600]),
        (RetryStrategy.EXPONENTIAL, 600, [600, 600, 600, 600, 600]),
        (RetryStrategy.EXPONENTIAL, 3600, [600, 600, 600, 600, 600]),
    ],
)
def test_the_delay_before_each_retry(strategy: RetryStrategy, base: int, delays: list[int]) -> None:
    """Linear repeats the base delay; exponential doubles it up to ten minutes."""
    wanted = spec(retry_strategy=strategy, retry_delay=base)
    assert [retry_delay(wanted, retry) for retry in range(1, 6)] == delays


@given(base=st.integers(1, 3600), retry=st.integers(1, 5))
def test_exponential_delays_grow_and_stay_within_the_limit(base: int, retry: int) -> None:
    """A later retry never waits for less, and none for more than ten minutes."""
    wanted = spec(retry_strategy=RetryStrategy.EXPONENTIAL, retry_delay=base)
    sooner, later = retry_delay(wanted, retry), retry_delay(wanted, retry + 1)
    assert 0 < sooner <= later <= LONGEST_DELAY_SECONDS
