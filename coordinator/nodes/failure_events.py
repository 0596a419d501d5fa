"""Failed pulls as Kubernetes Events on their Nodes, where ``kubectl describe node`` shows them.

One Event for each image, node, task and reason, whatever the number of attempts, and never more
than a few a second: a task that fails everywhere must not be felt by the API server. What is too
much is dropped: the task itself has it all.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from common.backoff import Backoff
from common.logs import Log, RateLimitedLog
from coordinator.nodes.api_server import ApiServer, ApiServerError, ExistsError
from coordinator.nodes.node_events import EVENTS, node_event
from coordinator.nodes.source import FailedPull

log = Log(__name__)
sparing = RateLimitedLog(log)

SECONDS_BETWEEN: Final = 0.2
LONGEST_PAUSE: Final = 30.0
MOST_WAITING: Final = 1_000
MOST_REMEMBERED: Final = 10_000


class FailureEvents:
    """Takes failures in at any speed, and tells the API server of them at its own."""

    def __init__(self, uid: Callable[[str], str | None], context: str | None = None) -> None:
        self._uid = uid
        self._context = context
        self._waiting: OrderedDict[str, FailedPull] = OrderedDict()
        self._told: OrderedDict[str, None] = OrderedDict()
        self._stirred = asyncio.Event()
        self._pause = Backoff(LONGEST_PAUSE)

    def pull_failed(self, failed: FailedPull) -> None:
        """A pull failed; a repeated word has no effect."""
        name = event_name(failed)
        if name in self._told:
            return
        if len(self._waiting) >= MOST_WAITING:
            sparing.warning("full", "too many failed pulls: some are not told as Events")
            return
        self._told[name] = None
        if len(self._told) > MOST_REMEMBERED:
            self._told.popitem(last=False)
        self._waiting[name] = failed
        self._stirred.set()

    async def run(self) -> NoReturn:
        """Tell the API server, without end."""
        while True:
            await self._stirred.wait()
            try:
                async with ApiServer.connected(self._context) as api:
                    await self._tell_all(api)
            except ApiServerError as why:
                sparing.warning("refused", "failed pulls are not told as Events yet", why=str(why))
            await asyncio.sleep(self._pause.next())

    async def _tell_all(self, api: ApiServer) -> None:
        while self._waiting:
            name, failed = self._waiting.popitem(last=False)
            uid = self._uid(failed.node)
            if uid is not None:  # a node that is gone has nobody who looks at it
                body = event_body(name, failed, uid, datetime.now(UTC))
                try:
                    with suppress(ExistsError):  # told before this coordinator was started
                        await api.post(EVENTS, body)
                except ApiServerError:
                    self._waiting[name] = failed
                    raise
            self._pause.reset()
            await asyncio.sleep(SECONDS_BETWEEN)
        self._stirred.clear()


def event_name(failed: FailedPull) -> str:
    """The name of the Event: the same for the same failure, whoever reports it."""
    key = f"{failed.task} {failed.node} {failed.image} {failed.reason}"
    return f"ips-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def event_body(name: str, failed: FailedPull, uid: str, now: datetime) -> dict[str, Any]:
    """An Event about a failed pull, on the Node with this UID."""
    note = f"Pulling {failed.image} for {failed.task} failed: {failed.message}"
    return node_event(name, failed.node, uid, now, ("Pull", str(failed.reason), note))
