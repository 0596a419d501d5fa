"""Lists of several pages, as one document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from ips_client import answers
from ips_client.client import Client
from ips_client.decoding import Document, decode
from ips_client.requests import Request

D = TypeVar("D", bound=Document)
RequestOf = Callable[[int, int], Request]
"""Takes limit and offset."""


class Listing(NamedTuple):
    """What a list command shows."""

    document: dict[str, Any]
    """The first page's, with the items of all pages."""
    items: list[Any]


def all_pages(
    client: Client,
    shape: type[D],
    request_of: RequestOf,
    *,
    key: str,
    largest: int,
    wanted: int | None = None,
) -> Listing:
    """As many items as wanted (None: all); ``largest`` is the most that one page may have."""
    limit = min(largest, wanted or largest)
    request = request_of(limit, 0)
    document = client.ask(request)
    try:
        items, total = document[key], document["total"]
        goal = total if wanted is None else min(wanted, total)
        while len(items) < goal:
            page = client.ask(request_of(min(largest, goal - len(items)), len(items)))[key]
            if not page:
                break
            items.extend(page)
        document["limit"] = max(limit, len(items))
        return Listing(document, [decode(shape, each) for each in items])
    except (KeyError, TypeError, ValueError) as why:
        raise answers.broken(request.target, ValueError(str(why))) from None
