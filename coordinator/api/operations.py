"""Every operation of the interface as OpenAPI tells it. A test holds this table to the routes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from coordinator import caller_documents, documents, health_documents
from coordinator.api.create_body import CreateTask
from coordinator.api.credential_operations import CREDENTIAL_OPERATIONS
from coordinator.api.described import DocumentedAnswer, Operation, pages, path, query
from coordinator.api.image_operations import IMAGE_OPERATIONS
from coordinator.api.permissions import SESSION
from coordinator.api.purge_operations import PURGE_OPERATIONS
from coordinator.api.queries import AUDIT, LONGEST_TEXT, NODES, TASK_SORTS, TASKS
from coordinator.api.sessions import CALLBACK, LOGIN, OpenSession
from coordinator.api.set_operations import SET_OPERATIONS
from coordinator.api.task_search import TaskSort
from coordinator.api.tasks import IDEMPOTENCY_KEY, KEY_CHARACTERS, RetryTask
from coordinator.documents import NODE_STATES, TASK_STATUSES

_STREAM: Final = "text/event-stream"
_TEXT: Final = "text/plain"
_PAGE: Final = "text/html"


_TASK_ID: Final = path("id", "task-20260116-151234-a1b2c3d4")
_STATUS: Final = query(
    "status",
    "Only tasks of one of these statuses.",
    {"type": "array", "items": {"type": "string", "enum": list(TASK_STATUSES)}},
) | {"style": "form", "explode": False}
_TEXT_SOUGHT: Final = {"type": "string", "maxLength": LONGEST_TEXT}
# An empty parameter counts as absent, as of every other one.
_MOMENT: Final = {"type": "string", "anyOf": [{"format": "date-time"}, {"maxLength": 0}]}
_SEARCH: Final = (
    query(
        "image",
        "Only tasks with this image, in whatever spelling; without a tag, with any of its tags.",
        _TEXT_SOUGHT,
    )
    | {"example": "redis:7"},
    query(
        "q",
        "Only tasks in whose id, images, node selector or creator this text stands.",
        _TEXT_SOUGHT,
    ),
    query("node", "Only tasks that tried this node, or that run and have it.", _TEXT_SOUGHT)
    | {"example": "node-5"},
    query("createdBy", "Only tasks that this user created.", _TEXT_SOUGHT),
    query("set", "Only tasks that repair this warm set.", _TEXT_SOUGHT) | {"example": "web"},
    query("since", "Only tasks created at this time or later.", _MOMENT),
    query("until", "Only tasks created before this time.", _MOMENT),
    query("endedSince", "Only tasks that are over since this time or later.", _MOMENT),
    query(
        "sort",
        "newest: the newest first. queue: what runs, then what is queued in the order in which it "
        "starts, each with `queuePlace`, then the rest.",
        {"type": "string", "enum": list(TASK_SORTS), "default": TaskSort.NEWEST},
    ),
    query(
        "after",
        "The id of the last task of the page before: what follows it in this order. New tasks do "
        "not shift such pages; `total` counts what follows.",
        _TEXT_SOUGHT,
    ),
)
_STATE: Final = query(
    "state",
    "Only nodes in one of these states.",
    {"type": "array", "items": {"type": "string", "enum": list(NODE_STATES)}},
) | {"style": "form", "explode": False}
_SELECTOR: Final = query(
    "selector",
    "A label selector as kubectl takes it: `a=b,c!=d,e in (f,g),!h,i`.",
    {"type": "string"},
) | {"example": "workload=compute"}
_KEY: Final = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "The same key with the same body answers 200 with the first task as it is "
    "now, with another body 409; good as long as that task is kept.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_CHARACTERS},
}
_RESUME: Final = (
    {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The position after which to go on; `event: reset` comes first where that "
        "is no longer kept.",
        "schema": {"type": "string"},
    },
    query("lastEventId", "As the header, which wins.", {"type": "string"}),
    query("live", "Also send live frames, without an id.", {"type": "boolean", "default": False}),
)
_SETS: Final = query("sets", "Also events of warm sets.", {"type": "boolean", "default": False})


# ── operations ───────────────────────────────────────────────────────────────────────────────

_BAD, _MISSING, _CONFLICT = HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT
_LARGE, _TYPE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
_BUSY, _SLOW = HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT
_UNKNOWN: Final = HTTPStatus.UNAUTHORIZED
_ELSEWHERE: Final = DocumentedAnswer(
    HTTPStatus.SEE_OTHER, "To another place.", headers={"Location": "Where to go."}
)
_AWAY: Final = HTTPStatus.SERVICE_UNAVAILABLE
_CREATED: Final = (
    DocumentedAnswer(
        HTTPStatus.CREATED,
        "The task is stored.",
        documents.Task,
        headers={"Location": "The path of the task."},
    ),
    DocumentedAnswer(
        HTTPStatus.OK, f"The {IDEMPOTENCY_KEY} was used before: that task.", documents.Task
    ),
)


def _ok(description: str, shape: type[msgspec.Struct]) -> tuple[DocumentedAnswer, ...]:
    return (DocumentedAnswer(HTTPStatus.OK, description, shape),)


OPERATIONS: Final = (
    Operation(
        "post",
        "/api/v1/tasks",
        "createTask",
        "Create a task",
        _CREATED,
        (_BAD, _SLOW, _CONFLICT, _LARGE, _TYPE, _BUSY, _AWAY),
        (_KEY,),
        CreateTask,
    ),
    Operation(
        "get",
        "/api/v1/tasks",
        "listTasks",
        "List tasks, newest first",
        _ok("One page of tasks.", documents.TaskList),
        (_BAD, _AWAY),
        (_STATUS, *_SEARCH, *pages(TASKS)),
    ),
    Operation(
        "get",
        "/api/v1/tasks/{id}",
        "getTask",
        "Show a task",
        _ok("The task.", documents.Task),
        (_MISSING, _BUSY, _AWAY),
        (_TASK_ID,),
    ),
    Operation(
        "delete",
        "/api/v1/tasks/{id}",
        "cancelTask",
        "Cancel a pending or running task",
        _ok("Cancelled: no new pull starts, running ones are stopped.", documents.Cancelled),
        (_MISSING, _CONFLICT, _BUSY, _AWAY),
        (_TASK_ID,),
    ),
    Operation(
        "post",
        "/api/v1/tasks/{id}/retry",
        "retryTask",
        "Repeat a finished task",
        _CREATED,
        (_BAD, _MISSING, _SLOW, _CONFLICT, _LARGE, _TYPE, _BUSY, _AWAY),
        (_TASK_ID, _KEY),
        RetryTask,
        body_required=False,
    ),
    Operation(
        "post",
        "/api/v1/tasks/{id}/pause",
        "pauseTask",
        "Let no new node of a running task begin; what is in flight goes on",
        _ok("The task, paused.", documents.Task),
        (_MISSING, _CONFLICT, _BUSY, _AWAY),
        (_TASK_ID,),
    ),
    Operation(
        "post",
        "/api/v1/tasks/{id}/resume",
        "resumeTask",
        "Let a paused task go on",
        _ok("The task.", documents.Task),
        (_MISSING, _CONFLICT, _BUSY, _AWAY),
        (_TASK_ID,),
    ),
    Operation(
        "get",
        "/api/v1/tasks/{id}/nodes",
        "listTaskNodes",
        "List the nodes of a task, by batch, then name",
        _ok("One page of nodes.", documents.TaskNodeList),
        (_BAD, _MISSING, _BUSY, _AWAY),
        (_TASK_ID, _STATE, *pages(NODES)),
    ),
    Operation(
        "get",
        "/api/v1/tasks/{id}/events",
        "watchTask",
        "Watch a task (Server-Sent Events)",
        (
            DocumentedAnswer(
                HTTPStatus.OK,
                "CloudEvents of the task, ending after its last; with live frames `nodes`.",
                documents.TaskEvent,
                _STREAM,
            ),
            DocumentedAnswer(HTTPStatus.NO_CONTENT, "Nothing follows this position."),
        ),
        (_BAD, _MISSING, _BUSY, _AWAY),
        (_TASK_ID, *_RESUME),
    ),
    Operation(
        "get",
        "/api/v1/events",
        "watchAll",
        "Watch all tasks and warm sets (Server-Sent Events)",
        (
            DocumentedAnswer(
                HTTPStatus.OK,
                "CloudEvents of all tasks (and sets), first an `id` without data: the position "
                "where they begin; with live frames `agents`.",
                documents.TaskEvent,
                _STREAM,
            ),
        ),
        (_BAD, _AWAY),
        (*_RESUME, _SETS),
    ),
    *SET_OPERATIONS,
    *PURGE_OPERATIONS,
    *IMAGE_OPERATIONS,
    *CREDENTIAL_OPERATIONS,
    Operation(
        "get",
        "/api/v1/nodes",
        "listNodes",
        "List nodes, by name",
        _ok("One page of nodes.", documents.NodeList),
        (_BAD, _AWAY),
        (_SELECTOR, *pages(NODES)),
    ),
    Operation(
        "get",
        "/api/v1/nodes/{name}",
        "getNode",
        "Show a node",
        _ok("The node.", documents.Node),
        (_MISSING, _AWAY),
        (path("name", "node-5"),),
    ),
    Operation(
        "get",
        "/api/v1/leader",
        "getLeader",
        "Show which coordinator leads",
        _ok("As far as this one knows.", health_documents.Leadership),
        (_AWAY,),
    ),
    Operation(
        "get",
        "/api/v1/audit",
        "listAudit",
        "List who changed what, and who was refused, newest first",
        _ok("The newest entries.", caller_documents.AuditList),
        (_BAD, _AWAY),
        (
            query("user", "Only entries of this user.", {"type": "string"}),
            query("since", "None before this time.", _MOMENT),
            pages(AUDIT)[0],
        ),
    ),
    Operation(
        "get",
        SESSION,
        "getSession",
        "Show who asks, and how a browser can log in",
        _ok("Who asks, or that nobody knows.", caller_documents.Session),
        (_AWAY,),
    ),
    Operation(
        "post",
        SESSION,
        "openSession",
        "Log a browser in by a token",
        (
            DocumentedAnswer(
                HTTPStatus.OK,
                "Who asks.",
                caller_documents.Session,
                headers={"Set-Cookie": "The session, for this browser alone."},
            ),
        ),
        (_BAD, _UNKNOWN, _MISSING, _SLOW, _LARGE, _TYPE, _AWAY),
        body=OpenSession,
    ),
    Operation(
        "delete",
        SESSION,
        "closeSession",
        "Log a browser out",
        _ok("The cookie is taken back.", caller_documents.Session),
    ),
    Operation(
        "get",
        LOGIN,
        "logIn",
        "Log a browser in at the OIDC issuer",
        (_ELSEWHERE,),
        (_MISSING, _AWAY),
        (query("place", "Where the page goes afterwards: `#/…`.", {"type": "string"}),),
    ),
    Operation(
        "get",
        CALLBACK,
        "loggedIn",
        "Where the OIDC issuer sends a browser back to",
        (_ELSEWHERE,),
        (_BAD, _UNKNOWN, _MISSING, _AWAY),
        (
            query("code", "As the issuer gave it.", {"type": "string"}),
            query("state", "As this browser was given it.", {"type": "string"}),
        ),
    ),
    Operation("get", "/health", "health", "Liveness", _ok("It works.", health_documents.Health)),
    Operation("get", "/healthz", "healthz", "Liveness", _ok("It works.", health_documents.Health)),
    Operation(
        "get",
        "/readyz",
        "readyz",
        "Readiness: whether reads are answered, and what else holds",
        _ok("Reads are answered.", health_documents.Readiness),
        (_AWAY,),
    ),
    Operation(
        "get",
        "/metrics",
        "metrics",
        "Metrics for Prometheus",
        (DocumentedAnswer(HTTPStatus.OK, "Prometheus text.", media_type=_TEXT),),
    ),
    Operation(
        "get",
        "/",
        "web",
        "The web UI",
        (DocumentedAnswer(HTTPStatus.OK, "A page.", media_type=_PAGE),),
    ),
)
