"""When a failed attempt is tried again."""

from __future__ import annotations

from coordinator.core.task import RetryStrategy, TaskSpec

LONGEST_SECONDS = 600


def retry_delay(spec: TaskSpec, retry: int) -> int:
    """Seconds to wait before retry number ``retry``, which counts from 1."""
    if spec.retry_strategy is RetryStrategy.LINEAR:
        return spec.retry_delay
    # The shift is bounded because 2**9 already exceeds the cap for any delay.
    return min(spec.retry_delay * 2 ** min(retry - 1, 10), LONGEST_SECONDS)
