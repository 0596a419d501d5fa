"""What is sent: one function for each route of the service."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict
from urllib.parse import quote, urlencode

API: Final = "/api/v1"
LARGEST_TASK_PAGE: Final = 100
LARGEST_NODE_PAGE: Final = 1000

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class TaskOptions(TypedDict, total=False):
    """Everything of a create but its images; what is left out is the service's default.

    The names are the contract's, in Python's spelling.
    """

    batch_size: int
    priority: int
    max_retries: int
    retry_strategy: str
    retry_delay: int
    webhook_url: str
    node_selector: Mapping[str, str]
    match_expressions: Sequence[Mapping[str, Any]]
    node_names: Sequence[str]
    max_failed_nodes: int | str
    rollout: str
    image_pull_policy: str
    pull_timeout_seconds: int
    credentials: Sequence[str]
    pull_secrets: Sequence[str]


class Request(NamedTuple):
    """One request; each may be sent again, because a POST carries an idempotency key."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = {}

    @property
    def target(self) -> str:
        """Path and query as they stand in the request line."""
        query = urlencode({key: value for key, value in self.query.items() if value})
        return f"{API}{self.path}?{query}" if query else f"{API}{self.path}"

    @property
    def payload(self) -> bytes:
        """The body as it is sent."""
        return b"" if self.body is None else json.dumps(self.body).encode()


def new_key() -> str:
    """A key that nobody else uses."""
    return os.urandom(16).hex()


def task_body(images: Iterable[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a create."""
    body: dict[str, Any] = {"images": list(images)}
    for name, value in options.items():
        first, *rest = name.split("_")
        body[first + "".join(word.title() for word in rest)] = value
    return body


def create_task(body: Mapping[str, Any], key: str | None = None) -> Request:
    """``POST /api/v1/tasks``, with a key so that sending it twice makes one task."""
    return Request("POST", "/tasks", body=body, headers={"Idempotency-Key": key or new_key()})


def get_task(task_id: str) -> Request:
    """``GET /api/v1/tasks/{id}``."""
    return Request("GET", _task(task_id))


class TaskQuery(NamedTuple):
    """Which tasks a list is asked for; empty texts and None demand nothing."""

    status: str = ""
    """Statuses, with commas between."""
    image: str = ""
    q: str = ""
    """Stands in the id, an image, the node selector or the creator."""
    node: str = ""
    """Tasks that tried this node, or run and have it."""
    created_by: str = ""
    set: str = ""
    """Tasks that repair this warm set."""
    since: datetime | None = None
    """Created then or later; knows its time zone, as ``until`` does."""
    until: datetime | None = None
    sort: str = ""
    """``newest`` (also where empty) or ``queue``."""

    def parameters(self) -> dict[str, str]:
        """As they stand in an address."""
        return {
            "status": self.status,
            "image": self.image,
            "q": self.q,
            "node": self.node,
            "createdBy": self.created_by,
            "set": self.set,
            "since": "" if self.since is None else self.since.isoformat(),
            "until": "" if self.until is None else self.until.isoformat(),
            "sort": self.sort,
        }


def list_tasks(
    status: str | None = None, *, limit: int, offset: int = 0, query: TaskQuery | None = None
) -> Request:
    """``GET /api/v1/tasks``."""
    wanted = query or TaskQuery(status=status or "")
    return Request("GET", "/tasks", {**wanted.parameters(), **_page(limit, offset)})


def cancel_task(task_id: str) -> Request:
    """``DELETE /api/v1/tasks/{id}``."""
    return Request("DELETE", _task(task_id))


def pause_task(task_id: str) -> Request:
    """``POST /api/v1/tasks/{id}/pause``; sending it twice makes no difference."""
    return Request("POST", f"{_task(task_id)}/pause")


def resume_task(task_id: str) -> Request:
    """``POST /api/v1/tasks/{id}/resume``."""
    return Request("POST", f"{_task(task_id)}/resume")


def retry_task(task_id: str, nodes: str, key: str | None = None) -> Request:
    """``POST /api/v1/tasks/{id}/retry``; ``nodes`` is ``failed`` or ``all``."""
    headers = {"Idempotency-Key": key or new_key()}
    return Request("POST", f"{_task(task_id)}/retry", body={"nodes": nodes}, headers=headers)


def list_task_nodes(
    task_id: str, states: Iterable[str] = (), *, limit: int, offset: int = 0
) -> Request:
    """``GET /api/v1/tasks/{id}/nodes``."""
    query = {"state": ",".join(states), **_page(limit, offset)}
    return Request("GET", f"{_task(task_id)}/nodes", query)


def list_nodes(selector: str = "", *, limit: int, offset: int = 0) -> Request:
    """``GET /api/v1/nodes``."""
    return Request("GET", "/nodes", {"selector": selector, **_page(limit, offset)})


def get_node(name: str) -> Request:
    """``GET /api/v1/nodes/{name}``."""
    return Request("GET", f"/nodes/{quote(name, safe='')}")


def list_node_images(name: str, *, limit: int, offset: int = 0) -> Request:
    """``GET /api/v1/nodes/{name}/images``: what its container runtime has now."""
    return Request("GET", f"/nodes/{quote(name, safe='')}/images", _page(limit, offset))


def list_node_tasks(name: str, *, limit: int, offset: int = 0) -> Request:
    """``GET /api/v1/nodes/{name}/history``: what tasks did there, the newest first."""
    return Request("GET", f"/nodes/{quote(name, safe='')}/history", _page(limit, offset))


def list_images(text: str = "", *, limit: int, offset: int = 0) -> Request:
    """``GET /api/v1/images``: those in whose reference a text stands."""
    return Request("GET", "/images", {"q": text, **_page(limit, offset)})


def list_image_nodes(
    image: str, states: Iterable[str] = (), *, limit: int, offset: int = 0
) -> Request:
    """``GET /api/v1/images/nodes``: every node, and whether an image is there."""
    query = {"image": image, "state": ",".join(states), **_page(limit, offset)}
    return Request("GET", "/images/nodes", query)


def list_image_tasks(image: str, *, limit: int, offset: int = 0) -> Request:
    """``GET /api/v1/images/history``: what became of an image in tasks, the newest first."""
    return Request("GET", "/images/history", {"image": image, **_page(limit, offset)})


def list_audit(
    user: str | None = None, since: datetime | None = None, *, limit: int | None = None
) -> Request:
    """``GET /api/v1/audit``; ``since`` knows its time zone."""
    query = {
        "user": user or "",
        "since": "" if since is None else since.isoformat(),
        "limit": str(limit or ""),
    }
    return Request("GET", "/audit", query)


def follow_events(
    task_id: str | None, *, live: bool, after: str | None, sets: bool = False
) -> Request:
    """``GET …/events`` of one task, or of all, with those of warm ``sets`` where asked for."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    if after is not None:
        headers["Last-Event-ID"] = after
    path = "/events" if task_id is None else f"{_task(task_id)}/events"
    query = {"live": "true" if live else "", "sets": "true" if sets else ""}
    return Request("GET", path, query, headers=headers)


def _task(task_id: str) -> str:
    return f"/tasks/{quote(task_id, safe='')}"


def _page(limit: int, offset: int) -> dict[str, str]:
    return {"limit": str(limit), "offset": str(offset) if offset else ""}
