"""Routes about tasks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import inspect

from common import pause_texts, texts
from common.text import Text
from coordinator import documents
from coordinator.access.callers import Caller
from coordinator.api.admission import Admission, creator_of
from coordinator.api.answers import json_answer
from coordinator.api.audit import IMAGES
from coordinator.api.bodies import read_json, read_json_if_any
from coordinator.api.create_body import read_order
from coordinator.api.faults import fault, faults, rule
from coordinator.api.finds import Finds, no_such_task
from coordinator.api.guard import CALLER
from coordinator.api.problems import Refusal, bad_request, busy
from coordinator.api.queries import NODES, TASKS, Reader
from coordinator.api.task_search import UnknownPosition, search
from coordinator.core.node_run import NodePhase
from coordinator.core.task import TaskHead, TaskSpec
from coordinator.faults import Faults
from coordinator.port import (
    AlreadyOver,
    Created,
    Engine,
    IdempotencyKey,
    KeyReused,
    NoSuchTask,
    NotRunning,
    TaskDamaged,
    Tasks,
    TooManyPending,
    TooManyPendingOfUser,
)
from coordinator.snapshots import Snapshot
from coordinator.views import nodes as node_views
from coordinator.views import tasks as views

KEY_CHARACTERS: Final = 255
NODES_AT_A_TIME: Final = 50
IDEMPOTENCY_KEY: Final = "Idempotency-Key"


class RetryNodes(StrEnum):
    """Which nodes of a finished task are tried again."""

    FAILED = "failed"
    ALL = "all"


class RetryTask(msgspec.Struct, forbid_unknown_fields=True):
    """What of a finished task is to be done again."""

    nodes: Annotated[
        RetryNodes,
        rule(description="failed: the nodes that failed. all: whatever the task selects now."),
    ] = RetryNodes.FAILED


_RETRY_SHAPE: Final = inspect.type_info(RetryTask)


class TaskRoutes:
    """The routes."""

    def __init__(self, engine: Engine, finds: Finds, faults: Faults, admission: Admission) -> None:
        self._engine = engine
        self._finds = finds
        self._faults = faults
        self._admission = admission

    # ── one task ──

    async def create(self, request: web.Request) -> web.Response:
        """``POST /api/v1/tasks``."""
        order = await read_json(request, read_order)
        request[IMAGES] = order.spec.images
        key = _idempotency_key(request, order.body_hash)
        return await self._create(request[CALLER], order.spec, order.names, key)

    async def retry(self, request: web.Request) -> web.Response:
        """``POST /api/v1/tasks/{id}/retry``."""
        head = await self._finds.head(request, over=True)
        nodes = await read_json_if_any(request, _read_retry)
        request[IMAGES] = head.spec.images
        key = _idempotency_key(request, _sha256(f"retry/{head.id}/{nodes}".encode()))
        if not head.status.is_final:
            raise _conflict(texts.TASK_NOT_FINISHED(status=head.status))
        names = await self._names_again(head, nodes)
        spec = msgspec.structs.replace(head.spec, names_nodes=names is not None)
        return await self._create(request[CALLER], spec, names, key, retry_of=head.id)

    async def _names_again(self, head: TaskHead, nodes: RetryNodes) -> Sequence[str] | None:
        if nodes is RetryNodes.ALL:
            try:
                return await self._engine.tasks.named_nodes(head.id)
            except NoSuchTask:
                raise no_such_task(head.id) from None
        run = (await self._with_nodes(head)).run
        everywhere = () if run is None else run.nodes
        failed = [node.name for node in everywhere if node.phase is NodePhase.FAILED]
        if not failed:
            raise _conflict(texts.TASK_NONE_FAILED())
        return sorted(failed)

    async def _create(
        self,
        caller: Caller,
        spec: TaskSpec,
        names: Sequence[str] | None,
        key: IdempotencyKey | None,
        retry_of: str | None = None,
    ) -> web.Response:
        try:
            spec = self._admission.admit(caller, spec, names)
            spec = await self._admission.with_credentials(caller, spec)
        except Refusal:
            if (before := await self._created_before(key)) is None:
                raise
            return await self._answer_create(before)
        creator = creator_of(caller)
        try:
            created = await self._engine.create(
                spec, names, key=key, retry_of=retry_of, creator=creator
            )
        except TooManyPending as full:
            raise busy(texts.TASKS_TOO_MANY(most=full.most)) from None
        except TooManyPendingOfUser as full:
            raise busy(texts.TASKS_TOO_MANY_OF_USER(user=full.user, most=full.most)) from None
        except KeyReused as reused:
            raise _conflict(texts.KEY_REUSED(header=IDEMPOTENCY_KEY, task=reused.task_id)) from None
        return await self._answer_create(created)

    async def _created_before(self, key: IdempotencyKey | None) -> Created | None:
        """What a create that would be refused by now has come to when it was asked for first."""
        with suppress(KeyReused):
            return None if key is None else await self._engine.created_before(key)
        return None

    async def _answer_create(self, created: Created) -> web.Response:
        status = HTTPStatus.CREATED if created.is_new else HTTPStatus.OK
        response = json_answer(await self._full(created.head), status)
        response.headers["Location"] = f"/api/v1/tasks/{created.head.id}"
        return response

    async def get(self, request: web.Request) -> web.Response:
        """``GET /api/v1/tasks/{id}``."""
        return json_answer(await self._full(await self._finds.head(request)))

    async def cancel(self, request: web.Request) -> web.Response:
        """``DELETE /api/v1/tasks/{id}``."""
        known = await self._finds.head(request)
        try:
            head = await self._engine.cancel(known.id)
        except NoSuchTask:
            raise no_such_task(known.id) from None
        except AlreadyOver as over:
            raise _conflict(texts.TASK_NEVER_CHANGES(status=over.status)) from None
        text = texts.CANCEL_DONE()
        return json_answer(
            documents.Cancelled(
                task_id=head.id,
                status=head.status,
                message=text.message,
                message_code=text.code,
                message_params=text.params,
            )
        )

    async def pause(self, request: web.Request) -> web.Response:
        """``POST /api/v1/tasks/{id}/pause``."""
        return await self._set_paused(request, paused=True)

    async def resume(self, request: web.Request) -> web.Response:
        """``POST /api/v1/tasks/{id}/resume``."""
        return await self._set_paused(request, paused=False)

    async def _set_paused(self, request: web.Request, *, paused: bool) -> web.Response:
        known = await self._finds.head(request)
        if known.set is not None:
            raise _conflict(pause_texts.TASK_OF_SET(set=known.set))
        try:
            head = await self._engine.pause(known.id, paused=paused)
        except NoSuchTask:
            raise no_such_task(known.id) from None
        except NotRunning as other:
            raise _conflict(pause_texts.TASK_NOT_RUNNING(status=other.status)) from None
        return json_answer(await self._full(head))

    # ── lists ──

    async def list(self, request: web.Request) -> web.Response:
        """``GET /api/v1/tasks``."""
        query = Reader(request.query)
        page, wanted = query.page(TASKS), query.search()
        query.done()
        tasks = self._engine.tasks
        try:
            on_node = await self._engine.images.tasks_on(wanted.node) if wanted.node else None
            found = await search(tasks, wanted, on_node)
        except UnknownPosition:
            missing = fault("?after", texts.TASK_NOT_FOUND(task=wanted.after))
            raise bad_request([missing]) from None
        ids = found.ids
        shown: list[documents.Task] = []
        for task_id in ids[page.of(len(ids))]:
            shown += self._summary(tasks, task_id, found.places.get(task_id))
            await asyncio.sleep(0)  # a head may have 64 KiB, which takes milliseconds to show
        return json_answer(
            documents.TaskList(tasks=shown, total=len(ids), limit=page.limit, offset=page.offset)
        )

    def _summary(
        self, tasks: Tasks, task_id: str, place: int | None = None
    ) -> Sequence[documents.Task]:
        """One task of a list, which no fault of a single one may keep from being shown."""
        with self._faults.kept("task view", task=task_id):
            shot = tasks.snapshot(task_id)
            return () if shot is None else (views.summary(shot, place),)
        head = tasks.head(task_id)
        return () if head is None else (views.outline(Snapshot(head, head.created_at)),)

    async def nodes(self, request: web.Request) -> web.Response:
        """``GET /api/v1/tasks/{id}/nodes``."""
        head = await self._finds.head(request)
        query = Reader(request.query)
        page, states = query.page(NODES), query.states()
        query.done()
        shot = await self._with_nodes(head)
        run = shot.run
        nodes = [
            node
            for node in (run.nodes if run is not None else ())
            if node.phase is not NodePhase.REMOVED and (not states or node.phase in states)
        ]
        shown: list[documents.TaskNode] = []
        for number, node in enumerate(nodes[page.of(len(nodes))], start=1):
            shown.append(node_views.task_node(shot.head, node, shot.pulls(node)))
            if number % NODES_AT_A_TIME == 0:
                await asyncio.sleep(0)  # each may have 50 images
        return json_answer(
            documents.TaskNodeList(
                nodes=shown, total=len(nodes), limit=page.limit, offset=page.offset
            )
        )

    # ── what is known of a task ──

    async def _full(self, head: TaskHead) -> documents.Task:
        tasks = self._engine.tasks
        shot = await self._with_details(head)
        with self._faults.kept("task view", task=head.id):
            shot = shot or tasks.snapshot(head.id)
            if shot is not None:
                return views.task(shot)
        if tasks.head(head.id) is None:
            raise no_such_task(head.id)
        return views.outline(Snapshot(head, head.created_at))

    async def _with_details(self, head: TaskHead) -> Snapshot | None:
        """A finished task with its failed nodes; None where it has none, or they are lost."""
        if head.counts is None or not head.counts.failed_details:
            return None
        try:
            return await self._with_nodes(head)
        except TaskDamaged as damage:
            self._faults.note("task view", damage, task=head.id)
            return None

    async def _with_nodes(self, head: TaskHead) -> Snapshot:
        try:
            return await self._engine.tasks.snapshot_with_nodes(head.id)
        except NoSuchTask:  # its retention has just ended
            raise no_such_task(head.id) from None


def _conflict(text: Text) -> Refusal:
    return Refusal(HTTPStatus.CONFLICT, text)


def _read_retry(body: Any) -> RetryNodes:
    if found := list(faults(_RETRY_SHAPE, body)):
        raise bad_request(found)
    return msgspec.convert(body, RetryTask).nodes


def _idempotency_key(request: web.Request, body_hash: str) -> IdempotencyKey | None:
    text = request.headers.get(IDEMPOTENCY_KEY)
    if text is None:
        return None
    if not 1 <= len(text) <= KEY_CHARACTERS:
        wrong = texts.VALUE_LENGTH(least=1, most=KEY_CHARACTERS, length=len(text))
        raise bad_request([fault(IDEMPOTENCY_KEY, wrong)])
    key = text.encode(errors="surrogateescape")
    caller = request[CALLER]
    if caller.is_known:  # each has keys of their own; a key that nobody owns is as it always was
        key = b"\0".join([caller.way.encode(), caller.user.encode(), key])
    return IdempotencyKey(_sha256(key), body_hash)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
