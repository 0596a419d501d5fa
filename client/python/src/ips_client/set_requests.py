"""What is sent about warm sets; as ``requests`` in all else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict
from urllib.parse import quote

from ips_client.requests import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_SET_PAGE: Final = 100


class SetOptions(TypedDict, total=False):
    """Everything of a put but its images; what is left out is the service's default.

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
    max_failed_nodes: int | str
    rollout: str
    pull_timeout_seconds: int
    credentials: Sequence[str]
    pull_secrets: Sequence[str]
    paused: bool
    schedule: Mapping[str, str]
    refresh: Mapping[str, str]
    pin: Mapping[str, str]
    gate: Mapping[str, Any]


def put_set(name: str, body: Mapping[str, Any]) -> Request:
    """``PUT /api/v1/sets/{name}``: sent twice it is one set."""
    return Request("PUT", _set(name), body=body)


def get_set(name: str) -> Request:
    """``GET /api/v1/sets/{name}``."""
    return Request("GET", _set(name))


def delete_set(name: str, *, purge: bool = False) -> Request:
    """``DELETE /api/v1/sets/{name}``; its images stay, or go with a ``purge``."""
    return Request("DELETE", _set(name), {"purge": "true" if purge else ""})


def refresh_set(name: str) -> Request:
    """``POST /api/v1/sets/{name}/refresh``: sent twice it is one look, or two."""
    return Request("POST", f"{_set(name)}/refresh")


def list_sets(*, limit: int, offset: int = 0) -> Request:
    """``GET /api/v1/sets``."""
    return Request("GET", "/sets", _page(limit, offset))


def list_set_nodes(
    name: str, states: Iterable[str] = (), *, limit: int, offset: int = 0
) -> Request:
    """``GET /api/v1/sets/{name}/nodes``."""
    query = {"state": ",".join(states), **_page(limit, offset)}
    return Request("GET", f"{_set(name)}/nodes", query)


def _page(limit: int, offset: int) -> dict[str, str]:
    return {"limit": str(limit), "offset": str(offset)}


def _set(name: str) -> str:
    return f"/sets/{quote(name, safe='')}"
