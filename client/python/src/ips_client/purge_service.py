"""What one can ask of the service about purges; as ``service`` in all else."""

from __future__ import annotations

from functools import partial
from typing import Final

from ips_client.paging import fetch_page
from ips_client.purge_documents import Purge, PurgeNode
from ips_client.purge_requests import get_purge
from ips_client.requests import LARGEST_NODE_PAGE, Request
from ips_client.server import Session
from ips_client.service import one, typed
from ips_client.talk import Emit, Pause, Talk

ASK_SECONDS: Final = 1.0
"""Between two questions while a purge is waited for."""


def nodes(session: Session, purge_id: str) -> Talk[None]:
    """Emit the nodes that are known by now, by name."""
    request_at = partial(_page, purge_id)
    offset: int | None = 0
    while offset is not None:
        page = yield from fetch_page(session, request_at, "nodeList", offset)
        for item in page.items:
            yield Emit(typed(session.url_of(request_at(offset)), PurgeNode, item))
        offset = page.next_offset


def wait(session: Session, purge_id: str) -> Talk[Purge]:
    """Ask for a purge until it is over, and emit it each time."""
    while True:
        found = yield from one(session, get_purge(purge_id, limit=1), Purge)
        yield Emit(found)
        if found.is_over:
            return found
        yield Pause(ASK_SECONDS)


def _page(purge_id: str, offset: int) -> Request:
    return get_purge(purge_id, limit=LARGEST_NODE_PAGE, offset=offset)
