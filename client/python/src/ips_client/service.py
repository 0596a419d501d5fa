"""What one can ask of the service: each a conversation that comes to a typed result.

This is the whole client; ``client`` and ``async_client`` only have it carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from ips_client import answers, requests
from ips_client.decoding import Document, decode
from ips_client.documents import Cancelled, Node, Task, TaskNode
from ips_client.errors import Conflict
from ips_client.paging import fetch, fetch_page
from ips_client.requests import Request
from ips_client.retrying import ask
from ips_client.server import Session
from ips_client.talk import Emit, Talk

D = TypeVar("D", bound=Document)


def one(session: Session, request: Request, shape: type[D]) -> Talk[D]:
    """Whatever a request is answered with, as a shape."""
    return _typed(session, request, shape, (yield from fetch(session, request)))


def cancel(session: Session, task_id: str) -> Talk[Cancelled]:
    """Cancel a task. Raises Conflict where it was over before."""
    request = requests.cancel_task(task_id)
    answer, again = yield from ask(session, request)
    try:
        return _typed(session, request, Cancelled, answers.document(answer))
    except Conflict:
        # The answer to an earlier try may have been lost, and then the conflict is its success.
        task = (yield from one(session, requests.get_task(task_id), Task)) if again else None
        if task is None or task.status != "cancelled":
            raise
        return Cancelled(task_id=task.task_id, status=task.status).of(task.document)


def tasks(session: Session, status: str | None) -> Talk[None]:
    """Emit every task, newest first."""
    request_at = partial(_tasks_at, status)
    seen: set[str] = set()
    offset: int | None = 0
    while offset is not None:
        page = yield from fetch_page(session, request_at, "tasks", offset)
        for item in page.items:
            task = _typed(session, request_at(offset), Task, item)
            # A task created meanwhile pushes the others on to the next page.
            if task.task_id not in seen:
                seen.add(task.task_id)
                yield Emit(task)
        offset = page.next_offset


def _tasks_at(status: str | None, offset: int) -> Request:
    return requests.list_tasks(status, limit=requests.LARGEST_TASK_PAGE, offset=offset)


def nodes(session: Session, selector: str) -> Talk[None]:
    """Emit every node that a label selector matches, by name."""
    yield from _all(session, partial(_nodes_at, selector), Node)


def _nodes_at(selector: str, offset: int) -> Request:
    return requests.list_nodes(selector, limit=requests.LARGEST_NODE_PAGE, offset=offset)


def task_nodes(session: Session, task_id: str, states: Iterable[str]) -> Talk[None]:
    """Emit a task's nodes in some states (none: all), by batch and name."""
    yield from _all(session, partial(task_nodes_at, task_id, tuple(states)), TaskNode)


def task_nodes_at(task_id: str, states: Iterable[str], offset: int) -> Request:
    """The request for a large page of a task's nodes."""
    limit = requests.LARGEST_NODE_PAGE
    return requests.list_task_nodes(task_id, states, limit=limit, offset=offset)


def _all(session: Session, request_at: Callable[[int], Request], shape: type[D]) -> Talk[None]:
    offset: int | None = 0
    while offset is not None:
        page = yield from fetch_page(session, request_at, "nodes", offset)
        for item in page.items:
            yield Emit(_typed(session, request_at(offset), shape, item))
        offset = page.next_offset


def _typed(session: Session, request: Request, shape: type[D], value: Any) -> D:
    return typed(session.url_of(request), shape, value)


def typed(url: str, shape: type[D], value: Any) -> D:
    """A document as a shape. Raises UnexpectedAnswer, which names where it comes from."""
    try:
        return decode(shape, value)
    except ValueError as why:
        raise answers.broken(url, why) from None
