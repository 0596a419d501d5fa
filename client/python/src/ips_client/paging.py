"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ips_client import answers
from ips_client.requests import Request
from ips_client.retrying import ask
from ips_client.server import Session
from ips_client.talk import Talk


class Page(NamedTuple):
    """One page of a list."""

    items: list[dict[str, Any]]
    next_offset: int | None
    """None where this is the last one."""


def fetch(session: Session, request: Request) -> Talk[dict[str, Any]]:
    """The document that a request is answered with, tried again while the server is away."""
    answer, _ = yield from ask(session, request)
    return answers.document(answer)


def fetch_page(
    session: Session, request_at: Callable[[int], Request], key: str, offset: int
) -> Talk[Page]:
    """The page that begins at an offset; ``key`` is the list's name in the document."""
    request = request_at(offset)
    document = yield from fetch(session, request)
    items, total = document.get(key), document.get("total")
    if not isinstance(items, list) or not isinstance(total, int):
        raise answers.broken(session.url_of(request), ValueError(f"/{key} or /total is missing"))
    after = offset + len(items)
    return Page(items, after if items and after < total else None)
