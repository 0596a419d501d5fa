"""What one can ask of the service about warm sets; as ``service`` in all else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TypeVar

from ips_client import answers, set_requests
from ips_client.decoding import Document
from ips_client.errors import NotFound, ServerUnreachable, SetTimeLimit, Unavailable
from ips_client.paging import fetch_page
from ips_client.requests import LARGEST_NODE_PAGE, Request
from ips_client.retrying import Retries, ask, ask_once
from ips_client.server import Session
from ips_client.service import typed
from ips_client.set_documents import SetDeleted, SetNode, WarmSet
from ips_client.talk import Emit, Pause, Talk, clock

D = TypeVar("D", bound=Document)

ASK_SECONDS: Final = 2.0
"""Between two questions while a set is waited for: a node takes longer than that to get warm, and
one question of a few hundred bytes comes through every proxy."""
LEAST_SECONDS: Final = 5.0
"""What the last question has where the time limit has come: a set may be warm by then."""


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


def delete(session: Session, name: str, *, purge: bool) -> Talk[SetDeleted]:
    """Delete a set. Raises NotFound where there is none."""
    request = set_requests.delete_set(name, purge=purge)
    answer, again = yield from ask(session, request)
    try:
        return typed(session.url_of(request), SetDeleted, answers.document(answer))
    except NotFound:
        if not again:  # else the answer to an earlier try was lost, and it is gone by that
            raise
        return SetDeleted(name=name)


def wait(session: Session, name: str, percent: float, time_limit: float | None) -> Talk[WarmSet]:
    """Ask for a set, and emit it where its counts have changed, until so many nodes are warm.

    A set without nodes is not warm. A server that is away is waited for as long as the session's
    ``follow_patience`` says, and no longer than the time limit. Raises SetTimeLimit after
    ``time_limit`` seconds.
    """
    return (yield from _Wait(session, name, percent, time_limit).run())


class _Wait:
    def __init__(
        self, session: Session, name: str, percent: float, time_limit: float | None
    ) -> None:
        self._session = session
        self._request = set_requests.get_set(name)
        self._percent = percent
        self._limit = time_limit
        self._deadline = float("inf")
        self._retries = Retries(session.follow_patience)
        self._seen: WarmSet | None = None

    def run(self) -> Talk[WarmSet]:
        if self._limit is not None:
            self._deadline = (yield from clock()) + self._limit
        while True:
            try:
                found = yield from self._ask()
            except (ServerUnreachable, Unavailable) as error:
                yield from self._pause(self._retries.delay(error, (yield from clock())))
                continue
            if self._is_warm(found):
                return found
            yield from self._pause(ASK_SECONDS)

    def _ask(self) -> Talk[WarmSet]:
        left = max(LEAST_SECONDS, self._deadline - (yield from clock()))
        within = min(self._session.timeout, left)
        answer = yield from ask_once(self._session, self._request, within)
        url = self._session.url_of(self._request)
        found = typed(url, WarmSet, answers.document(answer))
        self._retries.succeed()
        before, self._seen = self._seen, found
        if before is None or (found.nodes, found.reasons) != (before.nodes, before.reasons):
            yield Emit(found)
        return found

    def _is_warm(self, found: WarmSet) -> bool:
        total = found.nodes.total
        return bool(total) and 100 * found.nodes.warm >= self._percent * total

    def _pause(self, seconds: float) -> Talk[None]:
        left = self._deadline - (yield from clock())
        if left <= 0:
            raise SetTimeLimit(self._limit or 0.0, self._seen)
        yield Pause(min(seconds, left))
