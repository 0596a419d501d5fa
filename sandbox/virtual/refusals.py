"""What JetStream says no with, in its own numbers and words."""

from __future__ import annotations

from common.bus import api


class Refused(Exception):  # noqa: N818 -- an answer, not a fault of the server
    """An error of the API; ``fault`` is what the client gets."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.fault = api.ApiError(code, description)


def wrong_last_sequence(last: int) -> Refused:
    """A compare-and-swap that lost."""
    return Refused(api.WRONG_LAST_SEQUENCE, f"wrong last sequence: {last}")


LOST_IN_BATCH = Refused(api.WRONG_LAST_SEQUENCE_CONSTANT, "wrong last sequence")
"""One that stands behind another message of its batch on the same subject."""
DUPLICATE_IN_BATCH = Refused(
    api.DUPLICATE_IN_BATCH, "atomic publish batch contains duplicate message id"
)
INCOMPLETE_BATCH = Refused(10176, "atomic publish batch is incomplete")
NO_TTL = Refused(10166, "per-message TTL is disabled")
INVALID_TTL = Refused(10165, "invalid per-message TTL")
NO_STREAM_TAKES_IT = Refused(10008, "no stream takes it at this moment")
"""Nobody answers there: no stream has the subject, or its replicas elect a leader."""
STREAM_NOT_FOUND = Refused(10059, "stream not found")
NO_ATOMIC_BATCH = Refused(10174, "atomic publish is disabled")
NO_REPLICAS = Refused(10074, "replicas > 1 not supported in non-clustered mode")
OVERLAP = Refused(10065, "subjects overlap with an existing stream")
STORE_FULL = Refused(10023, "insufficient resources")
DISK_FULL = Refused(10047, "insufficient storage resources available")
