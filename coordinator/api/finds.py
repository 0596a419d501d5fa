"""The task that a request names, also where another coordinator has created it a moment ago."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import Final

from aiohttp import web

from common import texts
from coordinator.access.callers import ANYBODY
from coordinator.api.guard import CALLER
from coordinator.api.problems import Refusal, busy
from coordinator.core.task import TaskHead
from coordinator.port import Engine

MOST_OF_A_CALLER: Final = 8
"""Tasks that are looked for in the store at once for one caller: each costs the store a read."""

_Asker = tuple[str, str]
"""How a caller was identified, and as whom; where nobody was, as the address."""


class Finds:
    """Looks tasks up for the routes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._looking: Counter[_Asker] = Counter()

    async def head(self, request: web.Request, *, over: bool = False) -> TaskHead:
        """The head of the task in a request's path. Raises Refusal and StoreAway.

        ``over``: one that is not known to be over is looked for, too.
        """
        task = request.match_info["id"]
        head = self._engine.tasks.head(task)
        if head is None or (over and not head.status.is_final):
            head = await self._look_for(task, _asker(request))
        if head is None:
            raise no_such_task(task)
        return head

    async def _look_for(self, task: str, asker: _Asker) -> TaskHead | None:
        if self._looking[asker] >= MOST_OF_A_CALLER:
            raise busy(texts.TASKS_LOOKED_FOR())
        self._looking[asker] += 1
        try:
            return await self._engine.find(task)
        finally:
            self._looking[asker] -= 1
            if not self._looking[asker]:
                del self._looking[asker]


def _asker(request: web.Request) -> _Asker:
    caller = request.get(CALLER, ANYBODY)
    return caller.way, caller.user if caller.is_known else request.remote or ""


def no_such_task(task: str) -> Refusal:
    """404 for a task."""
    return Refusal(HTTPStatus.NOT_FOUND, texts.TASK_NOT_FOUND(task=task))
