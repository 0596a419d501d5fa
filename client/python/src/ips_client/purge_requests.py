"""What is sent about purges; as ``requests`` in all else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from ips_client.requests import Request

if TYPE_CHECKING:
    from collections.abc import Sequence


class PurgeOptions(TypedDict, total=False):
    """Everything of a purge but its images: which nodes, and whether it is only looked at."""

    node_selector: Mapping[str, str]
    match_expressions: Sequence[Mapping[str, Any]]
    node_names: Sequence[str]
    dry_run: bool


def create_purge(body: Mapping[str, Any]) -> Request:
    """``POST /api/v1/purges``; sent twice it is two, the second of which finds nothing to do."""
    return Request("POST", "/purges", body=body)


def get_purge(purge_id: str, *, limit: int, offset: int = 0) -> Request:
    """``GET /api/v1/purges/{id}``, with one page of its nodes."""
    query = {"limit": str(limit), "offset": str(offset)}
    return Request("GET", f"/purges/{quote(purge_id, safe='')}", query)
