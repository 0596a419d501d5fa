"""What of a request goes into the audit, and the route that shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web
from msgspec import UNSET

from common.listening import peer
from common.redaction import redact
from coordinator import caller_documents
from coordinator.access.callers import Caller, Permission
from coordinator.api.answers import json_answer
from coordinator.api.observation import endpoint
from coordinator.api.permissions import SESSION
from coordinator.api.problems import Refusal
from coordinator.api.queries import AUDIT, Reader
from coordinator.audit import AuditRecord, AuditTrail
from coordinator.views.times import milliseconds

REFUSALS: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.MISDIRECTED_REQUEST,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
GROUPS_KEPT: Final = 50
CHARACTERS: Final = 256
IMAGES: Final = web.RequestKey("images", Sequence[str])
"""What a create is about, once its body was read."""
_SESSIONS: Final[Mapping[str, str]] = {
    hdrs.METH_POST: "log in",
    hdrs.METH_DELETE: "log out",
    hdrs.METH_GET: "log in",
}


class Auditor:
    """Notes what requests came to."""

    def __init__(self, trail: AuditTrail, wall: Callable[[], float] = time.time) -> None:
        """``wall``: seconds since 1970."""
        self._trail = trail
        self._wall = wall

    def answered(
        self,
        request: web.Request,
        response: web.StreamResponse,
        caller: Caller,
        permission: Permission | None,
    ) -> None:
        """A request that may have changed something was answered."""
        location = response.headers.get(hdrs.LOCATION, "")
        task = _subject(request) or location.rpartition("/")[2]
        if endpoint(request).startswith(SESSION):
            task = ""
        record = self._record(request, caller, permission, response.status, task=task)
        self._trail.changed(record)

    def refused(
        self,
        request: web.Request,
        refusal: Refusal,
        caller: Caller,
        permission: Permission | None,
    ) -> None:
        """A request was refused; only what is about the caller counts."""
        if refusal.status in REFUSALS:
            task = _subject(request)
            record = self._record(
                request, caller, permission, refusal.status, task=task, reason=refusal.text.code
            )
            self._trail.refused(record)

    def _record(
        self,
        request: web.Request,
        caller: Caller,
        permission: Permission | None,
        status: int,
        *,
        task: str,
        reason: str = "",
    ) -> AuditRecord:
        action = (
            _SESSIONS.get(request.method, request.method)
            if permission is None and endpoint(request).startswith(SESSION)
            else f"{permission.verb} {permission.resource}"
            if permission is not None
            else request.method
        )
        return AuditRecord(
            at=int(self._wall() * 1000),
            user=caller.user,
            groups=caller.groups[:GROUPS_KEPT],
            way=caller.way,
            address=peer(request.remote) or "",
            action=action[:CHARACTERS],
            status=status,
            reason=reason,
            task=task[:CHARACTERS],
            images=tuple(redact(image)[:CHARACTERS] for image in request.get(IMAGES, ())),
        )


class Audit:
    """``GET /api/v1/audit``."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    async def list(self, request: web.Request) -> web.Response:
        """The newest entries, the newest first."""
        query = Reader(request.query)
        limit, since = query.page(AUDIT).limit, query.moment("since")
        query.done()
        user = request.query.get("user") or None
        records = await self._trail.newest(limit, user=user, since=since)
        return json_answer(
            caller_documents.AuditList(entries=[_shown(record) for record in records], limit=limit)
        )


def _subject(request: web.Request) -> str:
    """What a path names: a task by its id, a set or a credential by its name."""
    return request.match_info.get("id", "") or request.match_info.get("name", "")


def _shown(record: AuditRecord) -> caller_documents.AuditEntry:
    def known(value: str) -> Any:
        return value or UNSET

    return caller_documents.AuditEntry(
        time=milliseconds(record.at),
        user=known(record.user),
        groups=list(record.groups),
        way=record.way,
        address=known(record.address),
        action=record.action,
        status=record.status,
        reason=known(record.reason),
        task_id=known(record.task),
        images=list(record.images),
    )
