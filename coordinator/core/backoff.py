"""When a failed attempt is tried again."""

from __future__ import annotations

from coordinator.core.task import RetryStrategy, TaskSpec

LONGEST_SECONDS = 600


def retry_delay(spec: TaskSpec, retry: int) -> int:
    """Seconds to wait before retry number ``retry``, which counts from 1."""
    if spec.retry_strategy is RetryStrategy.LINEAR:
        return spec.retry_delay
    return min(spec.retry_delay << (retry - 1), LONGEST_SECONDS)
