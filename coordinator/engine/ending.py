"""A head as it is when its task is over, whoever ends it."""

from __future__ import annotations

from msgspec.structs import replace

from common.text import Text
from coordinator.core.run import Ending
from coordinator.core.task import PendingNotification, TaskHead, TaskStatus


def ended(
    head: TaskHead,
    status: TaskStatus,
    at: int,
    counted: Ending | None,
    text: Text | None = None,
) -> TaskHead:
    """The final head; ``at`` in milliseconds since 1970.

    ``counted`` is what counts at this moment (``TaskRun.ending``); None for a task that never ran.
    """
    webhook = () if head.spec.webhook_url is None else (PendingNotification.WEBHOOK,)
    return replace(
        head,
        status=status,
        paused=False,
        finished_at=at,
        counts=None if counted is None else counted.counts,
        results_seq=0 if counted is None else counted.results_seq,
        notify=(PendingNotification.EVENT, *webhook),
        message=None if text is None else text.message,
        message_code=None if text is None else text.code,
        message_params={} if text is None else dict(text.params),
    )
