"""What one can ask of the service about warm sets; as ``service`` in all else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeVar

from ips_client import answers, set_requests
from ips_client.decoding import Document
from ips_client.errors import NotFound, SetTimeLimit
from ips_client.paging import fetch_page
from ips_client.requests import LARGEST_NODE_PAGE, Request
from ips_client.retrying import ask
from ips_client.server import Session
from ips_client.service import one, typed
from ips_client.set_documents import SetDeleted, SetNode, WarmSet
from ips_client.talk import Emit, Pause, Talk, clock

D = TypeVar("D", bound=Document)

ASK_SECONDS: Final = 2.0
"""Between two questions while a set is waited for: a node takes longer than that to get warm, and
one question of a few hundred bytes comes through every proxy."""


def sets(session: Session) -> Talk[None]:
    """Emit every set, by name."""
    yield from _all(session, _sets_at, "sets", WarmSet)


def _sets_at(offset: int) -> Request:
    return set_requests.list_sets(limit=set_requests.LARGEST_SET_PAGE, offset=offset)


def set_nodes(session: Session, name: str, states: Iterable[str]) -> Talk[None]:
    """Emit a set's nodes in some states (none: all), by name."""
    yield from _all(session, partial(_nodes_at, name, tuple(states)), "nodes", SetNode)


def _nodes_at(name: str, states: Iterable[str], offset: int) -> Request:
    return set_requests.list_set_nodes(name, states, limit=LARGEST_NODE_PAGE, offset=offset)


def _all(
    session: Session, request_at: Callable[[int], Request], key: str, shape: type[D]
) -> Talk[None]:
    offset: int | None = 0
    while offset is not None:
        page = yield from fetch_page(session, request_at, key, offset)
        for item in page.items:
            yield Emit(typed(session.url_of(request_at(offset)), shape, item))
        offset = page.next_offset


def delete(session: Session, name: str) -> Talk[SetDeleted]:
    """Delete a set. Raises NotFound where there is none."""
    request = set_requests.delete_set(name)
    answer, again = yield from ask(session, request)
    try:
        return typed(session.url_of(request), SetDeleted, answers.document(answer))
    except NotFound:
        if not again:  # else the answer to an earlier try was lost, and it is gone by that
            raise
        return SetDeleted(name=name)


def wait(session: Session, name: str, percent: float, time_limit: float | None) -> Talk[WarmSet]:
    """Ask for a set, and emit it where its counts have changed, until so many nodes are warm.

    A set without nodes is not warm. Raises SetTimeLimit after ``time_limit`` seconds.
    """
    began = yield from clock()
    seen: WarmSet | None = None
    while True:
        found = yield from one(session, set_requests.get_set(name), WarmSet)
        if seen is None or (found.nodes, found.reasons) != (seen.nodes, seen.reasons):
            yield Emit(found)
        seen = found
        if found.nodes.total and 100 * found.nodes.warm >= percent * found.nodes.total:
            return found
        left = ASK_SECONDS
        if time_limit is not None:
            left = min(left, began + time_limit - (yield from clock()))
            if left <= 0:
                raise SetTimeLimit(time_limit, found)
        yield Pause(left)
